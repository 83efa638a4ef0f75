"""What is in a result (PS3.18 Tables 10.6.3-3 to -5), and that nothing else is."""

from collections.abc import Callable
from typing import Any

import pytest
from flask.testing import FlaskClient
from pydicom import Dataset

from db.engine import Database
from qido.parse.attributes import ATTRIBUTES
from tests.qido.archive import ROOT, SAMPLE, Series, Study, client, image, write
from tests.servers import Sqlite

FIXED = {"00080005", "00080056", "00081190"}  # SpecificCharacterSet, InstanceAvailability, RetrieveURL
STUDY = {
    *("00080020", "00080030", "00080050", "00080061", "00080090", "00100010", "00100020", "00100030", "00100040"),
    *("0020000D", "00200010", "00201206", "00201208"),
}
SERIES = {"00080060", "0020000E", "00200011", "00201209"}
INSTANCE = {"00080016", "00080018", "00200013"}
OF_PATIENT = {"00201200", "00201202", "00201204"}
UIDS = {"0020000D", "0020000E", "00080018"}


def results(archive: FlaskClient, resource: str) -> list[dict[str, Any]]:
    response = archive.get(f"/aetitle/{resource}")
    assert (response.status_code, response.content_type) == (200, "application/dicom+json")
    answer: list[dict[str, Any]] = response.get_json(force=True)
    return answer


@pytest.mark.parametrize(
    ("resource", "tags"),
    [
        ("studies?StudyInstanceUID=1.2.2", STUDY),
        ("studies?StudyInstanceUID=1.2.3", STUDY),
        ("studies/1.2.2/series", SERIES | {"0020000D"}),
        ("studies/1.2.1/series?Modality=SR", SERIES | {"0020000D", "0008103E"}),
        ("series?Modality=MR", STUDY | SERIES),
        (
            "studies/1.2.1/series/1.2.1.1/instances?InstanceNumber=10",
            INSTANCE | UIDS | {"00280010", "00280011", "00280100"},
        ),
        ("studies/1.2.1/series/1.2.1.1/instances?NumberOfFrames=7", INSTANCE | UIDS | {"00280008"}),
        ("studies/1.2.2/instances?InstanceNumber=1", SERIES | INSTANCE | UIDS),
        ("instances?Modality=MR&limit=1", STUDY | SERIES | INSTANCE),
    ],
)
def test_a_result_has_the_attributes_of_its_levels(archive: FlaskClient, resource: str, tags: set[str]) -> None:
    """Relational resources have those of the upper levels too (PS3.18 Section 10.6.3.3)."""
    (result,) = results(archive, resource)
    assert set(result) == tags | FIXED
    assert list(result) == sorted(result)


@pytest.mark.parametrize(
    ("resource", "more"),
    [
        ("studies?includefield=StudyDescription", {"00081030"}),
        ("studies?includefield=00081030,00080060&includefield=00100021", {"00081030", "00100021"}),
        ("studies?StudyDescription=", {"00081030"}),
        ("studies?includefield=Rows,Modality,SliceThickness,", set()),
        ("studies?includefield=all", {"00081030", "00100021", "00104000", *OF_PATIENT}),
        ("studies?includefield=all,StudyDate", {"00081030", "00100021", "00104000", *OF_PATIENT}),
        ("studies/1.2.1/series?includefield=PatientName,0020000d,StudyDate", {"00100010", "00080020"}),
        ("studies/1.2.1/series?PatientID=P1&ModalitiesInStudy=CT", {"00100020", "00080061"}),
        ("studies/1.2.1/series/1.2.1.1/instances?includefield=NumberOfSeriesRelatedInstances", {"00201209"}),
    ],
)
def test_a_result_has_what_was_asked_for_and_is_of_no_lower_level(
    archive: FlaskClient, resource: str, more: set[str]
) -> None:
    """PS3.18 Section 10.6.3.3: match keys and includefield."""
    plain = results(archive, resource.partition("?")[0])[0]
    assert set(results(archive, resource)[0]) == set(plain) | more


