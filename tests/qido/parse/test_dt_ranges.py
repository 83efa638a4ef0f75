"""Values and ranges of VR DT (PS3.5 Section 6.2)."""

from datetime import datetime, timedelta, timezone

import pytest

from dicomweb.errors import BadRequest
from qido.parse.conditions import parse_matches
from qido.parse.dt_ranges import compare_as, parse_dt_range
from qido.parse.unindexed import UnindexedAttribute

CET = timezone(timedelta(hours=1))
EST = timezone(timedelta(hours=-5))


@pytest.mark.parametrize(
    ("text", "first", "last"),
    [
        ("2023", datetime(2023, 1, 1), datetime(2023, 12, 31, 23, 59, 59, 999999)),
        ("202402", datetime(2024, 2, 1), datetime(2024, 2, 29, 23, 59, 59, 999999)),
        ("20240131", datetime(2024, 1, 31), datetime(2024, 1, 31, 23, 59, 59, 999999)),
        ("2024013110", datetime(2024, 1, 31, 10), datetime(2024, 1, 31, 10, 59, 59, 999999)),
        ("20240131101260", datetime(2024, 1, 31, 10, 12, 59), datetime(2024, 1, 31, 10, 12, 59, 999999)),
        ("20240131101112.5", datetime(2024, 1, 31, 10, 11, 12, 500000), datetime(2024, 1, 31, 10, 11, 12, 599999)),
        ("2024013110+0100", datetime(2024, 1, 31, 10, tzinfo=CET), datetime(2024, 1, 31, 10, 59, 59, 999999, CET)),
        ("20240101-", datetime(2024, 1, 1), None),
        ("-20240101", None, datetime(2024, 1, 1, 23, 59, 59, 999999)),
        ("2023-2024", datetime(2023, 1, 1), datetime(2024, 12, 31, 23, 59, 59, 999999)),
        ("2024-0500", datetime(2024, 1, 1, tzinfo=EST), datetime(2024, 12, 31, 23, 59, 59, 999999, EST)),
        ("2024-0500-", datetime(2024, 1, 1, tzinfo=EST), None),
    ],
)
def test_a_text_becomes_the_ends_of_a_range(text: str, first: datetime | None, last: datetime | None) -> None:
    assert parse_dt_range(text) == (first, last)


@pytest.mark.parametrize(
    "text", ["-", "24", "202413", "20240230", "2024013125", "0000", "20240101T10", "2024-13-01", "20240101-x"]
)
def test_what_is_no_date_and_time_is_refused(text: str) -> None:
    with pytest.raises(BadRequest, match="AcquisitionDateTime is not a date and time"):
        parse_matches(UnindexedAttribute(("0008002A",)), text)


def test_time_zones_count_where_both_are_known() -> None:
    ten, nine = datetime(2024, 1, 1, 10, tzinfo=CET), datetime(2024, 1, 1, 9, tzinfo=timezone.utc)
    assert compare_as(ten, nine) == nine
    assert compare_as(datetime(2024, 1, 1, 9), nine) == nine
    assert compare_as(ten, datetime(2024, 1, 1, 10)) == datetime(2024, 1, 1, 10)
