"""Matching on data sets: PS3.4 Section C.2.2.2 where the index has nothing to compare with."""

from typing import Any

import pytest

from qido.image_sets.matching import fulfils
from qido.parse.attributes import Level
from qido.parse.query import parse_query

DATA_SET: dict[str, Any] = {
    "00080008": {"vr": "CS", "Value": ["ORIGINAL", None, "AXIAL"]},
    "00080021": {"vr": "DA", "Value": ["1999.12.31"]},
    "00080031": {"vr": "TM", "Value": ["23:59:59.5"]},
    "0008002A": {"vr": "DT", "Value": ["20240110100000+0100"]},
    "00081070": {"vr": "PN", "Value": [{"Alphabetic": "Doe^Jane^"}, {"Ideographic": "山田^太郎"}]},
    "00081115": {"vr": "SQ", "Value": [{"0020000E": {"vr": "UI", "Value": ["1.2"]}}, {}]},
    "00180050": {"vr": "DS", "Value": [1.25]},
    "00181020": {"vr": "LO", "Value": ["Ärzte 50% [b]"]},
    "00189073": {"vr": "FD", "Value": [5]},
    "00200012": {"vr": "IS", "Value": ["07"]},
    "00201041": {"vr": "DS", "Value": ["no number"]},
    "00280030": {"vr": "DS"},
    "00283010": {"vr": "SQ"},
    "00420011": {"vr": "OB", "BulkDataURI": "/bulk"},
}


@pytest.mark.parametrize(
    ("key", "value", "fits"),
    [
        ("ImageType", "AXIAL", True),
        ("ImageType", "axial", False),
        ("ImageType", "X,ORI*", True),
        ("SeriesDate", "19991231", True),
        ("SeriesDate", "20000101-", False),
        ("SeriesTime", "235959", True),
        ("SeriesTime", "2300-0100", True),
        ("SeriesTime", "-22", False),
        ("AcquisitionDateTime", "20240110090000+0000", True),
        ("AcquisitionDateTime", "20240110100000+0000-", False),
        ("AcquisitionDateTime", "2024011010", True),
        ("OperatorsName", "doe^jane", True),
        ("OperatorsName", "DOE", False),
        ("OperatorsName", "山田*", True),
        ("OperatorsName", "J*", False),
        ("ReferencedSeriesSequence.SeriesInstanceUID", "1.2", True),
        ("ReferencedSeriesSequence.SeriesInstanceUID", "1.3\\1.2", True),
        ("ReferencedSeriesSequence.SeriesInstanceUID", "1.20", False),
        ("ReferencedSeriesSequence.SeriesInstanceUID", '""', True),
        ("VOILUTSequence.LUTExplanation", '""', True),
        ("VOILUTSequence.LUTExplanation", "x", False),
        ("SliceThickness", "+1.250", True),
        ("SliceThickness", "125e-2", True),
        ("SliceThickness", "1.3", False),
        ("SoftwareVersions", "arzte*", True),
        ("SoftwareVersions", "*[B]", True),
        ("SoftwareVersions", "*50_*", False),
        ("AcquisitionDuration", "5.0", True),
        ("AcquisitionNumber", "7", True),
        ("AcquisitionNumber", '""', False),
        ("SliceLocation", "0", False),
        ("PixelSpacing", '""', True),
        ("PixelSpacing", "1", False),
        ("ImageComments", '""', True),
        ("ImageComments", "?*", False),
    ],
)
def test_a_data_set_fulfils_a_key(key: str, value: str, fits: bool) -> None:
    parameters = [(key, value), ("emptyvaluematching", "true")]
    query = parse_query(parameters, Level.INSTANCE, "1.2", max_results=10)
    assert len(query.unindexed_conditions) == 1
    assert fulfils(DATA_SET, query.unindexed_conditions) is fits


@pytest.mark.parametrize("key", ["ReferencedSeriesSequence", "EncapsulatedDocument"])
def test_sequences_and_binary_values_are_not_matched(key: str) -> None:
    query = parse_query([(key, "x")], Level.INSTANCE, "1.2", max_results=10)
    assert query.unindexed_conditions == ()
    assert query.warnings == (f"{key} cannot be matched at this level. It has been ignored.",)


def test_a_date_and_its_time_are_one_instant() -> None:
    """PS3.4 Section C.2.2.2.5: from a morning to the next, although the time is of none of both."""
    parameters = [("SeriesDate", "19991231-20000101"), ("SeriesTime", "10-09")]
    query = parse_query(parameters, Level.INSTANCE, "1.2", max_results=10)
    assert fulfils(DATA_SET, query.unindexed_conditions)
    assert not fulfils({**DATA_SET, "00080031": {"vr": "TM", "Value": ["0930"]}}, query.unindexed_conditions)
    assert not fulfils({}, query.unindexed_conditions)
