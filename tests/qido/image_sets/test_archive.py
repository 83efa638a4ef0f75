"""What the index lacks comes from the image sets: attributes, conditions, counts, and instances."""

from collections.abc import Callable, Iterator
from typing import Any

import pytest
from flask.testing import FlaskClient

from ahi.retrieval.metadata_reader import MetadataReader
from datastore.storage.storage import Storage
from db.engine import Database
from db.index_kind import IndexKind
from db.scope import Scope
from qido.image_sets.row_filters import parse_filter
from tests.qido.stored import ROOT, data_sets, fetched, index, searching, store


@pytest.fixture(scope="session")
def stored(tmp_path_factory: pytest.TempPathFactory) -> Storage:
    return store(data_sets(), tmp_path_factory.mktemp("stored"))


@pytest.fixture(scope="session")
def described(stored: Storage, tmp_path_factory: pytest.TempPathFactory) -> Iterator[MetadataReader]:
    with fetched(stored, tmp_path_factory.mktemp("fetched")) as described:
        yield described


@pytest.fixture(scope="session")
def with_rows(stored: Storage, new_index: Callable[..., str]) -> Iterator[Database]:
    yield from _indexed(stored, new_index(), instances=True)


@pytest.fixture(scope="session")
def without_rows(stored: Storage, new_index: Callable[..., str]) -> Iterator[Database]:
    yield from _indexed(stored, new_index(), instances=False)


@pytest.fixture(scope="session")
def in_own_tables(stored: Storage, new_index: Callable[..., str]) -> Iterator[Database]:
    yield from _indexed(stored, new_index(IndexKind.OWN), instances=True)


def _indexed(stored: Storage, url: str, *, instances: bool) -> Iterator[Database]:
    index(stored, url, instances=instances)
    database = Database(url)
    yield database
    database.close()


@pytest.fixture(params=["with_rows", "without_rows", "in_own_tables"])
def client(
    request: pytest.FixtureRequest, with_rows: Database, without_rows: Database, in_own_tables: Database,
    described: MetadataReader,
) -> FlaskClient:  # fmt: skip
    """AWS's tables with instances and without, and own tables; what the claims below say holds for each."""
    indexes = {"with_rows": with_rows, "without_rows": without_rows, "in_own_tables": in_own_tables}
    return searching(indexes[request.param], described)


def results(client: FlaskClient, resource: str) -> list[dict[str, Any]]:
    response = client.get(f"/aetitle/{resource}")
    assert response.status_code == 200, response.get_data(as_text=True)
    found: list[dict[str, Any]] = response.get_json(force=True)
    return found


def warnings(client: FlaskClient, resource: str) -> list[str]:
    fields = client.get(f"/aetitle/{resource}").headers.getlist("Warning")
    return [field.partition('"')[2].rstrip('"') for field in fields]


