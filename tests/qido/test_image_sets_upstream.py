"""Image sets that are large, gone, or not to be had; and parameters that nobody should send."""

from collections.abc import Iterator
from pathlib import Path
from urllib.parse import quote

import pytest
from flask.testing import FlaskClient
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from ahi.image_sets.image_set import ImageSetKey
from ahi.retrieval.metadata_reader import READ_IN_PROCESS_BYTES, MetadataReader
from datastore.serving.faults import Faults, parse_faults
from datastore.storage.storage import Storage
from db.engine import Database
from db.index_kind import IndexKind
from tests.datastore.made import made
from tests.qido.stored import data_sets, fetched, index, searching, store
from tests.servers import Sqlite

LONG = "x" * 1024
MANY = 400  # instances, whose JSON is together longer than what is read by the web process


@pytest.fixture(scope="module")
def faults() -> Faults:
    return Faults()


@pytest.fixture(scope="module")
def stored(tmp_path_factory: pytest.TempPathFactory) -> Storage:
    long = [
        made(StudyInstanceUID="1.3", SeriesInstanceUID="1.3.1", SOPInstanceUID=f"1.3.1.{number}", PatientComments=LONG,
             InstanceNumber=str(number), AcquisitionNumber=str(number % 7))
        for number in range(1, MANY + 1)
    ]  # fmt: skip
    return store([*data_sets(), *long], tmp_path_factory.mktemp("stored"))


@pytest.fixture(scope="module")
def cache_root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("fetched")


@pytest.fixture(scope="module")
def described(stored: Storage, faults: Faults, cache_root: Path) -> Iterator[MetadataReader]:
    with fetched(stored, cache_root, faults, fresh_seconds=0.01) as described:
        yield described


@pytest.fixture(scope="module")
def client(stored: Storage, sqlite: Sqlite, described: MetadataReader, tables: IndexKind) -> Iterator[FlaskClient]:
    """AWS's tables without instances, or own ones."""
    url = sqlite.new_index(tables)
    index(stored, url, instances=False)
    database = Database(url)
    yield searching(database, described)
    database.close()


def numbers(client: FlaskClient, resource: str) -> list[int]:
    response = client.get(f"/aetitle/{resource}")
    assert response.status_code == 200, response.get_data(as_text=True)
    return [result["00200013"]["Value"][0] for result in response.get_json(force=True)]


@pytest.mark.slow
def test_a_long_series_is_read_by_a_fetcher(client: FlaskClient) -> None:
    assert MANY * len(LONG) > READ_IN_PROCESS_BYTES
    found = numbers(client, "studies/1.3/instances?AcquisitionNumber=3&orderby=-InstanceNumber")
    assert found == [number for number in range(MANY, 0, -1) if number % 7 == 3]


def test_what_went_from_the_cache_is_read_from_what_is_still_mapped(
    stored: Storage, described: MetadataReader, cache_root: Path
) -> None:
    """The fetcher finds no file of that name, and says so."""
    keys = [ImageSetKey(stored.datastore.datastore_id, one.image_set_id) for one in stored.image_sets()]
    (long,) = (one for one in described.locate_readable(keys)[0].values() if len(one.prepared.instances) == MANY)
    instances = [(long, instance) for instance in long.prepared.instances]
    with_file = described.read(instances, ("00200012",), "")
    for path in cache_root.rglob(f"{long.key.image_set_id}*"):
        path.unlink()
    assert described.read(instances, ("00200012",), "") == with_file
    assert [one["00200012"]["Value"] for one in with_file] == [[number % 7] for number in range(1, MANY + 1)]


def test_an_image_set_that_ahi_no_longer_has_is_left_out(
    client: FlaskClient, faults: Faults, tables: IndexKind
) -> None:
    """Own tables count its instances until they are told that it has gone."""
    faults.replace(parse_faults("GetImageSet:404"))
    try:
        assert numbers(client, "studies/1.3/instances?AcquisitionNumber=0") == []
        (study,) = client.get("/aetitle/studies?StudyInstanceUID=1.3&includefield=PatientAge").get_json(force=True)
        counted = {"Value": [MANY]} if tables is IndexKind.OWN else {}
        assert study["00201208"] == {"vr": "IS", **counted}
    finally:
        faults.replace(())


@pytest.mark.parametrize(
    "resource",
    ["studies/1.2.1/instances", "studies/1.2.1/instances?SliceThickness=1.25", "studies?includefield=PatientAge"],
)
@pytest.mark.slow
def test_while_ahi_does_not_answer_the_client_is_to_try_again(
    client: FlaskClient, faults: Faults, resource: str, tables: IndexKind
) -> None:
    if tables is IndexKind.OWN and "?" not in resource:
        pytest.skip("own tables have the instances")
    faults.replace(parse_faults("GetImageSet:503"))
    try:
        response = client.get(f"/aetitle/{resource}")
        assert response.status_code == 503
        assert int(response.headers["Retry-After"]) > 0
    finally:
        faults.replace(())


names = st.sampled_from(
    ["PatientAge", "00191001", "00190010", "00400275.00400009", "RequestAttributesSequence.RequestedProcedureID",
     "PerformedProcedureStepStartDate", "PerformedProcedureStepStartTime", "SliceThickness", "ImageType", "PixelData",
     "AcquisitionDateTime", "includefield", "orderby", "fuzzymatching", "emptyvaluematching", "multiplevaluematching",
     "limit", "offset", "InstanceNumber", "ContentTime", "OperatorsName", "7FE00010.00080018", "StudyInstanceUID"]
)  # fmt: skip
values = st.sampled_from(
    ["*", "?", '""', "-", "true", "all", "[", "[!a]*", "*a" * 90, "00400275.00400009.00080018,00191001", "1.2.1",
     "20240101-", "0000", "00000000000000-0000", "9999", "1e999", "-1E-999", "\\", "=^=", "Ö" * 200, "2024-1400", "5"]
) | st.text(max_size=12)  # fmt: skip
resources = st.sampled_from(
    ["patients", "studies", "studies/1.2.1/series", "studies/1.2.1/instances", "studies/1.2.1/series/1.2.1.1/instances",
     "instances", "instances/count", "series/count", "studies/1.2.3/instances/count"]
)  # fmt: skip


@settings(
    max_examples=120, deadline=None, derandomize=True, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(resource=resources, parameters=st.lists(st.tuples(names, values), min_size=1, max_size=4))
def test_no_parameters_break_a_search_of_image_sets(
    client: FlaskClient, resource: str, parameters: list[tuple[str, str]]
) -> None:
    text = "&".join(f"{quote(name)}={quote(value, errors='replace')}" for name, value in parameters)
    response = client.get(f"/aetitle/{resource}?{text}")
    assert response.status_code in (200, 400), response.get_data(as_text=True)
