"""The conversion of values of image-set metadata for columns of the metadata index.

A table maps the type of a column to a function that does what the index writer of the AWS sample project
`metadata-index` was observed to do.
"""

from collections.abc import Callable, Mapping
from datetime import date, datetime, time
from typing import Any

from sqlalchemy import Column, Date, DateTime, Integer, String, Text, Time
from sqlalchemy.types import TypeEngine

from db.schema import held_uids

_UIDS = frozenset({"studyinstanceuid", "seriesinstanceuid", "sopinstanceuid"})
_LARGEST_TEXT = 16_000  # characters: a MySQL `text` holds 65,535 bytes
_INTEGERS = range(-(2**31), 2**31)


def convert(column: Column[Any], value: Any) -> Any:
    """The value for the column, cut to its length; None if the column cannot hold it."""
    converted = _BY_TYPE[type(column.type)](value)
    return cut(column, converted) if isinstance(converted, str) else converted


def cut(column: Column[Any], text: str) -> str:
    """A text cut to the length of the column, without NUL and lone surrogates, which no database takes.

    A UID that is cut is marked as such.
    """
    length = getattr(column.type, "length", None) or _LARGEST_TEXT
    plain = text.replace("\0", "").encode("utf-8", "replace").decode()
    return held_uids(plain)[0] if column.name in _UIDS else plain[:length]


def _int(value: Any) -> int | None:
    try:
        number = int(value)
    except (TypeError, ValueError, OverflowError):
        return None
    return number if number in _INTEGERS else None


def _date(value: Any) -> date | None:
    """YYYYMMDD as `strptime` reads it, which takes shorter dates too: 202312 is 2023-01-02."""
    try:
        return datetime.strptime(value, "%Y%m%d").date()
    except (TypeError, ValueError):
        return None


def _time(value: Any) -> time | None:
    """HHMMSS without a fraction as `strptime` reads it, which takes shorter times too: 0835 is 08:03:05."""
    try:
        return datetime.strptime(value, "%H%M%S").time()
    except (TypeError, ValueError):
        return None


def _never(_value: Any) -> None:
    return None


_BY_TYPE: Mapping[type[TypeEngine[Any]], Callable[[Any], Any]] = {
    String: str,
    Text: str,
    Integer: _int,
    Date: _date,
    Time: _time,
    DateTime: _never,
}
