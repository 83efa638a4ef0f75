"""The order of results, which is total.

First the order of the query. Then patients: the latest in the index first; studies: the newest first; series and
instances: by number. At last the order in which the index got them.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from operator import itemgetter
from typing import Any

from sqlalchemy import Table
from sqlalchemy.sql import ColumnElement

from db import schema
from db.comparison import newest_first, number
from qido.parse.attributes import SERIES_UID, STUDY_UID, Level, Matching, SearchAttribute
from qido.parse.conditions import Parameter
from qido.parse.query import Query, SortKey
from qido.plan.sql_conditions import as_number, sortable
from qido.plan.tables import TABLE, column_of, table_of


@dataclass(frozen=True)
class Term:
    """One value by which results are ordered, those without it last; `sql` are its expressions for ORDER BY."""

    value: ColumnElement[Any]
    descending: bool
    sql: tuple[ColumnElement[Any], ...]


def order(query: Query) -> tuple[ColumnElement[Any], ...]:
    """The expressions for ORDER BY of a query."""
    asked = [term for one in query.order for term in _ordered(one)]
    return (*asked, *(sql for term in usual_terms(query) for sql in term.sql))


def usual_terms(query: Query) -> list[Term]:
    """The values by which results are ordered after those of the query."""
    return [term for level in _open_levels(query) for term in _usual(level)]


def usual_order(level: Level) -> tuple[ColumnElement[Any], ...]:
    """The expressions for ORDER BY of one level, for a query without an order."""
    return tuple(sql for term in _usual(level) for sql in term.sql)


def in_order(rows: Sequence[Sequence[Any]], terms: Sequence[tuple[int, bool]]) -> list[Sequence[Any]]:
    """Sort rows as a statement would. A term is the position of the value in a row, and whether it descends."""
    found = list(rows)
    for at, descending in reversed(terms) if len(found) > 1 else ():
        known = sorted((row for row in found if row[at] is not None), key=itemgetter(at), reverse=descending)
        found = known + [row for row in found if row[at] is None]
    return found


def tables_of_order(query: Query) -> frozenset[Table]:
    """The tables that `order` needs."""
    return frozenset({TABLE[level] for level in _open_levels(query)} | {table_of(one.attribute) for one in query.order})


def uids_of_path(query: Query) -> list[tuple[SearchAttribute, str | Parameter]]:
    """The UIDs of the path, with their attributes."""
    return [(name, uid) for name, uid in ((STUDY_UID, query.study_uid), (SERIES_UID, query.series_uid)) if uid]


def _open_levels(query: Query) -> list[Level]:
    """The levels that the path does not fix, from the highest on: results have the usual order of these."""
    if query.level is Level.PATIENT:
        return [Level.PATIENT]
    fixed = max((attribute.level for attribute, _ in uids_of_path(query)), default=Level.PATIENT)
    return [level for level in TABLE if fixed < level <= query.level]


def _usual(level: Level) -> tuple[Term, ...]:
    study, series, instance = schema.study.c, schema.series.c, schema.instance.c
    match level:
        case Level.PATIENT:
            key = schema.patient.c.patient_pkey
            return (Term(key, True, (key.desc(),)),)
        case Level.STUDY:
            return (_newest(study.studydate), _newest(study.studytime), _newest(study.study_pkey))
        case Level.SERIES:
            return (_smallest(number(series.seriesnumber)), Term(series.series_pkey, False, (series.series_pkey,)))
        case Level.INSTANCE:
            return (_smallest(instance.instancenumber), Term(instance.instance_pkey, False, (instance.instance_pkey,)))


def _newest(value: ColumnElement[Any]) -> Term:
    return Term(value, True, (newest_first(value),))


def _smallest(value: ColumnElement[Any]) -> Term:
    return Term(value, False, (value.is_(None), value))


def _ordered(asked: SortKey) -> tuple[ColumnElement[Any], ColumnElement[Any]]:
    """Unknown values come last; numbers are compared as numbers, codes and IDs exactly, other text in either case."""
    column = column_of(asked.attribute)
    value: ColumnElement[Any]
    match asked.attribute.matching:
        case Matching.DATE | Matching.TIME:
            value = column
        case Matching.NUMBER:
            value = as_number(column)
        case _:
            value = sortable(asked.attribute, column)
    return value.is_(None), value.desc() if asked.descending else value
