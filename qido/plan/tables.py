"""The tables of the index: the table and column of each attribute, and how tables are joined."""

from collections.abc import Set
from functools import reduce
from typing import Any

from sqlalchemy import Column, FromClause, Select, Table
from sqlalchemy.sql import ColumnElement

from db import schema
from qido.parse.attributes import Level, SearchAttribute

Statement = Select[Any]
Truth = ColumnElement[bool]

TABLE = {
    Level.PATIENT: schema.patient,
    Level.STUDY: schema.study,
    Level.SERIES: schema.series,
    Level.INSTANCE: schema.instance,
}

_CHAIN = (schema.instance, schema.series, schema.study, schema.patient, schema.issuer)
"""The tables from the lowest to the highest. Each row has the key of its row in the next table."""


def key_of(table: Table) -> Column[Any]:
    """The primary key."""
    return table.c[f"{table.name}_pkey"]


def table_of(attribute: SearchAttribute) -> Table:
    """The table that has the attribute."""
    return schema.metadata.tables[attribute.table]


def column_of(attribute: SearchAttribute) -> Column[Any]:
    """The column that has the attribute."""
    return table_of(attribute).c[attribute.column]


def joined(base: Table, tables: Set[Table]) -> FromClause:
    """`base` and the tables above it, up to the highest of `tables`."""
    above = _CHAIN[_CHAIN.index(base) :]
    highest = max(above.index(table) for table in tables | {base})
    found: FromClause = base
    return reduce(lambda left, right: left.join(right), above[1 : highest + 1], found)
