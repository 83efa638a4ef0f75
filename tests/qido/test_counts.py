"""Patients, and how many results there are: common extensions of PS3.18 Section 10.6."""

from collections.abc import Callable
from typing import Any

import pytest
from flask.testing import FlaskClient

from db.engine import Database
from tests.qido.archive import SAMPLE, Series, Study, client, image, write

PATIENT = {
    *("00080005", "00100010", "00100020", "00100021", "00100030", "00100040"),
    *("00201200", "00201202", "00201204"),
}
COUNTS = {"studies": "00201200", "series": "00201202", "instances": "00201204"}


def results(archive: FlaskClient, resource: str) -> list[dict[str, Any]]:
    response = archive.get(f"/aetitle/{resource}")
    assert response.status_code == 200, response.get_data(as_text=True)
    answer: list[dict[str, Any]] = response.get_json(force=True)
    return answer


def values(answer: list[dict[str, Any]], tag: str) -> list[Any]:
    return [result[tag].get("Value", [None])[0] for result in answer]


def test_patients_come_with_the_attributes_of_their_level(archive: FlaskClient) -> None:
    answer = results(archive, "patients")
    assert all(set(result) == PATIENT for result in answer)
    assert values(answer, "00100020") == ["P5", "P4", None, "p1", "P1"]
    assert values(answer, "00100021") == [None, "HOSPITAL", None, "WARD", None]


@pytest.mark.parametrize(
    ("parameters", "ids"),
    [
        ("PatientID=P1", ["P1"]),
        ("PatientName=doe*", ["p1", "P1"]),
        ("PatientBirthDate=19700101-19701231", ["P1"]),
        ("IssuerOfPatientID=WARD", ["p1"]),
        ("limit=2&offset=1", ["P4", None]),
        ('emptyvaluematching=true&PatientID=""', [None]),
    ],
)
def test_patients_are_matched_by_their_attributes(archive: FlaskClient, parameters: str, ids: list[str | None]) -> None:
    assert values(results(archive, f"patients?{parameters}"), "00100020") == ids


@pytest.mark.parametrize(
    ("patient", "studies", "series", "instances"),
    [("P1", 1, 2, 4), ("p1", 1, 1, 2), ("P4", 1, 2, None), ("P5", 1, 1, 1)],
)
def test_what_belongs_to_a_patient_is_counted(
    archive: FlaskClient, patient: str, studies: int, series: int, instances: int | None
) -> None:
    """PS3.4 Table C.6-5; of a study whose instances the index does not know, the number is unknown and not 0."""
    (result,) = results(archive, f"patients?PatientID={patient}")
    assert [result[tag].get("Value") for tag in COUNTS.values()] == [
        [number] if number is not None else None for number in (studies, series, instances)
    ]


def test_the_studies_of_a_patient_are_counted_together(new_index: Callable[[], str]) -> None:
    """AWS's tables may have counts without the instances."""
    url = new_index()
    patient = {"patientid": "P", "patientname": "A"}
    counted = {"numberofstudyrelatedseries": 9, "numberofstudyrelatedinstances": 5}
    series = tuple(Series(f"1.1.{n}", {}, (image(f"1.1.{n}.1", 1),)) for n in (1, 2))
    write(url, [Study("1.1", patient, {}, series), Study("1.2", patient, counted, (Series("1.2.1"),))])
    database = Database(url)
    (of_patient,) = results(client(database), "patients")
    of_studies = results(client(database), "studies?includefield=" + ",".join(COUNTS.values()))
    database.close()
    for result in (of_patient, *of_studies):
        assert [result[tag]["Value"] for tag in COUNTS.values()] == [[2], [3], [7]]


def test_a_study_says_nothing_of_its_patient_s_other_studies_unless_asked(archive: FlaskClient) -> None:
    assert all(not set(COUNTS.values()) & set(result) for result in results(archive, "studies"))


@pytest.mark.parametrize(
    ("resource", "number"),
    [
        ("patients/count", 5),
        ("patients/count?PatientName=doe*", 2),
        ("studies/count", 5),
        ("studies/count?limit=1&offset=4", 5),
        ("studies/count?ModalitiesInStudy=CT", 2),
        ("studies/count?PatientID=P9", 0),
        ("series/count", 6),
        ("series/count?PatientID=P1", 2),
        ("instances/count?Modality=CT", 3),
        ("studies/1.2.1/series/count", 2),
        ("studies/1.2.3/series/count", 0),
        ("studies/1.2.1/instances/count", 4),
        ("studies/1.2.1/series/1.2.1.1/instances/count", 3),
        ("studies/1.2.1/series/1.2.1.1/instances/count?InstanceNumber=10", 1),
    ],
)
def test_a_count_is_that_of_all_results(archive: FlaskClient, resource: str, number: int) -> None:
    response = archive.get(f"/aetitle/{resource}")
    assert (response.status_code, response.content_type) == (200, "application/json")
    assert response.get_json() == {"count": number}


