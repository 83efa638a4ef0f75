"""The data store speaks AHI's wire protocol: what boto3 sends is understood, what comes back it can read."""

import gzip
import json
import re
from collections.abc import Callable, Iterator, Mapping
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

import pytest
import urllib3
from botocore.exceptions import ClientError

from datastore.storage.storage import Storage
from tests.datastore.shelf import ARN, DATASTORE_ID, Shelf, frame_id, identifier, image_set
from tests.datastore_server import served

FRAME = bytes(range(256)) * 4096  # a megabyte, more than any buffer
JPH = {"datastoreId": DATASTORE_ID, "imageSetId": identifier(1), "imageFrameInformation": {"imageFrameId": frame_id(1)}}
ONE = {"datastoreId": DATASTORE_ID, "imageSetId": identifier(1)}


@pytest.fixture(scope="module")
def url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    path = tmp_path_factory.mktemp("frames") / "frame"
    path.write_bytes(FRAME)
    shelf = Shelf(
        image_set(1),
        image_set(1, version=2, updated_at=1_704_067_300.5, workflow_status="UPDATED", is_primary=False),
        image_set(2, state="LOCKED", workflow_status="UPDATING"),
        image_set(3, state="DELETED", workflow_status="DELETED", deleted_at=1_704_067_400.0),
        frames={frame_id(1): (path, "image/jph"), frame_id(2): (path, "video/mp4")},
    )
    with served(shelf) as found:
        yield found


@pytest.fixture
def client(url: str, new_client: Callable[..., Any]) -> Any:
    return new_client(url)


@pytest.fixture
def http() -> Iterator[urllib3.PoolManager]:
    with urllib3.PoolManager(retries=False) as pool:
        yield pool


def moment(seconds: float) -> datetime:
    return datetime.fromtimestamp(seconds, tz=timezone.utc)


@pytest.mark.parametrize(("version", "found"), [({}, 2), ({"versionId": "1"}, 1), ({"versionId": "2"}, 2)])
def test_metadata_is_handed_over_as_gzip(client: Any, version: dict[str, str], found: int) -> None:
    answer = client.get_image_set_metadata(**ONE, **version)
    assert (answer["contentType"], answer["contentEncoding"]) == ("application/json", "gzip")
    blob = answer["imageSetMetadataBlob"].read()
    assert json.loads(gzip.decompress(blob)) == {"ImageSetID": identifier(1), "Version": found}


@pytest.mark.parametrize(("number", "content_type"), [(1, "image/jph"), (2, "video/mp4")])
def test_a_frame_comes_whole_with_the_type_of_its_syntax(client: Any, number: int, content_type: str) -> None:
    answer = client.get_image_frame(**ONE, imageFrameInformation={"imageFrameId": frame_id(number)})
    assert answer["contentType"] == content_type
    assert answer["imageFrameBlob"].read() == FRAME
    assert answer["ResponseMetadata"]["HTTPHeaders"]["content-length"] == str(len(FRAME))


def test_an_image_set_tells_its_properties(client: Any) -> None:
    answer = client.get_image_set(**ONE)
    del answer["ResponseMetadata"]
    assert answer == {
        "datastoreId": DATASTORE_ID,
        "imageSetId": identifier(1),
        "imageSetArn": f"{ARN}/imageset/{identifier(1)}",
        "versionId": "2",  # a string here
        "imageSetState": "ACTIVE",
        "imageSetWorkflowStatus": "UPDATED",
        "createdAt": moment(1_704_067_201.25),
        "updatedAt": moment(1_704_067_300.5),
        "isPrimary": False,
    }


def test_an_earlier_version_can_be_asked_for(client: Any) -> None:
    assert client.get_image_set(**ONE, versionId="1")["imageSetWorkflowStatus"] == "CREATED"


