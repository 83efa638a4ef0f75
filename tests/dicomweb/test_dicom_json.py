"""Values take the form of the DICOM JSON Model (PS3.18 Annex F) that all clients read."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dicomweb.dicom_json import binary_element, element, encode, encode_array, encode_members, member


@pytest.mark.parametrize(
    ("vr", "values", "expected"),
    [
        ("LO", ["a"], {"vr": "LO", "Value": ["a"]}),
        ("LO", [], {"vr": "LO"}),
        ("LO", ["", None], {"vr": "LO"}),
        ("CS", ["A", "", "B"], {"vr": "CS", "Value": ["A", None, "B"]}),
        ("IS", ["7 "], {"vr": "IS", "Value": [7]}),
        ("IS", ["1.0"], {"vr": "IS", "Value": [1]}),
        ("IS", ["1.5"], {"vr": "IS"}),
        ("IS", ["1", "one", "3"], {"vr": "IS"}),
        ("DS", ["40", "0.50", "1e3"], {"vr": "DS", "Value": [40, 0.5, 1000.0]}),
        ("DS", ["1", "", "3"], {"vr": "DS"}),
        ("DS", [".5", "5.", "+1E-2"], {"vr": "DS", "Value": [0.5, 5.0, 0.01]}),
        ("DS", ["nonsense"], {"vr": "DS"}),
        ("DS", ["1,5"], {"vr": "DS"}),
        ("DS", ["1_0"], {"vr": "DS"}),
        ("DS", ["NaN"], {"vr": "DS"}),
        ("DS", ["1e999"], {"vr": "DS"}),
        ("DS", ["1", "x", "3"], {"vr": "DS"}),
        ("FD", [float("nan")], {"vr": "FD", "Value": ["NaN"]}),
        ("FL", [1.5, float("inf"), float("-inf")], {"vr": "FL", "Value": [1.5, "Infinity", "-Infinity"]}),
        ("FD", ["inf"], {"vr": "FD", "Value": ["Infinity"]}),
        ("SV", [2**60], {"vr": "SV", "Value": [str(2**60)]}),
        ("US", [512], {"vr": "US", "Value": [512]}),
        ("PN", ["Ya^T=山田^太郎="], {"vr": "PN", "Value": [{"Alphabetic": "Ya^T", "Ideographic": "山田^太郎"}]}),
        ("PN", ["=="], {"vr": "PN"}),
    ],
)  # fmt: skip
def test_values_become_an_element(vr: str, values: list[object], expected: object) -> None:
    assert element(vr, values) == expected
    assert json.loads(encode_members([member("00100020", vr, tuple(values))])) == {"00100020": expected}


@given(st.sampled_from(["CS", "DA", "IS", "LO", "PN", "UI", "US"]), st.lists(st.text(max_size=9) | st.integers()))
def test_an_element_is_written_as_it_would_be_encoded(vr: str, values: list[str | int]) -> None:
    assert encode_members([member("00100020", vr, tuple(values))]) == encode({"00100020": element(vr, values)})


def test_members_are_put_in_the_order_of_their_tags() -> None:
    members = [member(tag, "LO", ()) for tag in ("0020000D", "00080005", "00081190")]
    assert [*json.loads(encode_members(members))] == ["00080005", "00081190", "0020000D"]


def test_binary_is_base64_and_empty_binary_has_no_value() -> None:
    assert binary_element("OB", b"\0\1") == {"vr": "OB", "InlineBinary": "AAE="}
    assert binary_element("OB", b"") == {"vr": "OB"}


def test_text_is_utf_8() -> None:
    assert json.loads(encode({"00100020": element("LO", ["é"])})) == {"00100020": {"vr": "LO", "Value": ["é"]}}


@pytest.mark.parametrize("number", [0, 1, 2, 3])
def test_an_array_has_a_piece_for_each_data_set(number: int) -> None:
    data_sets = [{"00100020": element("LO", [str(n)])} for n in range(number)]
    pieces = list(encode_array(map(encode, data_sets)))
    assert len(pieces) == number + 1
    assert json.loads(b"".join(pieces)) == data_sets