def test_all_at_the_level_of_instances_is_all_that_the_index_knows_of_them(archive: FlaskClient) -> None:
    (result,) = results(archive, "instances?includefield=all&SOPInstanceUID=1.2.1.1.3")
    known_only = {"00280008", "0008103E"}  # NumberOfFrames, SeriesDescription: this instance has none
    assert set(result) == {attribute.tag for attribute in ATTRIBUTES} - known_only | FIXED


@pytest.mark.parametrize(
    ("resource", "tag", "expected"),
    [
        ("studies?PatientID=P1", "00080005", {"vr": "CS", "Value": ["ISO_IR 192"]}),
        ("studies?PatientID=P1", "00080020", {"vr": "DA", "Value": ["20240110"]}),
        ("studies?PatientID=P1", "00080030", {"vr": "TM", "Value": ["101112"]}),
        ("studies?PatientID=p1", "00080030", {"vr": "TM"}),
        ("studies?PatientID=P1", "00080056", {"vr": "CS", "Value": ["ONLINE"]}),
        ("studies?PatientID=P1", "00080061", {"vr": "CS", "Value": ["CT", "SR"]}),
        ("studies?PatientID=P1", "00081190", {"vr": "UR", "Value": [f"{ROOT}/studies/1.2.1"]}),
        ("studies?PatientID=P1", "00100010", {"vr": "PN", "Value": [{"Alphabetic": "Doe^John"}]}),
        ("studies?PatientID=P1", "00100030", {"vr": "DA", "Value": ["19700131"]}),
        ("studies?PatientID=P4", "00100020", {"vr": "LO", "Value": ["P4"]}),
        (
            "studies?PatientID=P4",
            "00100010",
            {
                "vr": "PN",
                "Value": [{"Alphabetic": "Yamada^Tarou", "Ideographic": "山田^太郎", "Phonetic": "やまだ^たろう"}],
            },
        ),
        ("studies?PatientID=P4", "00080061", {"vr": "CS", "Value": ["CT"]}),
        # counts: those of the index, else counted; no instance rows is unknown, not none
        ("studies?PatientID=P1", "00201206", {"vr": "IS", "Value": [2]}),
        ("studies?PatientID=P1", "00201208", {"vr": "IS", "Value": [4]}),
        ("studies?PatientID=p1", "00201206", {"vr": "IS", "Value": [1]}),
        ("studies?PatientID=p1", "00201208", {"vr": "IS", "Value": [2]}),
        ("studies?PatientID=P4", "00201206", {"vr": "IS", "Value": [2]}),
        ("studies?PatientID=P4", "00201208", {"vr": "IS"}),
        ("studies/1.2.1/series?Modality=CT", "00201209", {"vr": "IS", "Value": [3]}),
        ("studies/1.2.1/series?Modality=SR", "00201209", {"vr": "IS", "Value": [1]}),
        ("studies/1.2.4/series?Modality=CT", "00201209", {"vr": "IS"}),
        # a study of an unknown patient, without series
        ("studies?AccessionNumber=ACC_3", "00100020", {"vr": "LO"}),
        ("studies?AccessionNumber=ACC_3", "00100010", {"vr": "PN"}),
        ("studies?AccessionNumber=ACC_3", "00100040", {"vr": "CS"}),
        ("studies?AccessionNumber=ACC_3&IssuerOfPatientID=", "00100021", {"vr": "LO"}),
        ("studies?AccessionNumber=ACC_3", "00080061", {"vr": "CS", "Value": []}),
        ("studies?AccessionNumber=ACC_3", "00201206", {"vr": "IS", "Value": [0]}),
        ("studies?PatientID=p1&includefield=StudyDescription", "00081030", {"vr": "LO"}),
        # lower levels
        ("studies/1.2.1/series?Modality=CT", "00200011", {"vr": "IS", "Value": [2]}),
        ("studies/1.2.4/series?Modality=CT", "00200011", {"vr": "IS"}),
        ("studies/1.2.1/series?Modality=SR", "0008103E", {"vr": "LO", "Value": ["Report 50%_done"]}),
        ("series?Modality=SR", "00081190", {"vr": "UR", "Value": [f"{ROOT}/studies/1.2.1/series/1.2.1.2"]}),
        ("series?Modality=SR", "00080061", {"vr": "CS", "Value": ["CT", "SR"]}),
        ("instances?Modality=SR", "00201208", {"vr": "IS", "Value": [4]}),
        (
            "instances?Modality=SR",
            "00081190",
            {"vr": "UR", "Value": [f"{ROOT}/studies/1.2.1/series/1.2.1.2/instances/1.2.1.2.1"]},
        ),
        ("instances?SOPInstanceUID=1.2.1.1.3", "00280011", {"vr": "US", "Value": [256]}),
        ("instances?SOPInstanceUID=1.2.1.1.2", "00200013", {"vr": "IS"}),
        ("instances?SOPInstanceUID=1.2.1.1.2", "00280008", {"vr": "IS", "Value": [7]}),
        ("instances?SOPInstanceUID=1.2.1.1.1&ContentTime=", "00080033", {"vr": "TM", "Value": ["093000"]}),
    ],
)
def test_values_are_those_of_the_images_without_the_oddities_of_the_index(
    archive: FlaskClient, resource: str, tag: str, expected: dict[str, Any]
) -> None:
    (result,) = results(archive, resource)
    assert result[tag] == expected