def test_versions_are_listed_newest_first_and_in_pages(client: Any) -> None:
    first = client.list_image_set_versions(**ONE, maxResults=1)
    second = client.list_image_set_versions(**ONE, maxResults=1, nextToken=first["nextToken"])
    (newest,), (oldest,) = first["imageSetPropertiesList"], second["imageSetPropertiesList"]
    assert (newest["versionId"], newest["ImageSetWorkflowStatus"]) == ("2", "UPDATED")  # with a capital here
    assert (oldest["versionId"], oldest["ImageSetWorkflowStatus"]) == ("1", "CREATED")
    assert "nextToken" not in second


def test_the_data_store_tells_its_properties(client: Any) -> None:
    assert client.get_datastore(datastoreId=DATASTORE_ID)["datastoreProperties"] == {
        "datastoreId": DATASTORE_ID,
        "datastoreName": "shelf",
        "datastoreStatus": "ACTIVE",
        "datastoreArn": ARN,
        "losslessStorageFormat": "HTJ2K",
        "createdAt": moment(1_704_067_200.5),
        "updatedAt": moment(1_704_067_201.5),
    }


@pytest.mark.parametrize(("status", "found"), [({}, 1), ({"datastoreStatus": "ACTIVE"}, 1),
                                               ({"datastoreStatus": "DELETED"}, 0)])  # fmt: skip
def test_data_stores_are_listed(client: Any, status: dict[str, str], found: int) -> None:
    summaries = client.list_datastores(**status)["datastoreSummaries"]
    assert [summary["datastoreId"] for summary in summaries] == [DATASTORE_ID] * found


ABSENT = "0" * 32
NO_FRAME = {"imageFrameInformation": {"imageFrameId": ABSENT}}


@pytest.mark.parametrize(
    ("operation", "arguments", "error", "status"),
    [
        ("get_datastore", {"datastoreId": ABSENT}, "ResourceNotFoundException", 404),
        ("get_datastore", {"datastoreId": "x"}, "ValidationException", 400),
        ("get_datastore", {"datastoreId": "D" * 32}, "ValidationException", 400),
        ("get_image_set", ONE | {"datastoreId": ABSENT}, "ResourceNotFoundException", 404),
        ("get_image_set", ONE | {"imageSetId": ABSENT}, "ResourceNotFoundException", 404),
        ("get_image_set", ONE | {"imageSetId": ".." * 16}, "ValidationException", 400),
        ("get_image_set", ONE | {"versionId": "7"}, "ResourceNotFoundException", 404),
        ("get_image_set", ONE | {"versionId": "seven"}, "ValidationException", 400),
        ("get_image_set", ONE | {"imageSetId": identifier(3)}, "ResourceNotFoundException", 404),
        ("get_image_set_metadata", ONE | {"imageSetId": ABSENT}, "ResourceNotFoundException", 404),
        ("get_image_set_metadata", ONE | {"imageSetId": identifier(2)}, "ConflictException", 409),
        ("get_image_set_metadata", ONE | {"imageSetId": identifier(3)}, "ResourceNotFoundException", 404),
        ("get_image_set_metadata", ONE | {"versionId": "-1"}, "ValidationException", 400),
        ("get_image_frame", ONE | NO_FRAME, "ResourceNotFoundException", 404),
        ("get_image_frame", JPH | {"imageSetId": identifier(2)}, "ConflictException", 409),
        ("get_image_frame", JPH | {"imageSetId": identifier(3)}, "ResourceNotFoundException", 404),
        ("get_image_frame", ONE | {"imageFrameInformation": {"imageFrameId": "1"}}, "ValidationException", 400),
        ("list_image_set_versions", ONE | {"imageSetId": ABSENT}, "ResourceNotFoundException", 404),
        ("search_image_sets", {"datastoreId": ABSENT}, "ResourceNotFoundException", 404),
    ],
)
@pytest.mark.slow
def test_errors_are_those_of_ahi(
    client: Any, operation: str, arguments: dict[str, Any], error: str, status: int
) -> None:
    with pytest.raises(ClientError) as refused:
        getattr(client, operation)(**arguments)
    answer = refused.value.response
    assert (answer["Error"]["Code"], answer["ResponseMetadata"]["HTTPStatusCode"]) == (error, status)
    assert answer["Error"]["Message"]