@pytest.mark.parametrize(
    ("resource", "tag", "expected"),
    [
        ("patients?PatientID=P1&includefield=EthnicGroup", "00102160", {"vr": "SH", "Value": ["Martian"]}),
        (
            "studies/?PatientID=P2&includefield=PatientAge".replace("/?", "?"),
            "00101010",
            {"vr": "AS", "Value": ["030Y"]},
        ),
        ("studies?StudyInstanceUID=1.2.1&PatientAge=", "00101010", {"vr": "AS", "Value": ["050Y"]}),
        (
            "studies/1.2.1/series?Modality=CT&includefield=PerformedProcedureStepStartTime",
            "00400245",
            {"vr": "TM", "Value": ["101500.5"]},
        ),
        (
            "studies/1.2.1/series?Modality=CT&includefield=00400275.00400009",
            "00400275",
            {
                "vr": "SQ",
                "Value": [
                    {"00400009": {"vr": "SH", "Value": ["SPS1"]}},
                    {"00400009": {"vr": "SH", "Value": ["SPS2"]}},
                ],
            },
        ),
        ("series?SeriesInstanceUID=1.2.1.1&includefield=PatientAge", "00101010", {"vr": "AS", "Value": ["050Y"]}),
        (
            "instances?SOPInstanceUID=1.2.1.1.2&StudyInstanceUID=1.2.1&includefield=SliceThickness,ImageType",
            "00180050",
            {"vr": "DS", "Value": [2.5]},
        ),
        (
            "studies/1.2.1/instances?SOPInstanceUID=1.2.1.1.2&includefield=imagetype",
            "00080008",
            {"vr": "CS", "Value": ["ORIGINAL", "PRIMARY", "AXIAL"]},
        ),
        (
            "studies/1.2.1/instances?SOPInstanceUID=1.2.1.1.1&includefield=00191001&00190010=ACME 1.0",
            "00191001",
            {"vr": "DS", "Value": [5]},
        ),
        (
            "studies/1.2.1/instances?SOPInstanceUID=1.2.1.1.2&includefield=00191001&00190010=ACME 1.0",
            "00191001",
            {"vr": "DS", "Value": [7]},
        ),
        (
            "studies/1.2.1/instances?SOPInstanceUID=1.2.1.1.2&includefield=00191101",
            "00190011",
            {"vr": "LO", "Value": ["ACME 1.0"]},
        ),
        (
            "studies/1.2.1/instances?SOPInstanceUID=1.2.1.1.2&includefield=AvailableTransferSyntaxUID",
            "00083002",
            {"vr": "UI", "Value": ["1.2.840.10008.1.2.4.202", "1.2.840.10008.1.2.1"]},
        ),
        (
            "studies/1.2.1/instances?SOPInstanceUID=1.2.1.1.2&includefield=PixelData",
            "7FE00010",
            {"vr": "OW", "BulkDataURI": f"{ROOT}/studies/1.2.1/series/1.2.1.1/instances/1.2.1.1.2/bulkdata/7FE00010"},
        ),
        (
            "series?StudyInstanceUID=1.2.3&OperatorsName=",
            "00081070",
            {"vr": "PN", "Value": [{"Alphabetic": "First^In"}]},
        ),
        ("studies?StudyInstanceUID=1.2.1&includefield=all", "00101010", {"vr": "AS", "Value": ["050Y"]}),
        ("studies/1.2.1/series?Modality=CT&includefield=all", "00400244", {"vr": "DA", "Value": ["20240110"]}),
        ("studies/1.2.1/instances?InstanceNumber=3&includefield=all", "00180050", {"vr": "DS", "Value": [1.25]}),
    ],
)
def test_what_was_asked_for_is_filled_from_the_image_sets(
    client: FlaskClient, resource: str, tag: str, expected: dict[str, Any]
) -> None:
    """PS3.18 Section 8.3.4.3."""
    (result,) = results(client, resource)
    assert result[tag] == expected


@pytest.mark.parametrize(
    ("resource", "absent"),
    [
        (
            "studies?includefield=SliceThickness,Rows,PerformedProcedureStepStartDate",
            {"00180050", "00280010", "00400244"},
        ),
        ("patients?includefield=PatientAge", {"00101010"}),
        ("studies?includefield=all", {"00180050", "00280010", "00400275", "00083002", "7FE00010"}),
        ("studies/1.2.1/series?includefield=all", {"00180050", "00101010", "00100010", "00191001"}),
        ("studies/1.2.1/series/1.2.1.1/instances?includefield=all", {"00101010", "00400275", "0020000E0"}),
        ("studies/1.2.1/instances?includefield=00191001&00190010=Philips", {"00191001", "00190010"}),
    ],
)
def test_attributes_of_lower_levels_and_of_others_are_not_returned(
    client: FlaskClient, resource: str, absent: set[str]
) -> None:
    """PS3.18 Section 10.6.3.3."""
    found = results(client, resource)
    assert found
    assert not [absent.intersection(result) for result in found if absent.intersection(result)]


ALL_OF_CT = {"1.2.1.1.1", "1.2.1.1.2", "1.2.1.1.3", "1.2.1.1.10"}


