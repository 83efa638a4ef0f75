"""The conversion of values of image-set metadata for columns of the metadata index.

Two tables map the type of a column to a function. `QUIRKY` does what the index writer of the AWS sample project
`metadata-index` was observed to do; `CLEAN` converts values as DICOM means them.
"""

import re
from collections.abc import Callable, Mapping
from datetime import date, datetime, time
from typing import Any

from sqlalchemy import Column, Date, DateTime, Integer, String, Text, Time
from sqlalchemy.types import TypeEngine

from db.schema import held_uids

_UIDS = frozenset({"studyinstanceuid", "seriesinstanceuid", "sopinstanceuid"})
_LARGEST_TEXT = 16_000  # characters: a MySQL `text` holds 65,535 bytes
_INTEGERS = range(-(2**31), 2**31)
_DATE = re.compile(r"(\d{4})\.?(\d\d)\.?(\d\d)", re.ASCII)  # with dots: ACR-NEMA
_TIME = re.compile(r"(\d\d):?(\d\d)?:?(\d\d)?(?:\.(\d{1,6})\d*)?", re.ASCII)  # with colons: ACR-NEMA


def convert(column: Column[Any], value: Any, *, quirks: bool) -> Any:
    """The value for the column, cut to its length; None if the column cannot hold it."""
    rules = QUIRKY if quirks else CLEAN
    converted = rules[type(column.type)](value)
    return cut(column, converted) if isinstance(converted, str) else converted


def cut(column: Column[Any], text: str) -> str:
    """A text cut to the length of the column, without NUL and lone surrogates, which no database takes.

    A UID that is cut is marked as such.
    """
    length = getattr(column.type, "length", None) or _LARGEST_TEXT
    plain = text.replace("\0", "").encode("utf-8", "replace").decode()
    return held_uids(plain)[0] if column.name in _UIDS else plain[:length]


def _quirky_int(value: Any) -> int | None:
    try:
        number = int(value)
    except (TypeError, ValueError, OverflowError):
        return None
    return number if number in _INTEGERS else None


def _quirky_date(value: Any) -> date | None:
    """YYYYMMDD as `strptime` reads it, which takes shorter dates too: 202312 is 2023-01-02."""
    try:
        return datetime.strptime(value, "%Y%m%d").date()
    except (TypeError, ValueError):
        return None


def _quirky_time(value: Any) -> time | None:
    """HHMMSS without a fraction as `strptime` reads it, which takes shorter times too: 0835 is 08:03:05."""
    try:
        return datetime.strptime(value, "%H%M%S").time()
    except (TypeError, ValueError):
        return None


def _never(_value: Any) -> None:
    return None


def _clean_text(value: Any) -> str | None:
    values = value if isinstance(value, list) else [value]
    text = "\\".join("" if each is None else str(each).strip() for each in values)
    return text or None


def _clean_int(value: Any) -> int | None:
    first = value[0] if isinstance(value, list) and value else value
    return _quirky_int(first)


def _clean_date(value: Any) -> date | None:
    match = _DATE.fullmatch(value.strip()) if isinstance(value, str) else None
    try:
        return date(*map(int, match.groups())) if match else None
    except ValueError:
        return None


def _clean_time(value: Any) -> time | None:
    match = _TIME.fullmatch(value.strip()) if isinstance(value, str) else None
    if not match:
        return None
    hour, minute, second, fraction = match.groups(default="0")
    try:
        return time(int(hour), int(minute), min(int(second), 59), int(fraction.ljust(6, "0")))  # 60: a leap second
    except ValueError:
        return None


QUIRKY: Mapping[type[TypeEngine[Any]], Callable[[Any], Any]] = {
    String: str,
    Text: str,
    Integer: _quirky_int,
    Date: _quirky_date,
    Time: _quirky_time,
    DateTime: _never,
}
CLEAN: Mapping[type[TypeEngine[Any]], Callable[[Any], Any]] = {
    String: _clean_text,
    Text: _clean_text,
    Integer: _clean_int,
    Date: _clean_date,
    Time: _clean_time,
    DateTime: _never,
}
