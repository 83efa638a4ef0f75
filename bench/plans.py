"""The statements that a request sends to the database, and the plan of MySQL for each in one line."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Engine, event


@dataclass(frozen=True)
class Statement:
    """A statement and its parameters, as the driver gets them."""

    sql: str
    parameters: Any


@contextmanager
def recorded() -> Iterator[list[Statement]]:
    """Record all statements that this process sends meanwhile."""
    found: list[Statement] = []

    def note(_connection: Any, _cursor: Any, sql: str, parameters: Any, *_: Any) -> None:
        found.append(Statement(sql, parameters))

    event.listen(Engine, "before_cursor_execute", note)
    try:
        yield found
    finally:
        event.remove(Engine, "before_cursor_execute", note)


def summary(engine: Engine, statement: Statement) -> str:
    """The tables in the order of reading, each with access type, index and expected rows."""
    connection = engine.raw_connection()
    try:
        cursor = connection.cursor()
        cursor.execute(
            f"{_EXPLAIN[bool(getattr(engine.dialect, 'is_mariadb', False))]} {statement.sql}", statement.parameters
        )
        names = [column[0] for column in cursor.description]
        return "; ".join(_step(dict(zip(names, row, strict=True))) for row in cursor.fetchall())
    finally:
        connection.close()


def _step(row: dict[str, Any]) -> str:
    """One row of EXPLAIN in short."""
    if row["table"] is None:
        return str(row["Extra"])
    telling = [part for part in str(row["Extra"] or "").split("; ") if part in _TELLING]
    parts = [row["table"], row["type"], row["key"] and f"by {row['key']}", row["rows"] and f"~{row['rows']}", *telling]
    return " ".join(str(part) for part in parts if part)


# Rows and columns: the default of MySQL is a tree now, and MariaDB has no name for this format.
_EXPLAIN = {True: "EXPLAIN", False: "EXPLAIN FORMAT=TRADITIONAL"}
_TELLING = ("Using filesort", "Using temporary", "Using index")
