"""Parser for values and ranges of VR DT (PS3.5 Section 6.2, PS3.4 Section C.2.2.2.5)."""

import re
from calendar import monthrange
from datetime import datetime, timedelta, timezone

_PARTS = r"[0-9]{4}(?:[0-9]{2}){0,4}|[0-9]{14}(?:\.[0-9]{1,6})?"
_ZONE = r"[+-](?:0[0-9]|1[0-4])[0-5][0-9]"
_VALUE = re.compile(rf"({_PARTS})({_ZONE})?\Z")
_RANGE = re.compile(rf"((?:{_PARTS})(?:{_ZONE})?)?\s*-\s*((?:{_PARTS})(?:{_ZONE})?)?\Z")


def parse_dt_range(text: str) -> tuple[datetime | None, datetime | None]:
    """Parse a range, or one value as the range of its precision. An open end is None; ValueError if it is ill-formed.

    Digits that can be the offset of a time zone are one: `2024-0500` is a year in a time zone, not a range of years.
    """
    if _VALUE.match(text):
        return parse_dt(text), parse_dt(text, last=True)
    ends = _RANGE.match(text)
    if not ends or not any(ends.groups()):
        raise ValueError("not a date and time")
    first, last = ends.groups()
    return parse_dt(first) if first else None, parse_dt(last, last=True) if last else None


def parse_dt(text: str, *, last: bool = False) -> datetime:
    """Parse a value as the first or `last` instant of its precision; ValueError if it is ill-formed."""
    found = _VALUE.match(text)
    if not found:
        raise ValueError("not a date and time")
    digits, _, fraction = found[1].partition(".")
    year, month = int(digits[:4]), int(digits[4:6] or ("12" if last else "1"))
    day = int(digits[6:8]) if len(digits) > 6 else _last_day(year, month) if last else 1
    hour, minute, second = (
        int(digits[at : at + 2] or (full if last else "0")) for at, full in ((8, "23"), (10, "59"), (12, "59"))
    )
    microsecond = int(fraction.ljust(6, "9" if last else "0"))
    return datetime(year, month, day, hour, minute, min(second, 59), microsecond, _time_zone(found[2]))


def compare_as(value: datetime, end: datetime) -> datetime:
    """Make `value` comparable with `end`. If only one of them has a time zone, their clock times are compared."""
    if (value.tzinfo is None) == (end.tzinfo is None):
        return value
    return value.replace(tzinfo=end.tzinfo)


def _last_day(year: int, month: int) -> int:
    if not 1 <= month <= 12 or year < 1:
        raise ValueError("not a month")
    return monthrange(year, month)[1]


def _time_zone(text: str | None) -> timezone | None:
    if text is None:
        return None
    offset = timedelta(hours=int(text[1:3]), minutes=int(text[3:]))
    return timezone(-offset if text[0] == "-" else offset)