def test_every_result_is_read_back_by_pydicom(archive: FlaskClient) -> None:
    for result in results(archive, "instances?includefield=all"):
        assert Dataset.from_json(result).StudyInstanceUID == result["0020000D"]["Value"][0]


def test_text_of_a_python_list_is_read_as_values(new_index: Callable[[], str]) -> None:
    """AWS's writer stores several values so."""
    url = new_index()
    whole = Series("1.1.1", {"protocolname": "['HEAD', 'NECK ']", "manufacturer": "['cut off', 'wh"})
    write(url, [Study("1.1", series=(whole,))])
    database = Database(url)
    (result,) = results(client(database), "studies/1.1/series?includefield=all")
    database.close()
    assert result["00181030"] == {"vr": "LO", "Value": ["HEAD", "NECK"]}
    assert result["00080070"] == {"vr": "LO"}


def test_the_pages_of_a_search_are_the_whole_in_its_order(new_tables: Callable[[], str]) -> None:
    """PS3.18 Section 8.3.4.4; many results are alike in all that they are ordered by."""
    url = new_tables()
    same = SAMPLE[0].columns
    studies = [
        Study(f"1.{n}", {}, same, (Series(f"1.{n}.1", {"seriesnumber": "1"}, (image(f"1.{n}.1.1", 1),)),))
        for n in range(1, 24)
    ]
    write(url, studies)
    database = Database(url)
    archive = client(database, max_results=10)
    for resource, tag in (("studies", "0020000D"), ("series", "0020000E"), ("instances", "00080018")):
        pages = [results(archive, f"{resource}?limit=5&offset={offset}") for offset in range(0, 25, 5)]
        uids = [result[tag]["Value"][0] for page in pages for result in page]
        assert len(set(uids)) == len(uids) == 23
        first = archive.get(f"/aetitle/{resource}?limit=100")
        assert [result[tag]["Value"][0] for result in first.get_json(force=True)] == uids[:10]
        assert "13 additional results" in first.headers["Warning"]
    database.close()


def test_a_search_that_takes_too_long_is_503_with_a_hint(sqlite: Sqlite) -> None:
    url = sqlite.new_index()
    write(url, [Study(f"1.{n}", {"patientid": f"P{n}", "patientname": f"Doe^{n}"}) for n in range(150)])
    database = Database(url, statement_timeout_seconds=1e-6)
    response = client(database).get("/aetitle/studies?PatientName=*x*&PatientID=*y*")
    database.close()
    assert (response.status_code, response.content_type) == (503, "application/problem+json")
    assert int(response.headers["Retry-After"]) > 0
    assert "narrow the search" in response.get_json()["detail"]
