"""Parts of data sets by paths."""

import pytest

from dicomweb.attribute_paths import Path, private_tag, select
from dicomweb.dicom_json import DataSet

STEP, PROCEDURE, REQUESTS, AGE = "00400009", "00401001", "00400275", "00101010"
ITEMS = [{STEP: {"vr": "SH", "Value": ["S1"]}, PROCEDURE: {"vr": "SH", "Value": ["P1"]}}, {PROCEDURE: {"vr": "SH"}}]
DATA_SET: DataSet = {AGE: {"vr": "AS", "Value": ["050Y"]}, REQUESTS: {"vr": "SQ", "Value": ITEMS}}
STEPS_ONLY = {"vr": "SQ", "Value": [{STEP: ITEMS[0][STEP]}, {}]}


@pytest.mark.parametrize(
    ("paths", "expected"),
    [
        ([(AGE,)], {AGE: DATA_SET[AGE]}),
        ([(REQUESTS,), (AGE,)], DATA_SET),
        ([(REQUESTS, STEP)], {REQUESTS: STEPS_ONLY}),
        ([(REQUESTS, STEP), (REQUESTS, PROCEDURE)], {REQUESTS: DATA_SET[REQUESTS]}),
        ([(REQUESTS,), (REQUESTS, STEP)], {REQUESTS: DATA_SET[REQUESTS]}),
        ([("00100010",), (AGE, STEP)], {AGE: {"vr": "AS", "Value": []}}),
        ([], {}),
    ],
)
def test_paths_select_what_they_lead_to(paths: list[Path], expected: DataSet) -> None:
    assert select(DATA_SET, paths) == expected


@pytest.mark.parametrize(
    ("creator", "found"), [("ACME", "00191101"), ("OTHER", "00191001"), ("NOBODY", None)]
)  # fmt: skip
def test_a_private_element_is_found_in_the_block_of_its_creator(creator: str, found: str | None) -> None:
    """PS3.5 Section 7.8.1."""
    data_set = {"00190010": {"vr": "LO", "Value": ["OTHER"]}, "00190011": {"vr": "LO", "Value": ["ACME"]}}
    assert private_tag(data_set, "00191001", creator) == found
