"""Values of image sets as the rows of the index have them: exact, whole where they fit, and folded beside."""

from collections.abc import Mapping
from datetime import date, time
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from db.comparison import fold, fold_name
from db.index_schema import NAME_CHARACTERS, TEXT_CHARACTERS, UID_CHARACTERS, held_uid
from index.writing.values import Attributes, ImageSetRows
from tests.index.writing.made import metadata


def rows(**levels: Any) -> ImageSetRows:
    """The rows of an image set with these elements."""
    return ImageSetRows.from_metadata(metadata("a" * 32, **levels))


def of_instance(elements: Mapping[str, Any]) -> Mapping[str, Any]:
    """The row of an instance with these elements."""
    return rows(instances={"1": elements}).instances["1"]


@pytest.mark.parametrize(
    ("element", "value", "held"),
    [
        pytest.param("StudyDate", "20240131", date(2024, 1, 31), id="date"),
        pytest.param("StudyDate", "2024.01.31", date(2024, 1, 31), id="date of ACR-NEMA"),
        pytest.param("StudyDate", "20240230", None, id="no date"),
        pytest.param("StudyDate", 20240131, date(2024, 1, 31), id="date that is a number"),
        pytest.param("StudyTime", "101112.123456", time(10, 11, 12, 123456), id="time with a fraction"),
        pytest.param("StudyTime", "101112.25", time(10, 11, 12, 250000), id="time with a short fraction"),
        pytest.param("StudyTime", "10", time(10), id="time of an hour"),
        pytest.param("StudyTime", "235960", time(23, 59, 59), id="leap second"),
        pytest.param("StudyTime", "25", None, id="no time"),
        pytest.param("StudyID", " S1 ", "S1", id="padding"),
        pytest.param("StudyID", "None", "None", id="text of AWS's writer"),
        pytest.param("StudyID", "", None, id="empty"),
        pytest.param("StudyID", " ", None, id="blank"),
        pytest.param("StudyID", ["a ", None, "b"], "a\\\\b", id="several values"),
        pytest.param("StudyID", [None], None, id="no value"),
        pytest.param("StudyID", {"a": 1}, None, id="an object"),
        pytest.param("AccessionNumber", "A" * TEXT_CHARACTERS, "A" * TEXT_CHARACTERS, id="as long as the column"),
    ],
)
def test_a_value_of_a_study(element: str, value: Any, held: Any) -> None:
    found = rows(study={element: value})
    assert found.study[element.lower()] == held
    assert not found.lossy


@pytest.mark.parametrize(
    ("value", "held"),
    [
        pytest.param("7", 7, id="text"),
        pytest.param("+7 ", 7, id="sign and padding"),
        pytest.param("7.0", 7, id="decimal text"),
        pytest.param("7.5", None, id="no integer"),
        pytest.param(7.0, 7, id="float"),
        pytest.param(["7", "8"], 7, id="the first"),
        pytest.param([], None, id="none"),
        pytest.param("seven", None, id="no number"),
        pytest.param("1_0", None, id="an underscore"),
        pytest.param(float("nan"), None, id="not a number"),
        pytest.param(-(2**31), -(2**31), id="the least"),
        pytest.param("2147483647", 2**31 - 1, id="the greatest"),
    ],
)
def test_a_number_of_an_instance(value: Any, held: int | None) -> None:
    assert of_instance({"InstanceNumber": value})["instancenumber"] == held


@pytest.mark.parametrize("value", [2**31, "99999999999", 1e300, float("inf")])
def test_a_number_beyond_its_column_is_unknown_and_noted(value: Any) -> None:
    found = rows(instances={"1": {"InstanceNumber": value}})
    assert found.instances["1"]["instancenumber"] is None
    assert found.lossy == (value != float("inf"))


@pytest.mark.parametrize("element", ["PatientName", "ReferringPhysicianName"])
def test_all_groups_of_a_name_are_folded(element: str) -> None:
    name = "Döring^Jörg^^=山田^太郎=やまだ^たろう"
    found = rows(patient={element: name}, study={element: name})
    row = {**found.patient, **found.study}
    assert row[element.lower()] == name
    assert row[f"{element.lower()}_folded"] == fold_name(name) == "=doring^jorg=山田^太郎=やまだ^たろう="


def test_a_description_is_folded_beside_the_exact_one() -> None:
    found = rows(series={"SeriesDescription": "Schädel ÇA"}).series
    assert (found["seriesdescription"], found["seriesdescription_folded"]) == ("Schädel ÇA", "schadel ca")


@pytest.mark.parametrize(
    ("level", "element", "characters"),
    [("patient", "PatientName", NAME_CHARACTERS), ("study", "StudyDescription", TEXT_CHARACTERS),
     ("series", "Modality", TEXT_CHARACTERS), ("patient", "PatientID", TEXT_CHARACTERS)],
)  # fmt: skip
def test_what_is_longer_than_its_column_is_cut_and_noted(level: str, element: str, characters: int) -> None:
    found = rows(**{level: {element: "x" * (characters + 1)}})
    assert getattr(found, level)[element.lower()] == "x" * characters
    assert found.lossy


