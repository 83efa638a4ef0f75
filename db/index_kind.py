"""The two kinds of tables that an index can have, and expressions that differ between them.

A database has one kind for good. `db.engine.Database` finds it and notes it on its dialect, so a statement is planned
once for both kinds, and no statement can meet tables of the other kind.
"""

from enum import Enum
from typing import Any, TypeVar

from sqlalchemy import Connection, Dialect, String, inspect, literal_column
from sqlalchemy.ext.compiler import compiles
from sqlalchemy.sql import ColumnElement
from sqlalchemy.sql.compiler import SQLCompiler
from sqlalchemy.sql.functions import FunctionElement

from db import index_schema, schema

T = TypeVar("T")

_NOTED_AS = "index_kind"


class IndexKind(Enum):
    """The kind of the tables of an index."""

    LEGACY = "the tables of AWS's project metadata-index"
    """One row for all that share a UID or a patient ID, texts that mean "absent", times without fractions."""

    OWN = "the tables of this project"
    """One row for each patient, study, series and instance of a data store. An absent value is NULL."""

    def held_uids(self, uid: str) -> tuple[str, ...]:
        """The forms in which a column may hold a UID."""
        return schema.held_uids(uid) if self is IndexKind.LEGACY else (index_schema.held_uid(uid),)


def find_kind(connection: Connection) -> IndexKind | None:
    """The kind of the tables that the database has; None if it has neither."""
    tables = inspect(connection)
    if tables.has_table(index_schema.schema_version.name):
        return IndexKind.OWN
    return IndexKind.LEGACY if tables.has_table(schema.study.name) else None


def note_kind(dialect: Dialect, kind: IndexKind) -> None:
    """Have statements that are compiled for this dialect fit this kind."""
    setattr(dialect, _NOTED_AS, kind)


def noted_kind(dialect: Dialect) -> IndexKind:
    """The kind that statements of this dialect are compiled for."""
    kind: IndexKind = getattr(dialect, _NOTED_AS, IndexKind.LEGACY)
    return kind


def by_kind(*, legacy: ColumnElement[T], own: ColumnElement[T]) -> ColumnElement[T]:
    """The one of two expressions that fits the tables of the database, with the type of `own`."""
    return _ByKind(legacy, own)


def has_uid(column: ColumnElement[str], uid: str) -> ColumnElement[bool]:
    """Whether the column of a UID holds this one."""
    return by_kind(legacy=column.in_(IndexKind.LEGACY.held_uids(uid)), own=column.in_(IndexKind.OWN.held_uids(uid)))


def folded(column: Any) -> ColumnElement[str]:
    """The neighbour of a column, without case and accents; only own tables have one."""
    return literal_column(f"{column.table.name}.{column.name}{index_schema.FOLDED}", String())


class _ByKind(FunctionElement[Any]):
    inherit_cache = True
    name = "by_kind"

    def __init__(self, legacy: ColumnElement[Any], own: ColumnElement[Any]) -> None:
        super().__init__(legacy, own)
        self.type = own.type

    def self_group(self, against: Any = None) -> Any:
        return self


@compiles(_ByKind)
def _fitting(element: _ByKind, compiler: SQLCompiler, **options: Any) -> str:
    legacy, own = element.clauses
    fitting = own if noted_kind(compiler.dialect) is IndexKind.OWN else legacy
    return f"({compiler.process(fitting, **options)})"
