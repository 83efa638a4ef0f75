"""A row as one JSON column.

For a small result, a driver in Python spends more time on columns with names and types than the database on the search.
It just hands over a text.
"""

import json
from collections.abc import Callable, Sequence
from datetime import date, datetime, time
from typing import Any

from sqlalchemy import Date, DateTime, Dialect, Text, Time, TypeDecorator
from sqlalchemy.ext.compiler import compiles
from sqlalchemy.sql import ColumnElement
from sqlalchemy.sql.compiler import SQLCompiler
from sqlalchemy.sql.functions import FunctionElement

_Reader = Callable[[str], Any]


def json_row(columns: Sequence[ColumnElement[Any]]) -> ColumnElement[list[Any]]:
    """The values of `columns`, which must be fewer than 100, as a list."""
    return _JsonRow(columns)


class _Values(TypeDecorator[list[Any]]):
    """A JSON array. `readers` parse its members that are dates or times, by position."""

    impl = Text
    cache_ok = True

    def __init__(self, readers: tuple[tuple[int, _Reader], ...]) -> None:
        super().__init__()
        self.readers = readers

    def process_result_value(self, value: str | None, dialect: Dialect) -> list[Any]:
        values: list[Any] = json.loads(value or "[]", strict=False)
        for at, read in self.readers:
            if values[at] is not None:
                values[at] = read(values[at])
        return values


class _JsonRow(FunctionElement[list[Any]]):
    inherit_cache = True
    name = "json_row"

    def __init__(self, columns: Sequence[ColumnElement[Any]]) -> None:
        super().__init__(*columns)
        self.type = _Values(
            tuple((at, read) for at, one in enumerate(columns) for kind, read in _READERS if isinstance(one.type, kind))
        )


def _date(text: str) -> date | None:
    """Parse a date; None for an impossible one: MySQL may hold 0000-00-00."""
    try:
        return date.fromisoformat(text[:10])
    except ValueError:
        return None


def _time(text: str) -> time | None:
    """Parse a time with any number of fractional digits; None if it is no time of day."""
    clock, _, fraction = text.partition(".")
    try:
        hour, minute, second = clock.split(":")
        return time(int(hour), int(minute), int(second), int(fraction[:6].ljust(6, "0")))
    except ValueError:
        return None


def _datetime(text: str) -> datetime | None:
    day, clock = _date(text), _time(text[11:])
    return datetime.combine(day, clock) if day and clock else None


_READERS: tuple[tuple[type, _Reader], ...] = ((Date, _date), (Time, _time), (DateTime, _datetime))


def _array(function: str, element: _JsonRow, compiler: SQLCompiler, **options: Any) -> str:
    return f"{function}({', '.join(compiler.process(clause, **options) for clause in element.clauses)})"


@compiles(_JsonRow)
def _json_array(element: _JsonRow, compiler: SQLCompiler, **options: Any) -> str:
    return _array("JSON_ARRAY", element, compiler, **options)


@compiles(_JsonRow, "postgresql")
def _json_build_array(element: _JsonRow, compiler: SQLCompiler, **options: Any) -> str:
    return f"CAST({_array('json_build_array', element, compiler, **options)} AS TEXT)"
