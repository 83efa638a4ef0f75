"""Steps of migrations. Each adds what is missing, so that a migration that was cut off may begin again."""

from typing import Any

from sqlalchemy import Column, Connection, Table, inspect, text
from sqlalchemy.schema import CreateColumn


def add_missing_column(connection: Connection, table: Table, column: Column[Any]) -> None:
    """Add a column that the table lacks."""
    if column.name in {found["name"] for found in inspect(connection).get_columns(table.name)}:
        return
    described = CreateColumn(column).compile(dialect=connection.dialect)
    connection.execute(text(f"ALTER TABLE {table.name} ADD COLUMN {described}"))
