from dataclasses import replace

import pytest

from datastore.importing.grouping import Member, NewImageSet, agree, choose, contradict
from datastore.importing.metadata import Levels

ONE = Levels(
    {"PatientID": "P1", "PatientName": "Doe^Jane", "PatientSex": None},
    {"StudyInstanceUID": "1.2", "StudyDate": "20240102", "AccessionNumber": "A1", "StudyID": "S1"},
    {"SeriesInstanceUID": "1.2.3", "SeriesNumber": "2 ", "RequestAttributesSequence": [{"CodeValue": "1"}]},
)

DIFFERENT = [
    pytest.param(replace(ONE, patient={**ONE.patient, "PatientID": "P2"}), id="PatientID"),
    pytest.param(replace(ONE, patient={**ONE.patient, "PatientName": "Doe^John"}), id="PatientName"),
    pytest.param(replace(ONE, patient={**ONE.patient, "PatientSex": "F"}), id="a value where there was none"),
    pytest.param(replace(ONE, patient={"PatientID": "P1", "PatientName": "Doe^Jane"}), id="absent, not empty"),
    pytest.param(replace(ONE, study={**ONE.study, "StudyDate": "20240103"}), id="StudyDate"),
    pytest.param(replace(ONE, study={**ONE.study, "AccessionNumber": "A2"}), id="AccessionNumber"),
    pytest.param(replace(ONE, study={**ONE.study, "StudyID": "S2"}), id="StudyID"),
    pytest.param(replace(ONE, series={**ONE.series, "SeriesNumber": "3 "}), id="SeriesNumber"),
    pytest.param(replace(ONE, series={**ONE.series, "RequestAttributesSequence": [{}]}), id="inside a sequence"),
]


@pytest.mark.parametrize("other", DIFFERENT)
def test_instances_that_differ_in_a_lifted_element_share_no_image_set(other: Levels) -> None:
    assert not agree(ONE, other)
    primary = Member("p", True, ONE)
    assert choose(other, [primary], []) == NewImageSet(is_primary=False)


def test_padding_and_order_are_no_difference() -> None:
    padded = replace(ONE, series={**dict(reversed(ONE.series.items())), "SeriesNumber": "2"})
    assert agree(ONE, padded)


def test_an_instance_joins_the_primary_image_set_before_others() -> None:
    members = [Member("n", False, ONE), Member("p", True, ONE)]
    assert choose(ONE, members, [ONE]) == members[1]


def test_an_instance_joins_the_oldest_other_image_set_that_agrees() -> None:
    other = replace(ONE, patient={"PatientID": "P2"})
    members = [Member("p", True, ONE), Member("n1", False, other), Member("n2", False, other)]
    assert choose(other, members, [ONE]) == members[1]


def test_the_first_of_a_series_makes_a_primary_image_set() -> None:
    assert choose(ONE, [], []) == NewImageSet(is_primary=True)


@pytest.mark.parametrize(
    ("patient", "study", "is_primary"),
    [
        pytest.param({"PatientID": "P1"}, {"StudyDate": "20240102"}, True, id="the same"),
        pytest.param({"PatientID": "P1", "PatientSex": "F"}, {}, True, id="says more and says less"),
        pytest.param({"PatientID": "P1", "PatientName": None}, {}, True, id="an empty value"),
        pytest.param({"PatientID": "P2"}, {}, False, id="another patient"),
        pytest.param({}, {"StudyDate": "20240103"}, False, id="another study date"),
    ],
)
def test_a_series_that_contradicts_its_study_gets_no_primary_image_set(
    patient: dict[str, str], study: dict[str, str], is_primary: bool
) -> None:
    levels = Levels(patient, study, {"SeriesInstanceUID": "1.2.4"})
    assert contradict(levels, ONE) is not is_primary
    assert choose(levels, [], [ONE]) == NewImageSet(is_primary=is_primary)
