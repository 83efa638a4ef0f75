"""Listing a data store on disk as the index command does: order, ranges, and pages while image sets come and go."""

from collections.abc import Callable, Iterator
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import pytest
from botocore.exceptions import ClientError

from datastore.storage.storage import Storage
from tests.datastore.shelf import identifier
from tests.datastore_server import served

TAGS = {"DICOMStudyInstanceUID": "1.1", "DICOMSeriesInstanceUID": "1.1.1"}


def publish(storage: Storage, image_set_id: str | None = None) -> str:
    with storage.importing(), storage.stage(image_set_id) as staging:
        return storage.publish(staging, b"{}", is_primary=True, tags=TAGS).image_set_id


@pytest.fixture
def storage(tmp_path: Path) -> Storage:
    return Storage.open(tmp_path)


@pytest.fixture
def search(storage: Storage, new_client: Callable[..., Any]) -> Iterator[Callable[..., Any]]:
    """SearchImageSets by boto3, sorted by a time; answers the IDs and the whole answer."""
    with served(storage) as url:
        client = new_client(url)

        def searched(field: str = "createdAt", order: str = "ASC", *filters: Any, **more: Any) -> Any:
            criteria = {"sort": {"sortField": field, "sortOrder": order}, **({"filters": filters} if filters else {})}
            answer = client.search_image_sets(
                datastoreId=storage.datastore.datastore_id, searchCriteria=criteria, **more
            )
            return [summary["imageSetId"] for summary in answer["imageSetsMetadataSummaries"]], answer

        yield searched


def between(field: str, first: datetime, last: datetime) -> dict[str, Any]:
    return {"operator": "BETWEEN", "values": [{field: first}, {field: last}]}


def test_image_sets_are_sorted_by_the_time_of_the_latest_version(storage: Storage, search: Callable[..., Any]) -> None:
    made = [publish(storage) for _ in range(5)]
    publish(storage, made[1])
    assert search()[0] == made
    assert search(order="DESC")[0] == made[::-1]
    by_update = [made[0], *made[2:], made[1]]
    assert search("updatedAt")[0] == by_update
    assert search("updatedAt", "DESC")[0] == by_update[::-1]


@pytest.mark.parametrize("field", ["createdAt", "updatedAt"])
@pytest.mark.parametrize("order", ["ASC", "DESC"])
def test_a_range_holds_both_ends_and_nothing_else(
    storage: Storage, search: Callable[..., Any], field: str, order: str
) -> None:
    made = [publish(storage) for _ in range(3)]
    moments = [storage.image_set(each).created_at for each in made]
    first, last = (datetime.fromtimestamp(moment, timezone.utc) for moment in (moments[1], moments[2]))
    slack = timedelta(microseconds=2)  # of a float
    assert sorted(search(field, order, between(field, first - slack, last + slack))[0]) == sorted(made[1:])
    assert search(field, order, between(field, last + timedelta(seconds=9), last + timedelta(seconds=99)))[0] == []


@pytest.mark.parametrize("field", ["createdAt", "updatedAt"])
@pytest.mark.parametrize("order", ["ASC", "DESC"])
def test_image_sets_that_come_and_go_move_no_other(
    storage: Storage, search: Callable[..., Any], field: str, order: str
) -> None:
    made = [identifier(number) for number in range(250)]  # more than the storage reads at once
    for each in made:
        storage._catalogue.add_version(each, 1, {}, is_primary=True, tags=TAGS)
    expected = made if order == "ASC" else made[::-1]
    found, answer = search(field, order)
    while token := answer.get("nextToken"):
        for gone in found[-2:]:  # the last of the page is where the token stands
            storage.delete(gone)
        page, answer = search(field, order, nextToken=token)
        found += page
    assert found == expected


def test_a_token_belongs_to_its_search(storage: Storage, search: Callable[..., Any]) -> None:
    for _ in range(2):
        publish(storage)
    _, answer = search(maxResults=1)
    for other in (("createdAt", "DESC"), ("updatedAt", "ASC")):
        with pytest.raises(ClientError, match="ValidationException"):
            search(*other, nextToken=answer["nextToken"])
    with pytest.raises(ClientError, match="ValidationException"):
        search(nextToken="bm90aGluZw==")


def test_a_page_of_a_large_data_store_reads_an_index_and_sorts_nothing(storage: Storage) -> None:
    seen: list[str] = []
    database = storage._catalogue._database
    connection = database._connection()
    connection.set_trace_callback(seen.append)
    for column in ("created_at", "updated_at"):
        for descending in (False, True):
            list(storage.image_sets_by(column, descending=descending, bounds=[(1.0, 2.0)], after=(1.5, "0" * 32)))
    connection.set_trace_callback(None)
    selects = [statement for statement in seen if statement.startswith("SELECT")]
    assert len(selects) == 4
    for statement in selects:
        plan = " ".join(row["detail"] for row in database.rows(f"EXPLAIN QUERY PLAN {statement}"))
        assert "TEMP B-TREE" not in plan
        assert "image_set_created" in plan or "version_updated" in plan


@pytest.mark.parametrize("order", ["ASC", "DESC"])
def test_the_image_sets_of_a_series_are_found_without_a_look_at_all_others(
    storage: Storage, search: Callable[..., Any], order: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each store request searches so: its time must not grow with the data store."""
    made = [publish(storage) for _ in range(3)]
    for name in ("image_sets", "image_sets_by"):
        monkeypatch.setattr(Storage, name, lambda *_args, **_options: pytest.fail("all were looked at"))
    filters = [{"operator": "EQUAL", "values": [{name: uid}]} for name, uid in TAGS.items()]
    found, answer = search("updatedAt", order, *filters, maxResults=2)
    rest, _ = search("updatedAt", order, *filters, nextToken=answer["nextToken"])
    assert found + rest == (made if order == "ASC" else made[::-1])
    other = {"operator": "EQUAL", "values": [{"DICOMStudyInstanceUID": "1.9"}]}
    assert search("updatedAt", order, other)[0] == []
