"""From a query to the statements that find its results. Nothing here touches the database.

A page is found first, as keys, with no more tables than the conditions and the order need; what its results hold is
then fetched for these keys only, by `qido.plan_results`. Each statement says what its rows are.
"""

from typing import Any

from sqlalchemy import case, func, not_, select
from sqlalchemy.sql import ColumnElement

from db import schema
from db.comparison import newest_first, number
from qido.attributes import SERIES_UID, STUDY_UID, Attribute, Level, Matching
from qido.plan_conditions import as_number, bare, holds, identical, is_empty
from qido.plan_tables import TABLE, Statement, Truth, column_of, joined, key_of, table_of
from qido.query import Order, Query

ALL_ROWS = 2**31 - 2
"""The limit of a page that is the whole."""


def page(query: Query) -> Statement:
    """Rows of one key: the results of the page in their order, and one more if there are more.

    The order is total: as the query says; patients that came last first, studies newest first, series and instances by
    their numbers; then as they came.
    """
    return _matching(query).order_by(*_order(query)).limit(query.limit + 1).offset(query.offset)


def additional(query: Query, bound: int) -> Statement:
    """One row with the number of results after the page, counted up to `bound`."""
    rest = _matching(query).offset(query.offset + query.limit).limit(bound).subquery()
    return select(func.count()).select_from(rest)


def count(query: Query) -> Statement:
    """One row with the number of all results, whatever the page."""
    return select(func.count()).select_from(_matching(query).subquery())


def scope(query: Query) -> Statement:
    """A row if the study and the series of the path exist, belong together, and may be seen."""
    lowest = schema.series if query.series_uid else schema.study
    visible = query.scope.series() if query.series_uid else query.scope.studies()
    found = select(key_of(lowest)).select_from(joined(lowest, {schema.study}))
    return found.where(*_scope(query), *visible).limit(1)


def _matching(query: Query) -> Statement:
    base = TABLE[query.level]
    tables = {table_of(attribute) for condition in query.conditions for attribute in condition.keys}
    tables |= {table_of(attribute) for attribute, _ in _uids(query)} | {TABLE[level] for level in _open_levels(query)}
    tables |= {table_of(order.attribute) for order in query.order}
    conditions = (holds(condition, query.scope) for condition in query.conditions)
    found = select(key_of(base)).select_from(joined(base, tables))
    return found.where(*_scope(query), *conditions, *_visible(query))


def _visible(query: Query) -> list[Truth]:
    by_level = {
        Level.PATIENT: query.scope.patients,
        Level.STUDY: query.scope.studies,
        Level.SERIES: query.scope.series,
        Level.INSTANCE: query.scope.instances,
    }
    return by_level[query.level]()


def _open_levels(query: Query) -> list[Level]:
    """The levels whose usual order the results have, the upper one first: those that the path does not fix."""
    if query.level is Level.PATIENT:
        return [Level.PATIENT]
    fixed = max((attribute.level for attribute, _ in _uids(query)), default=Level.PATIENT)
    return [level for level in TABLE if fixed < level <= query.level]


def _uids(query: Query) -> list[tuple[Attribute, str]]:
    """The UIDs of the path."""
    return [(name, uid) for name, uid in ((STUDY_UID, query.study_uid), (SERIES_UID, query.series_uid)) if uid]


def _order(query: Query) -> tuple[ColumnElement[Any], ...]:
    study, series, instance = schema.study.c, schema.series.c, schema.instance.c
    number_of_series = number(series.seriesnumber)
    by_level = {
        Level.PATIENT: (schema.patient.c.patient_pkey.desc(),),
        Level.STUDY: (newest_first(study.studydate), newest_first(study.studytime), study.study_pkey.desc()),
        Level.SERIES: (number_of_series.is_(None), number_of_series, series.series_pkey),
        Level.INSTANCE: (instance.instancenumber.is_(None), instance.instancenumber, instance.instance_pkey),
    }
    asked = [term for order in query.order for term in _ordered(order)]
    return (*asked, *(term for level in _open_levels(query) for term in by_level[level]))


def _ordered(order: Order) -> tuple[ColumnElement[Any], ColumnElement[Any]]:
    """Unknown values last; numbers as numbers, what is matched exactly so, other text without regard to case."""
    column = column_of(order.attribute)
    value: ColumnElement[Any]
    match order.attribute.matching:
        case Matching.DATE | Matching.TIME:
            value = column
        case Matching.NUMBER:
            value = as_number(column)
        case Matching.NAME | Matching.DESCRIPTION:
            value = case((not_(is_empty(order.attribute, column)), func.lower(func.trim(column))))
        case _:
            value = case((not_(is_empty(order.attribute, column)), bare(column)))
    return value.is_(None), value.desc() if order.descending else value


def _scope(query: Query) -> list[Truth]:
    return [identical(column_of(attribute), [uid]) for attribute, uid in _uids(query)]