@pytest.mark.parametrize(
    ("resource", "uids"),
    [
        # series: RequestAttributesSequence, all keys in the same item (PS3.4 Section C.2.2.2.6)
        ("studies/1.2.1/series?RequestAttributesSequence.ScheduledProcedureStepID=SPS1", {"1.2.1.1"}),
        ("studies/1.2.1/series?00400275.00400009=SPS?&00400275.00401001=RP2", {"1.2.1.1"}),
        ("studies/1.2.1/series?00400275.00400009=SPS1&00400275.00401001=RP2", set()),
        ("studies/1.2.1/series?00400275.00400009=sps1", set()),
        ('studies/1.2.1/series?00400275.00400009=""&emptyvaluematching=true', {"1.2.1.2"}),
        ("studies/1.2.1/series?00400275.00400009=X%5CSPS2&multiplevaluematching=true", {"1.2.1.1"}),
        # the performed procedure step: dates, times, and the instants that they make (Section C.2.2.2.5)
        ("studies/1.2.1/series?PerformedProcedureStepStartDate=20240111-", {"1.2.1.2"}),
        ("studies/1.2.1/series?PerformedProcedureStepStartTime=1015", {"1.2.1.1"}),
        ("studies/1.2.1/series?PerformedProcedureStepStartTime=2300-0930", {"1.2.1.2"}),
        (
            "studies/1.2.1/series?PerformedProcedureStepStartDate=20240110-20240111&PerformedProcedureStepStartTime=11-10",
            {"1.2.1.2"},
        ),
        ("series?StudyInstanceUID=1.2.1&PerformedProcedureStepStartDate=20240110", {"1.2.1.1"}),
        ("series?SeriesInstanceUID=1.2.1.1&PatientAge=050Y", {"1.2.1.1"}),
        ("series?SeriesInstanceUID=1.2.1.1&PatientAge=051Y", set()),
        ("studies/1.2.1/series?PatientAge=0*&Modality=SR", {"1.2.1.2"}),
        # studies
        ("studies?StudyInstanceUID=1.2.1&PatientAge=050Y", {"1.2.1"}),
        ("studies?StudyInstanceUID=1.2.1&PatientAge=030Y", set()),
        # instances: numbers, several values, names, moments, private ones
        ("studies/1.2.1/instances?SliceThickness=1.250", {"1.2.1.1.1", "1.2.1.1.3"}),
        ("studies/1.2.1/series/1.2.1.1/instances?ImageType=AXIAL&InstanceNumber=10", {"1.2.1.1.10"}),
        ("studies/1.2.1/series/1.2.1.1/instances?ImageType=PRIM*", ALL_OF_CT),
        ("studies/1.2.1/series/1.2.1.1/instances?ImageType=prim*", set()),
        ('studies/1.2.1/instances?SliceThickness=""&emptyvaluematching=true', {"1.2.1.2.1"}),
        ("studies/1.2.1/instances?AcquisitionDateTime=20240110100200-202401101003", {"1.2.1.1.2", "1.2.1.1.3"}),
        ("studies/1.2.1/instances?00191001=7&00190010=ACME 1.0", {"1.2.1.1.2"}),
        ("studies/1.2.1/instances?00191001=7&00190010=Philips", set()),
        ("instances?SeriesInstanceUID=1.2.1.1&SliceThickness=2.5&Modality=CT", {"1.2.1.1.2", "1.2.1.1.10"}),
        ("instances?StudyInstanceUID=1.2.1&SliceThickness=2.5&PatientName=DOE*", {"1.2.1.1.2", "1.2.1.1.10"}),
        ("instances?StudyInstanceUID=1.2.1&SliceThickness=2.5&PatientName=Roe*", set()),
        # both image sets of one series
        ("studies/1.2.3/series/1.2.3.1/instances", {"1.2.3.1.1", "1.2.3.1.2"}),
        ("studies/1.2.3/instances?SliceThickness=2.5", {"1.2.3.1.2"}),
        ("studies/1.2.3/series?PatientAge=030Y", {"1.2.3.1"}),
        ("studies/1.2.3/series?OperatorsName=first", set()),
        ("studies/1.2.3/series?OperatorsName=first^in", {"1.2.3.1"}),
        ("studies/1.2.3/series?OperatorsName=in,fir&fuzzymatching=true", {"1.2.3.1"}),
        ("studies/1.2.3/instances?OperatorsName=LATE*", {"1.2.3.1.1"}),
        # what the index has, if it has rows
        ("studies/1.2.1/instances", ALL_OF_CT | {"1.2.1.2.1"}),
        ("studies/1.2.1/instances?Modality=SR", {"1.2.1.2.1"}),
        ("studies/1.2.1/instances?Columns=14", {"1.2.1.1.10"}),
        ("studies/1.2.1/instances?SOPClassUID=1.2.840.10008.5.1.4.1.1.2", ALL_OF_CT),
        ("studies/1.2.1/instances?SOPInstanceUID=1.2.1.1.3,1.2.1.2.1", {"1.2.1.1.3", "1.2.1.2.1"}),
        ("studies/1.2.1/instances?ContentDescription=schadel ?", {"1.2.1.1.1", "1.2.1.1.2", "1.2.1.1.3"}),
        ("instances?PatientID=P2", {"1.2.3.1.1", "1.2.3.1.2"}),
        ("instances?Modality=MR", {"1.2.2.1.1", "1.2.2.1.2"}),
        ("instances?InstanceNumber=10", {"1.2.1.1.10"}),
        ("instances?PatientID=nobody", set()),
    ],
)
def test_conditions_are_matched_on_the_image_sets_where_they_must(
    client: FlaskClient, resource: str, uids: set[str]
) -> None:
    """PS3.4 Section C.2.2.2; the number, and the pages, are those of the results."""
    own = "00080018" if "instances" in resource else "0020000E" if "series" in resource else "0020000D"
    found = [result[own]["Value"][0] for result in results(client, resource)]
    assert sorted(found) == sorted(uids)
    assert warnings(client, resource) == []
    path, _, parameters = resource.partition("?")
    assert client.get(f"/aetitle/{path}/count?{parameters}").get_json(force=True) == {"count": len(uids)}
    paged = [results(client, f"{path}?{parameters}&limit=3&offset={at}") for at in range(0, len(uids) + 1, 3)]
    assert [result[own]["Value"][0] for page in paged for result in page] == found
    response = client.get(f"/aetitle/{path}?{parameters}&limit=1&count=true")
    assert response.headers["X-Total-Count"] == str(len(uids))
    assert (f"There are {len(uids) - 1} additional" in response.headers.get("Warning", "")) == (len(uids) > 1)