def test_a_locked_image_set_still_tells_its_properties(client: Any) -> None:
    assert client.get_image_set(**ONE | {"imageSetId": identifier(2)})["imageSetState"] == "LOCKED"


@pytest.mark.parametrize(
    ("method", "path"),
    [("GET", "/"), ("POST", "/datastores"), ("DELETE", f"/datastore/{DATASTORE_ID}"),
     ("GET", f"/datastore/{DATASTORE_ID}/imageSet/{identifier(1)}/getImageSet")],
)  # fmt: skip
def test_what_ahi_does_not_know_is_an_unknown_operation(
    http: urllib3.PoolManager, url: str, method: str, path: str
) -> None:
    answer = http.request(method, url + path)
    assert (answer.status, answer.headers["x-amzn-errortype"]) == (404, "UnknownOperationException")
    assert answer.json().keys() == {"message"}


@pytest.mark.parametrize("query", ["maxResults=0", "maxResults=51", "maxResults=x", "maxResults=", "nextToken=%C3%A4",
                                   "nextToken=x", "nextToken=LTE="])  # fmt: skip
def test_a_page_that_cannot_be_is_refused(http: urllib3.PoolManager, url: str, query: str) -> None:
    answer = http.request("GET", f"{url}/datastore?{query}")
    assert (answer.status, answer.headers["x-amzn-errortype"]) == (400, "ValidationException")


@pytest.mark.parametrize(
    "body", [b"{", b"[]", b"null", b'{"imageFrameId": 1}', b'{"imageFrameId": null}', b"x" * 70_000]
)
def test_a_body_that_cannot_be_is_refused(http: urllib3.PoolManager, url: str, body: bytes) -> None:
    path = f"/datastore/{DATASTORE_ID}/imageSet/{identifier(1)}/getImageFrame"
    answer = http.request("POST", url + path, body=body)
    assert (answer.status, answer.headers["x-amzn-errortype"]) == (400, "ValidationException")


@pytest.mark.parametrize(
    "host", ["runtime-medical-imaging.us-east-1.amazonaws.com", "medical-imaging", "anything:9000"]
)
def test_any_host_is_answered(http: urllib3.PoolManager, url: str, host: str) -> None:
    path = f"/datastore/{DATASTORE_ID}/imageSet/{identifier(1)}/getImageSet"
    assert http.request("POST", url + path, headers={"Host": host}).status == 200


def test_unsigned_calls_are_refused_where_a_signature_is_needed(
    http: urllib3.PoolManager, new_client: Callable[..., Any]
) -> None:
    with served(Shelf(image_set(1)), signature_needed=True) as url:
        assert new_client(url).get_image_set(**ONE)["versionId"] == "1"
        unsigned = http.request("GET", f"{url}/datastore")
        wrong = {"Authorization": "AWS4-HMAC-SHA256 Credential=a/20240101/us-east-1/s3/aws4_request, Signature=b"}
        other_service = http.request("GET", f"{url}/datastore", headers=wrong)
    for answer in (unsigned, other_service):
        assert (answer.status, answer.headers["x-amzn-errortype"]) == (403, "AccessDeniedException")