def test_long_ids_that_are_cut_alike_are_of_two_patients() -> None:
    first, second = (rows(patient={"PatientID": "x" * TEXT_CHARACTERS + end}) for end in "ab")
    assert first.patient["patientid"] == second.patient["patientid"]
    assert first.patient_identity != second.patient_identity


def test_uids_beyond_their_column_stay_apart() -> None:
    first, second = (held_uid("1." * UID_CHARACTERS + end) for end in "12")
    assert first != second and len(first) == len(second) == UID_CHARACTERS
    assert held_uid("1" * UID_CHARACTERS) == "1" * UID_CHARACTERS


@pytest.mark.parametrize(
    ("patient", "study_uid", "alike"),
    [
        pytest.param({"PatientID": "P1"}, "9", True, id="another study"),
        pytest.param({"PatientID": "P1 ", "IssuerOfPatientID": None}, "1", True, id="padding"),
        pytest.param({"PatientID": "p1"}, "1", False, id="case"),
        pytest.param({"PatientID": "P1", "IssuerOfPatientID": "H"}, "1", False, id="issuer"),
        pytest.param({}, "1", False, id="no ID"),
    ],
)
def test_a_patient_is_known_by_id_and_issuer(patient: Mapping[str, Any], study_uid: str, alike: bool) -> None:
    usual = rows(patient={"PatientID": "P1"}, study_uid="1").patient_identity
    assert (rows(patient=patient, study_uid=study_uid).patient_identity == usual) == alike


def test_a_patient_without_id_is_known_by_the_study() -> None:
    first, again, other = (rows(patient={}, study_uid=uid).patient_identity for uid in ("1", "1", "2"))
    assert first == again != other


def test_elements_may_be_named_by_their_tag() -> None:
    assert rows(study={"00080050": "A1"}).study["accessionnumber"] == "A1"


def test_upper_levels_win_over_instances() -> None:
    found = rows(series={"ContentDate": "20240101"}, instances={"1": {"ContentDate": "20240202"}})
    assert found.instances["1"]["contentdate"] == date(2024, 1, 1)


@pytest.mark.parametrize("text", ["a\0b", "a\ud800b"])
def test_characters_that_no_database_takes_are_replaced_and_noted(text: str) -> None:
    found = rows(study={"StudyDescription": text})
    assert found.study["studydescription"] in ("ab", "a?b")
    assert found.lossy


@pytest.mark.parametrize(
    "document",
    [
        pytest.param({}, id="nothing"),
        pytest.param({"Study": None}, id="no study"),
        pytest.param({"Study": {"DICOM": {}, "Series": {"1": {}}}}, id="no Study Instance UID"),
        pytest.param({"Study": {"DICOM": {"StudyInstanceUID": ""}, "Series": {"1": {}}}}, id="an empty one"),
        pytest.param({"Study": {"DICOM": {"StudyInstanceUID": "1"}, "Series": {}}}, id="no series"),
        pytest.param({"Study": {"DICOM": {"StudyInstanceUID": "1"}, "Series": {"1": {}, "2": {}}}}, id="two series"),
        pytest.param({"Study": {"DICOM": {"StudyInstanceUID": "1"}, "Series": {"1": {"Instances": [1]}}}}, id="a list"),
        pytest.param({"Study": {"DICOM": {"StudyInstanceUID": "1"}, "Series": {"1": {"Instances": {"1": 5}}}}}, id="5"),
        pytest.param({"Patient": [], "Study": []}, id="lists"),
    ],
)
def test_what_is_no_metadata_is_refused(document: Mapping[str, Any]) -> None:
    with pytest.raises(ValueError, match="metadata"):
        ImageSetRows.from_metadata(document)


_json = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(st.characters()),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3),
    max_leaves=6,
)
_KEYWORDS = ("PatientID", "PatientName", "PatientComments", "StudyDate", "StudyTime", "StudyID", "Modality", "Rows",
             "InstanceNumber", "ContentDescription", "SOPClassUID", "ContentTime")  # fmt: skip


@given(elements=st.dictionaries(st.sampled_from(_KEYWORDS), _json))
def test_any_value_has_a_row_that_the_ledger_can_restore(elements: Mapping[str, Any]) -> None:
    found = rows(patient=elements, study=elements, series=elements, instances={"1": elements})
    assert Attributes.from_json(found.attributes.to_json()) == found.attributes
    for row in (found.patient, found.study, found.series, found.instances["1"]):
        for name, value in row.items():
            folded = row.get(f"{name}_folded")
            if folded is not None and not found.lossy:
                assert folded == (fold_name(value) if name.endswith("name") and name != "stationname" else fold(value))
