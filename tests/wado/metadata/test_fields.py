"""Subsets of metadata: what is asked for, at any depth, and what always comes."""

from typing import Any

import pytest

from dicomweb.errors import BadRequest
from wado.metadata.fields import Fields

DATA_SET: dict[str, Any] = {
    "00080005": {"vr": "CS", "Value": ["ISO_IR 192"]},
    "00080018": {"vr": "UI", "Value": ["1.4"]},
    "00091001": {"vr": "LO", "Value": ["private"]},
    "00090010": {"vr": "LO", "Value": ["ACME"]},
    "00100010": {"vr": "PN", "Value": [{"Alphabetic": "Doe^Jane"}]},
    "00280010": {"vr": "US", "Value": [512]},
    "00400275": {
        "vr": "SQ",
        "Value": [
            {"00400009": {"vr": "SH", "Value": ["S1"]}, "00401001": {"vr": "SH", "Value": ["R1"]}},
            {},
            {"00401001": {"vr": "SH", "Value": ["R2"]}},
        ],
    },
    "00082112": {"vr": "SQ"},
}
ALWAYS = {"00080005", "00080018"}


def _fields(query: str) -> Fields:
    return Fields.from_parameters(tuple(pair.split("=")) for pair in query.split("&") if pair)  # type: ignore[misc]


@pytest.mark.parametrize(
    ("query", "tags"),
    [
        ("", set(DATA_SET)),
        ("includefield=all", set(DATA_SET)),
        ("includefield=Rows,all", set(DATA_SET)),
        ("includefield=&accept=x", set(DATA_SET)),
        ("includefield=Rows", ALWAYS | {"00280010"}),
        ("includefield=Rows&includefield=PatientName", ALWAYS | {"00280010", "00100010"}),
        ("includefield=00280010, 00100010", ALWAYS | {"00280010", "00100010"}),
        ("includefield=rows,PATIENTNAME", ALWAYS | {"00280010", "00100010"}),
        ("includefield=ALL", set(DATA_SET)),
        ("excludefield=ROWS", set(DATA_SET) - {"00280010"}),
        ("includefield=00091001", ALWAYS | {"00091001", "00090010"}),
        ("includefield=Columns", ALWAYS),
        ("excludefield=Rows,RequestAttributesSequence", set(DATA_SET) - {"00280010", "00400275"}),
        ("excludefield=SOPInstanceUID", set(DATA_SET)),
        ("includefield=Rows,PatientName&excludefield=PatientName", ALWAYS | {"00280010"}),
    ],
)
def test_attributes_are_kept_by_name(query: str, tags: set[str]) -> None:
    kept = _fields(query).of(DATA_SET)
    assert set(kept) == tags
    assert all(kept[tag] == DATA_SET[tag] for tag in tags)


@pytest.mark.parametrize(
    ("query", "items"),
    [
        ("includefield=RequestAttributesSequence", [["00400009", "00401001"], [], ["00401001"]]),
        ("includefield=RequestAttributesSequence.ScheduledProcedureStepID", [["00400009"], [], []]),
        ("includefield=00400275.00401001", [["00401001"], [], ["00401001"]]),
        ("excludefield=RequestAttributesSequence.00401001", [["00400009"], [], []]),
        ("includefield=Rows,00400275.00400009&excludefield=00400275.00400009", [[], [], []]),
    ],
)
def test_paths_reach_into_sequences(query: str, items: list[list[str]]) -> None:
    kept = _fields(query).of(DATA_SET)["00400275"]["Value"]
    assert [list(item) for item in kept] == items


def test_an_empty_sequence_and_a_path_through_what_is_none_stay_as_they_are() -> None:
    kept = _fields("includefield=SourceImageSequence.Rows,Rows.Columns").of(DATA_SET)
    assert kept["00082112"] == {"vr": "SQ"}
    assert kept["00280010"] == DATA_SET["00280010"]


def test_the_data_set_itself_is_not_changed() -> None:
    before = repr(DATA_SET)
    _fields("includefield=00400275.00400009&excludefield=Rows").of(DATA_SET)
    assert repr(DATA_SET) == before


@pytest.mark.parametrize("word", ["Rowz", "0028001", "Rows.", ".Rows", "0028001G"])
@pytest.mark.parametrize("parameter", ["includefield", "excludefield"])
def test_what_names_no_attribute_is_refused(parameter: str, word: str) -> None:
    with pytest.raises(BadRequest, match=parameter):
        _fields(f"{parameter}={word}")


def test_equal_wishes_are_equal() -> None:
    assert _fields("includefield=Rows,00100010") == _fields("includefield=PatientName&includefield=00280010")
    assert _fields("excludefield=").all