def test_a_failure_of_ours_is_an_internal_error(
    new_client: Callable[..., Any], tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    unreadable = {frame_id(1): (tmp_path, "image/jph")}  # a folder
    with served(Shelf(image_set(1), frames=unreadable)) as url, pytest.raises(ClientError, match="InternalServerExcep"):
        new_client(url).get_image_frame(**JPH)
    assert "data store failed operation=GetImageFrame" in caplog.text


def test_a_frame_that_went_away_meanwhile_is_not_found(new_client: Callable[..., Any], tmp_path: Path) -> None:
    gone = {frame_id(1): (tmp_path / "gone", "image/jph")}
    with served(Shelf(image_set(1), frames=gone)) as url, pytest.raises(ClientError, match="ResourceNotFoundException"):
        new_client(url).get_image_frame(**JPH)


def test_an_image_set_on_disk_is_served(new_client: Callable[..., Any], tmp_path: Path) -> None:
    storage = Storage.open(tmp_path)
    tags = {"DICOMStudyInstanceUID": "1.1", "DICOMSeriesInstanceUID": "1.1.1"}
    with storage.importing(), storage.stage() as staging:
        staging.add_frame(frame_id(1), FRAME, "image/jph")
        made = storage.publish(staging, b'{"SchemaVersion": "1.1"}', is_primary=True, tags=tags)
    one = {"datastoreId": storage.datastore.datastore_id, "imageSetId": made.image_set_id}
    wanted = {"imageFrameInformation": {"imageFrameId": frame_id(1)}}
    with served(storage) as url:
        client = new_client(url)
        (summary,) = client.search_image_sets(datastoreId=one["datastoreId"])["imageSetsMetadataSummaries"]
        assert (summary["imageSetId"], summary["DICOMTags"]) == (made.image_set_id, tags)
        blob = client.get_image_set_metadata(**one)["imageSetMetadataBlob"].read()
        assert gzip.decompress(blob) == b'{"SchemaVersion": "1.1"}'
        assert client.get_image_frame(**one, **wanted)["imageFrameBlob"].read() == FRAME
        storage.lock(made.image_set_id, True)
        with pytest.raises(ClientError, match="ConflictException"):
            client.get_image_frame(**one, **wanted)
        storage.delete(made.image_set_id)
        with pytest.raises(ClientError, match="ResourceNotFoundException"):
            client.get_image_set(**one)


# --- SearchImageSets --------------------------------------------------------------------------------------------------


def study(number: int, date: str | None, time: str | None = None, **tags: str) -> Mapping[str, str | int | None]:
    return {
        "DICOMPatientId": "P1",
        "DICOMStudyInstanceUID": f"1.{number}",
        "DICOMStudyDate": date,
        "DICOMStudyTime": time,
        "DICOMSeriesNumber": number,
        **tags,
    }


ARCHIVE = Shelf(
    image_set(1, tags=study(1, "20240101", "080000")),
    image_set(2, tags=study(2, "20240101", "120000.5", DICOMPatientId="P2")),
    image_set(3, tags=study(3, "20240102", "080000", DICOMAccessionNumber="A3"), is_primary=False),
    image_set(4, tags=study(4, "20240103", None, DICOMStudyId="S4")),
    image_set(5, tags=study(5, None, None, DICOMSeriesInstanceUID="1.5.1")),
    image_set(6, tags=study(6, "20240101"), state="DELETED"),
    *(image_set(number, tags={"DICOMPatientId": "MANY"}) for number in range(100, 220)),
)
FIRST = {"sort": {"sortField": "createdAt", "sortOrder": "ASC"}}


@pytest.fixture(scope="module")
def archive_url() -> Iterator[str]:
    with served(ARCHIVE) as found:
        yield found


@pytest.fixture
def search(archive_url: str, new_client: Callable[..., Any]) -> Callable[..., Any]:
    client = new_client(archive_url, parameter_validation=False)

    def searched(*filters: Mapping[str, Any], **more: Any) -> Any:
        criteria = {"filters": list(filters), **FIRST} if filters else {}
        return client.search_image_sets(
            datastoreId=DATASTORE_ID, searchCriteria=criteria | more.pop("criteria", {}), **more
        )

    return searched


def equal(**value: Any) -> dict[str, Any]:
    return {"operator": "EQUAL", "values": [value]}


def between(name: str, first: Any, last: Any) -> dict[str, Any]:
    return {"operator": "BETWEEN", "values": [{name: first}, {name: last}]}


def at(date: str, time: str | None = None) -> dict[str, str]:
    return {"DICOMStudyDate": date} | ({"DICOMStudyTime": time} if time else {})


@pytest.mark.parametrize(
    ("filters", "found"),
    [
        pytest.param([equal(DICOMPatientId="P2")], [2], id="patient"),
        pytest.param([equal(DICOMPatientId="p2")], [], id="case counts"),
        pytest.param([equal(DICOMPatientId="P*")], [], id="no wildcards"),
        pytest.param([equal(DICOMStudyInstanceUID="1.3")], [3], id="study"),
        pytest.param([equal(DICOMSeriesInstanceUID="1.5.1")], [5], id="series"),
        pytest.param([equal(DICOMAccessionNumber="A3")], [3], id="accession number"),
        pytest.param([equal(DICOMStudyId="S4")], [4], id="study ID"),
        pytest.param([equal(DICOMPatientId="P1"), equal(DICOMAccessionNumber="")], [1, 4, 5], id="both, and empty"),
        pytest.param([equal(DICOMPatientId="P1"), equal(isPrimary=False)], [3], id="not primary"),
        pytest.param([equal(DICOMStudyDateAndTime=at("20240101"))], [1, 2], id="a day"),
        pytest.param([equal(DICOMStudyDateAndTime=at("20240101", "080000"))], [1], id="a moment"),
        pytest.param([between("DICOMStudyDateAndTime", at("20240102"), at("20240103"))], [3, 4], id="days"),
        pytest.param([between("DICOMStudyDateAndTime", at("20240101", "100000"), at("20240102", "080000"))], [2, 3],
                     id="moments"),
        pytest.param([between("createdAt", moment(1_704_067_202), moment(1_704_067_204))], [2, 3], id="created"),
        pytest.param([between("updatedAt", moment(1_704_067_204), moment(1_704_067_210))], [4, 5], id="updated"),
        pytest.param([equal(DICOMStudyInstanceUID="1.6")], [], id="a deleted one is not found"),
    ],
)  # fmt: skip
def test_a_search_finds(search: Callable[..., Any], filters: list[Mapping[str, Any]], found: list[int]) -> None:
    answer = search(*filters)
    numbers = [int(summary["imageSetId"], 16) for summary in answer["imageSetsMetadataSummaries"]]
    assert numbers == found
    assert answer["sort"] == FIRST["sort"]


def test_a_search_tells_a_summary(search: Callable[..., Any]) -> None:
    (summary,) = search(equal(DICOMPatientId="P2"))["imageSetsMetadataSummaries"]
    assert summary == {
        "imageSetId": identifier(2),
        "version": 1,  # a number here
        "createdAt": moment(1_704_067_202.25),
        "updatedAt": moment(1_704_067_202.25),
        "lastAccessedAt": moment(1_704_067_202.25),
        "storageTier": "FREQUENT_ACCESS",
        "isPrimary": True,
        "DICOMTags": study(2, "20240101", "120000.5", DICOMPatientId="P2"),
    }


def test_an_empty_tag_is_left_out(search: Callable[..., Any]) -> None:
    (summary,) = search(equal(DICOMStudyInstanceUID="1.4"))["imageSetsMetadataSummaries"]
    assert "DICOMStudyTime" not in summary["DICOMTags"]


@pytest.mark.parametrize(
    ("field", "order", "found"),
    [
        ("createdAt", "ASC", [1, 3, 4, 5]),
        ("updatedAt", "DESC", [5, 4, 3, 1]),
        ("DICOMStudyDateAndTime", "ASC", [5, 1, 3, 4]),
        ("DICOMStudyDateAndTime", "DESC", [4, 3, 1, 5]),
    ],
)
def test_a_search_is_sorted(search: Callable[..., Any], field: str, order: str, found: list[int]) -> None:
    sort = {"sortField": field, "sortOrder": order}
    answer = search(equal(DICOMPatientId="P1"), criteria={"sort": sort})
    assert [int(each["imageSetId"], 16) for each in answer["imageSetsMetadataSummaries"]] == found
    assert answer["sort"] == sort


def test_the_latest_update_comes_first_when_nothing_is_said(search: Callable[..., Any]) -> None:
    answer = search()
    assert int(answer["imageSetsMetadataSummaries"][0]["imageSetId"], 16) == 219
    assert answer["sort"] == {"sortField": "updatedAt", "sortOrder": "DESC"}


@pytest.mark.parametrize(("size", "pages"), [({}, [50, 50, 20]), ({"maxResults": 45}, [45, 45, 30])])
def test_pages_together_hold_everything_once(
    search: Callable[..., Any], size: dict[str, int], pages: list[int]
) -> None:
    found: list[list[str]] = []
    token: dict[str, str] = {}
    while True:
        answer = search(equal(DICOMPatientId="MANY"), **size, **token)
        found.append([each["imageSetId"] for each in answer["imageSetsMetadataSummaries"]])
        if "nextToken" not in answer:
            break
        token = {"nextToken": answer["nextToken"]}
    assert [len(page) for page in found] == pages
    assert len({each for page in found for each in page}) == 120


@pytest.mark.parametrize(
    "criteria",
    [
        pytest.param({"filters": [equal(isPrimary=True)] * 3}, id="three filters"),
        pytest.param({"filters": [equal(DICOMPatientName="X")]}, id="unknown field"),
        pytest.param({"filters": [{"operator": "LIKE", "values": [{"DICOMPatientId": "P"}]}]}, id="unknown operator"),
        pytest.param({"filters": [{"operator": "EQUAL", "values": []}]}, id="no value"),
        pytest.param({"filters": [{"operator": "BETWEEN", "values": [{"createdAt": 1}]}]}, id="no end"),
        pytest.param({"filters": [between("DICOMPatientId", "A", "B")]}, id="range of text"),
        pytest.param(
            {"filters": [{"operator": "BETWEEN", "values": [{"createdAt": 1}, {"updatedAt": 2}]}]}, id="mixed"
        ),
        pytest.param({"filters": [{"operator": "EQUAL", "values": [{}]}]}, id="empty value"),
        pytest.param({"filters": [{"operator": "EQUAL", "values": ["P"]}]}, id="value that is no object"),
        pytest.param({"filters": [{"operator": ["EQUAL"], "values": [{}]}]}, id="operator that is no text"),
        pytest.param({"filters": [equal(DICOMPatientId=1)]}, id="number for a text"),
        pytest.param({"filters": [equal(createdAt="today")]}, id="text for a number"),
        pytest.param({"filters": [equal(isPrimary=1)]}, id="number for a truth"),
        pytest.param({"filters": [equal(DICOMStudyDateAndTime={"DICOMStudyTime": "08"})]}, id="time without date"),
        pytest.param({"filters": {}, "sort": {"sortField": "name", "sortOrder": "ASC"}}, id="unknown order"),
        pytest.param({"sort": ["updatedAt"]}, id="order that is no object"),
        pytest.param({"filters": "all"}, id="filters that are no list"),
    ],
)
def test_criteria_that_cannot_be_are_refused(
    http: urllib3.PoolManager, archive_url: str, criteria: dict[str, Any]
) -> None:
    path = f"{archive_url}/datastore/{DATASTORE_ID}/searchImageSets"
    answer = http.request("POST", path, body=json.dumps(criteria))
    assert (answer.status, answer.headers["x-amzn-errortype"]) == (400, "ValidationException")
    assert not re.search(r"Traceback|object at", answer.json()["message"])