@pytest.mark.parametrize(
    ("resource", "counts"),
    [
        ("patients?PatientID=P1", {"00201200": 2, "00201202": 3, "00201204": 7}),
        ("studies?StudyInstanceUID=1.2.1", {"00201206": 2, "00201208": 5}),
        ("studies?StudyInstanceUID=1.2.3", {"00201206": 1, "00201208": 2}),
        ("studies/1.2.1/series?Modality=CT", {"00201209": 4}),
        ("instances?SOPInstanceUID=1.2.2.1.1", {"00201206": 1, "00201208": 2, "00201209": 2}),
    ],
)
def test_instances_are_counted(client: FlaskClient, resource: str, counts: dict[str, int]) -> None:
    """PS3.18 Tables 10.6.3-3 to -5."""
    (result,) = results(client, resource)
    assert {tag: result[tag]["Value"] for tag in counts} == {tag: [number] for tag, number in counts.items()}


@pytest.mark.parametrize(
    ("resource", "uids"),
    [
        ("studies/1.2.1/series/1.2.1.1/instances", ["1", "2", "3", "10"]),
        ("studies/1.2.1/series/1.2.1.1/instances?orderby=-InstanceNumber", ["10", "3", "2", "1"]),
        ("studies/1.2.1/series/1.2.1.1/instances?orderby=Rows,-Columns", ["10", "3", "2", "1"]),
        ("studies/1.2.1/series/1.2.1.1/instances?orderby=StudyDate,ContentDescription", ["1", "10", "2", "3"]),
        ("studies/1.2.1/series/1.2.1.1/instances?SliceThickness=&orderby=-InstanceNumber&limit=2&offset=1", ["3", "2"]),
    ],
)
def test_instances_come_in_the_order_that_was_asked_for(client: FlaskClient, resource: str, uids: list[str]) -> None:
    found = results(client, resource)
    assert [result["00080018"]["Value"] for result in found] == [[f"1.2.1.1.{uid}"] for uid in uids]


def test_the_order_is_that_of_upper_levels_too(client: FlaskClient) -> None:
    first = results(client, "instances?orderby=PatientName,-StudyDate,SeriesNumber,-InstanceNumber&limit=3")
    assert [result["00080018"]["Value"][0] for result in first] == ["1.2.2.1.2", "1.2.2.1.1", "1.2.1.1.10"]


@pytest.mark.parametrize(
    "resource",
    [
        "studies/1.2.1/instances",
        "studies/1.2.1/series/1.2.1.2/instances",
        "instances?PatientID=P1",
        "studies/1.2.1/series/1.2.1.1/instances?includefield=StudyDescription,BitsStored,NumberOfStudyRelatedInstances",
    ],
)
def test_every_kind_of_index_answers_the_same(
    with_rows: Database, without_rows: Database, in_own_tables: Database, described: MetadataReader, resource: str
) -> None:
    """All but the transfer syntaxes, which are told unasked where image sets are read anyway.

    AWS's tables have no times with fractions: they are told only where image sets are read.
    """
    indexes = (with_rows, without_rows, in_own_tables)
    known, read, own = (results(searching(index, described), resource) for index in indexes)
    syntaxes = [result.pop("00083002") for result in read]
    assert known == read
    times = [result["00080030"].pop("Value") for result in own if "00080030" in result]
    assert times in ([], [["101112.250000"]] * len(own))
    for result in known:
        result.get("00080030", {}).pop("Value", None)
    assert own == known
    assert all(syntax["Value"][-1] == "1.2.840.10008.1.2.1" for syntax in syntaxes)