@pytest.mark.parametrize(
    ("resource", "status"),
    [
        ("studies/1.9/series/count", 404),
        ("studies/1.2.1/series/1.2.2.1/instances/count", 404),
        ("studies/1.2.x/series/count", 400),
        ("studies/count?StudyDate=x", 400),
    ],
)
def test_a_count_fails_as_its_search_does(archive: FlaskClient, resource: str, status: int) -> None:
    assert archive.get(f"/aetitle/{resource}").status_code == status
    assert archive.get(f"/aetitle/{resource.replace('/count', '')}").status_code == status


def test_a_count_warns_as_its_search_does(archive: FlaskClient) -> None:
    assert (
        "SliceThickness cannot be matched" in archive.get("/aetitle/studies/count?SliceThickness=1").headers["Warning"]
    )


@pytest.mark.parametrize(
    ("parameters", "total"),
    [("count=true&limit=2", "5"), ("count=true&offset=9", "5"), ("count=true&PatientID=P9", "0"), ("limit=2", None)],
)
def test_the_number_of_all_results_comes_with_a_page_that_asks_for_it(
    archive: FlaskClient, parameters: str, total: str | None
) -> None:
    assert archive.get(f"/aetitle/studies?{parameters}").headers.get("X-Total-Count") == total


def study_numbers(archive: FlaskClient, parameters: str) -> str:
    return " ".join(uid.rpartition(".")[2] for uid in values(results(archive, f"studies?{parameters}"), "0020000D"))


@pytest.mark.parametrize(
    ("orderby", "studies"),
    [
        ("", "2 4 1 5 3"),
        ("StudyDate", "5 4 1 2 3"),
        ("-StudyDate", "2 4 1 5 3"),
        ("StudyDate,StudyTime", "5 1 4 2 3"),
        ("StudyDate, -00080030", "5 4 1 2 3"),
        ("StudyTime", "1 4 5 2 3"),
        ("-studytime", "5 4 1 2 3"),
        ("PatientName", "2 1 5 4 3"),
        ("-PatientName", "4 5 1 2 3"),
        ("PatientID", "1 4 5 2 3"),
        ("AccessionNumber", "1 2 4 3 5"),
        ("-StudyInstanceUID", "5 4 3 2 1"),
        ("PatientSex,-PatientBirthDate", "2 1 4 5 3"),
    ],
)
def test_results_are_ordered_by_what_is_asked_and_then_as_always(
    archive: FlaskClient, orderby: str, studies: str
) -> None:
    """The unknown comes last, whether up or down."""
    assert study_numbers(archive, f"orderby={orderby}") == studies


@pytest.mark.parametrize(
    ("resource", "tag", "expected"),
    [
        ("series?orderby=-SeriesNumber&PatientID=P1", "0020000E", ["1.2.1.2", "1.2.1.1"]),
        ("studies/1.2.1/series?orderby=Modality", "0020000E", ["1.2.1.1", "1.2.1.2"]),
        (
            "studies/1.2.1/series/1.2.1.1/instances?orderby=-InstanceNumber",
            "00080018",
            ["1.2.1.1.3", "1.2.1.1.1", "1.2.1.1.2"],
        ),
        ("instances?orderby=Columns&limit=2", "00080018", ["1.2.1.1.3", "1.2.1.1.1"]),
        ("patients?orderby=PatientID", "00100020", ["P1", "P4", "P5", "p1", None]),
    ],
)
def test_every_level_can_be_ordered(archive: FlaskClient, resource: str, tag: str, expected: list[Any]) -> None:
    assert values(results(archive, resource), tag) == expected


@pytest.mark.parametrize(
    "orderby",
    ["Unheard", "SliceThickness", "Modality", "ModalitiesInStudy", "NumberOfStudyRelatedSeries", "-", "--StudyDate",
     "00400275.00400009", "StudyDate,Rows"],
)  # fmt: skip
def test_what_cannot_be_ordered_by_is_an_error(archive: FlaskClient, orderby: str) -> None:
    response = archive.get(f"/aetitle/studies?orderby={orderby}")
    assert response.status_code == 400
    assert "orderby" in response.get_json()["detail"]


@pytest.mark.parametrize("orderby", ["StudyDate", "-PatientName", "AccessionNumber"])
def test_pages_in_an_order_asked_for_are_the_whole(archive: FlaskClient, orderby: str) -> None:
    pages = [study_numbers(archive, f"orderby={orderby}&limit=1&offset={offset}") for offset in range(len(SAMPLE))]
    assert " ".join(pages) == study_numbers(archive, f"orderby={orderby}")
