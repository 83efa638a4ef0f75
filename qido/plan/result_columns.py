"""The statements that fetch what the results of a page hold, for that page only.

Each statement says what its rows are. It is made once: what differs from page to page is its parameter `keys`.
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
"""The keys of what the page has; of which table, each statement says."""

_KEPT = 64  # statements for different scopes

FROM_SERIES = frozenset({MODALITIES_IN_STUDY, STUDY_SERIES})
"""What is gathered from the series of a study, so that it is right whatever the index says."""

OF_PATIENTS = frozenset({PATIENT_STUDIES, PATIENT_SERIES, PATIENT_INSTANCES})
"""What is gathered from the studies of a patient: the index has no column for it."""

_GATHERED = FROM_SERIES | OF_PATIENTS


def stored(query: Query) -> tuple[SearchAttribute, ...]:
    """The attributes of the results that have columns of their own."""
    return tuple(attribute for attribute in query.returned if attribute not in _GATHERED)


def has_series(query: Query) -> bool:
    """Whether rows have the modalities of the series of a study, of which `FROM_SERIES` are made.

    Not if some series may not be seen: what may be seen is then found out for all studies of a page at once. Lower
    levels have one study many times.
    """
    return query.level is Level.STUDY and not query.scope.hides_parts and not FROM_SERIES.isdisjoint(query.returned)


def columns(query: Query) -> Statement:
    """For each key a row, which is one list: of the keys of all levels down to that of the query, `stored`, and what
    `has_series` says.

    The numbers of instances that the index has are of all data stores, and NULL where some may not be seen. The
    modalities of the series are a text, with a line feed between those of two series; NULL if there is none.
    """
    base = TABLE[query.level]
    return select(json_row(selected(query))).select_from(joined(base, tables(query))).where(key_of(base).in_(KEYS))


def selected(query: Query) -> list[ColumnElement[Any]]:
    """What a list of `columns` has."""
    of_patient = key_of(schema.patient) if query.level is Level.PATIENT else schema.study.c.patient_pkey
    keys = (of_patient, key_of(schema.study), key_of(schema.series), key_of(schema.instance))[: query.level + 1]
    values = (_value(query, attribute) for attribute in stored(query))
    return [*keys, *values, *([_modalities_of_series()] if has_series(query) else [])]


def tables(query: Query) -> set[Table]:
    """The tables of `selected`."""
    of_patient = schema.patient if query.level is Level.PATIENT else schema.study
    return {of_patient, TABLE[query.level]} | {table_of(attribute) for attribute in stored(query)}


def _value(query: Query, attribute: SearchAttribute) -> ColumnElement[Any]:
    if attribute in RELATED_INSTANCES and query.scope.hides_parts:
        return null()
    return column_of(attribute)


def _modalities_of_series() -> ColumnElement[Any]:
    """One subquery of a study, from which the number of its series can be told as well."""
    of_series = select(listed(func.coalesce(schema.series.c.modality, "")))
    of_study = of_series.where(schema.series.c.study_pkey == schema.study.c.study_pkey)
    return of_study.select_from(schema.series).correlate(schema.study).scalar_subquery()


@lru_cache(_KEPT)
def studies_of_patients(scope: Scope) -> Statement:
    """For keys of patients rows of patient key, study key, and the instances of the study, as in `columns`."""
    table = schema.study.c
    instances = null() if scope.hides_parts else table.numberofstudyrelatedinstances
    selected = (table.patient_pkey, table.study_pkey, instances)
    return select(*selected).where(table.patient_pkey.in_(KEYS), *scope.studies())


@lru_cache(_KEPT)
def series_of_studies(scope: Scope) -> Statement:
    """For keys of studies rows of study key, modality, and the number of series that have it."""
    table = schema.series.c
    grouped = (table.study_pkey, table.modality)
    return select(*grouped, func.count()).where(table.study_pkey.in_(KEYS), *scope.series()).group_by(*grouped)


@lru_cache(_KEPT)
def instances_of_studies(scope: Scope) -> Statement:
    """For keys of studies rows of study key and number of instances; no row for a study of which the index has none."""
    joined = schema.series.join(schema.instance)
    key = schema.series.c.study_pkey
    counted = select(key, func.count()).select_from(joined)
    return counted.where(key.in_(KEYS), *scope.instances()).group_by(key)


@lru_cache(_KEPT)
def instances_of_series(scope: Scope) -> Statement:
    """For keys of series rows of series key and number of instances; no row where the index has none."""
    key = schema.instance.c.series_pkey
    return select(key, func.count()).where(key.in_(KEYS), *scope.instances()).group_by(key)