@pytest.mark.parametrize(
    ("resource", "status"),
    [
        ("studies/1.2.9/instances", 404),
        ("studies/1.2.1/series/1.2.2.1/instances", 404),
        ("studies/1.2.9/series?PatientAge=050Y", 404),
        ("studies/1.2.9/instances/count?SliceThickness=1", 404),
        ("studies/1.2.1/series?PerformedProcedureStepStartDate=yesterday", 400),
        ("studies/1.2.1/instances?SliceThickness=thin", 400),
        ("studies/1.2.1/instances?AcquisitionDateTime=2024-13-01", 400),
        ("series?PerformedProcedureStepStartTime=noon", 400),
    ],
)
def test_what_is_not_there_and_what_is_ill_formed_is_told(client: FlaskClient, resource: str, status: int) -> None:
    assert client.get(f"/aetitle/{resource}").status_code == status


def test_no_more_image_sets_are_read_than_is_set(without_rows: Database, described: MetadataReader) -> None:
    few = searching(without_rows, described, most=2)
    studies = results(few, "studies?includefield=PatientAge&orderby=StudyInstanceUID")
    assert [result.get("00101010", {}).get("Value") for result in studies] == [["050Y"], ["051Y"], None]
    assert [result["00201208"].get("Value") for result in studies] == [[5], None, None]
    assert warnings(few, "studies?includefield=PatientAge&orderby=StudyInstanceUID") == [
        "2 results lack what only their image sets tell. Ask for fewer results at once."
    ]
    assert len(results(few, "studies/1.2.1/series/1.2.1.1/instances?SliceThickness=1.25")) == 2
    keys = ("", "PatientID=P2", "StudyInstanceUID=1.2.1")
    assert [len(results(few, f"instances?{key}")) for key in keys] == [6, 2, 5]
    text = "Only the instances of 2 series have been searched. Name a study or a series to search all of it."
    uncounted = "4 results lack what only their image sets tell. Ask for fewer results at once."
    assert warnings(few, "instances") == [text, uncounted]  # those of the study of which a series was not searched
    assert warnings(few, "instances/count") == [text]
    assert warnings(few, "instances?PatientID=P2") == []
    none = searching(without_rows, described, most=0)
    assert results(none, "instances") == []
    assert [result["00201208"].get("Value") for result in results(none, "studies")] == [None] * 3


@pytest.mark.parametrize("accept", ["text/csv", 'multipart/related; type="application/dicom+xml"'])
def test_every_representation_has_what_was_filled(client: FlaskClient, accept: str) -> None:
    for field in ("SliceThickness", "all"):
        resource = f"studies/1.2.1/instances?InstanceNumber=3&includefield={field}"
        text = client.get(f"/aetitle/{resource}", headers={"Accept": accept}).get_data(as_text=True)
        assert "SliceThickness" in text and "1.25" in text


@pytest.mark.parametrize(
    ("resource", "uids"),
    [
        ("studies?StudyInstanceUID=1.2.1&PatientAge=050Y", []),
        ("studies/1.2.3/instances?SliceThickness=2.5", ["1.2.3.1.2"]),
        ("instances?StudyInstanceUID=1.2.1&SliceThickness=2.5", []),
        ("instances", ["1.2.3.1.1", "1.2.3.1.2"]),
        ("studies/1.2.3/instances?includefield=all", ["1.2.3.1.1", "1.2.3.1.2"]),
    ],
)
def test_what_is_out_of_scope_is_not_read_either(
    with_rows: Database, without_rows: Database, in_own_tables: Database, described: MetadataReader, resource: str,
    uids: list[str],
) -> None:  # fmt: skip
    for database in (with_rows, without_rows, in_own_tables):
        limited = searching(database, described, scope=Scope(filters=(parse_filter("PatientID", ["P2"]),)))
        assert [result["00080018"]["Value"][0] for result in results(limited, resource)] == uids
        elsewhere = searching(database, described, scope=Scope(frozenset({"another data store"})))
        assert elsewhere.get(f"/aetitle/{resource}").status_code == (404 if "/" in resource.partition("?")[0] else 200)
        assert uids == [] or "/" in resource or results(elsewhere, resource) == []
