"""Statements that fetch the values of the results of one page.

Each statement is built once. Its parameter `keys` are the keys of the page.
"""

from functools import lru_cache
from typing import Any

from sqlalchemy import BigInteger, Table, bindparam, func, null, select
from sqlalchemy.sql import ColumnElement

from db import schema
from db.comparison import listed
from db.json_row import json_row
from db.scope import Scope
from qido.parse.attributes import (
    MODALITIES_IN_STUDY,
    PATIENT_INSTANCES,
    PATIENT_SERIES,
    PATIENT_STUDIES,
    RELATED_INSTANCES,
    STUDY_SERIES,
    Level,
    SearchAttribute,
)
from qido.parse.query import Query
from qido.plan.tables import TABLE, Statement, column_of, joined, key_of, table_of

KEYS = bindparam("keys", expanding=True, type_=BigInteger())
"""The keys of the page, of the table that each statement names."""

_MAX_STATEMENTS = 64  # for different scopes

FROM_SERIES = frozenset({MODALITIES_IN_STUDY, STUDY_SERIES})
"""Attributes that are computed from the series of a study, so that they are right in any case."""

OF_PATIENTS = frozenset({PATIENT_STUDIES, PATIENT_SERIES, PATIENT_INSTANCES})
"""Attributes that are computed from the studies of a patient, because the index has no column for them."""

_COMPUTED = FROM_SERIES | OF_PATIENTS


def stored(query: Query) -> tuple[SearchAttribute, ...]:
    """The returned attributes that have columns."""
    return tuple(attribute for attribute in query.returned if attribute not in _COMPUTED)


def has_series(query: Query) -> bool:
    """Whether rows have the modalities of the series of a study, from which `FROM_SERIES` are computed.

    Not if the scope hides some series, and not at lower levels, where many rows have the same study. Then the series
    of all studies of a page are fetched together.
    """
    return query.level is Level.STUDY and not query.scope.hides_parts and not FROM_SERIES.isdisjoint(query.returned)


def columns(query: Query) -> Statement:
    """A row for each key, which is one list: keys of all levels down to that of the query, values of `stored`, and the
    modalities of `has_series`.

    Numbers of instances in the index are of all data stores, and so NULL if the scope hides some. The modalities are
    a text with a line feed between two series; NULL if there is no series.
    """
    base = TABLE[query.level]
    return select(json_row(selected(query))).select_from(joined(base, tables(query))).where(key_of(base).in_(KEYS))


def selected(query: Query) -> list[ColumnElement[Any]]:
    """The expressions of the list of `columns`."""
    of_patient = key_of(schema.patient) if query.level is Level.PATIENT else schema.study.c.patient_pkey
    keys = (of_patient, key_of(schema.study), key_of(schema.series), key_of(schema.instance))[: query.level + 1]
    values = (_value(query, attribute) for attribute in stored(query))
    return [*keys, *values, *([_modalities_of_series()] if has_series(query) else [])]


def tables(query: Query) -> set[Table]:
    """The tables that `selected` needs."""
    of_patient = schema.patient if query.level is Level.PATIENT else schema.study
    return {of_patient, TABLE[query.level]} | {table_of(attribute) for attribute in stored(query)}


def _value(query: Query, attribute: SearchAttribute) -> ColumnElement[Any]:
    if attribute in RELATED_INSTANCES and query.scope.hides_parts:
        return null()
    return column_of(attribute)


def _modalities_of_series() -> ColumnElement[Any]:
    """A subquery for the modalities of a study, which tells the number of its series too."""
    of_series = select(listed(func.coalesce(schema.series.c.modality, "")))
    of_study = of_series.where(schema.series.c.study_pkey == schema.study.c.study_pkey)
    return of_study.select_from(schema.series).correlate(schema.study).scalar_subquery()


@lru_cache(_MAX_STATEMENTS)
def studies_of_patients(scope: Scope) -> Statement:
    """For keys of patients: rows of patient key, study key, and number of instances of the study as in `columns`."""
    table = schema.study.c
    instances = null() if scope.hides_parts else table.numberofstudyrelatedinstances
    selected = (table.patient_pkey, table.study_pkey, instances)
    return select(*selected).where(table.patient_pkey.in_(KEYS), *scope.studies())


@lru_cache(_MAX_STATEMENTS)
def series_of_studies(scope: Scope) -> Statement:
    """For keys of studies: rows of study key, modality, and the number of series that have it."""
    table = schema.series.c
    grouped = (table.study_pkey, table.modality)
    return select(*grouped, func.count()).where(table.study_pkey.in_(KEYS), *scope.series()).group_by(*grouped)


@lru_cache(_MAX_STATEMENTS)
def instances_of_studies(scope: Scope) -> Statement:
    """For keys of studies: rows of study key and number of instances; no row if the index has no instance."""
    joined = schema.series.join(schema.instance)
    key = schema.series.c.study_pkey
    counted = select(key, func.count()).select_from(joined)
    return counted.where(key.in_(KEYS), *scope.instances()).group_by(key)


@lru_cache(_MAX_STATEMENTS)
def instances_of_series(scope: Scope) -> Statement:
    """For keys of series: rows of series key and number of instances; no row if the index has no instance."""
    key = schema.instance.c.series_pkey
    return select(key, func.count()).where(key.in_(KEYS), *scope.instances()).group_by(key)
