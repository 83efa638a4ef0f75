"""The statements that fetch what the results of a page hold, for the keys of that page only.

Each statement says what its rows are.
"""

from collections.abc import Iterable, Sequence

from sqlalchemy import func, null, select

from db import schema
from db.scope import Scope
from qido.attributes import RELATED_INSTANCES, Attribute, Level
from qido.plan_tables import TABLE, Statement, column_of, joined, key_of, table_of
from qido.query import Query

KEYED = (Level.PATIENT, Level.STUDY, Level.SERIES)
"""The levels whose keys come with each result: counts are gathered by them."""


def columns(query: Query, attributes: Sequence[Attribute], keys: Iterable[int]) -> Statement:
    """For each key its row: key, then the keys of `KEYED` down to the level of the query, then the attributes.

    The numbers of instances that the index has are of all data stores, and NULL where some may not be seen.
    """
    base = TABLE[query.level]
    of_patient = key_of(schema.patient) if query.level is Level.PATIENT else schema.study.c.patient_pkey
    keyed = (of_patient, key_of(schema.study), key_of(schema.series))[: query.level + 1]
    tables = {column.table for column in keyed} | {table_of(attribute) for attribute in attributes}
    hidden = RELATED_INSTANCES if query.scope.hides_parts else frozenset()
    values = (null() if attribute in hidden else column_of(attribute) for attribute in attributes)
    selected = (column.label(None) for column in (key_of(base), *keyed, *values))
    return select(*selected).select_from(joined(base, tables)).where(key_of(base).in_(keys))


def studies_of_patients(patient_keys: Iterable[int], scope: Scope) -> Statement:
    """Rows of patient key, study key, and the number of instances that the index gives for the study, as `columns`."""
    table = schema.study.c
    instances = null() if scope.hides_parts else table.numberofstudyrelatedinstances
    selected = (table.patient_pkey, table.study_pkey, instances)
    return select(*selected).where(table.patient_pkey.in_(patient_keys), *scope.studies())


def series_of_studies(study_keys: Iterable[int], scope: Scope) -> Statement:
    """Rows of study key, modality, and the number of series that have it."""
    table = schema.series.c
    grouped = (table.study_pkey, table.modality)
    return select(*grouped, func.count()).where(table.study_pkey.in_(study_keys), *scope.series()).group_by(*grouped)


def instances_of_studies(study_keys: Iterable[int], scope: Scope) -> Statement:
    """Rows of study key and number of instances; no row for a study of which the index has none."""
    joined = schema.series.join(schema.instance)
    key = schema.series.c.study_pkey
    counted = select(key, func.count()).select_from(joined)
    return counted.where(key.in_(study_keys), *scope.instances()).group_by(key)


def instances_of_series(series_keys: Iterable[int], scope: Scope) -> Statement:
    """Rows of series key and number of instances; no row for a series of which the index has none."""
    key = schema.instance.c.series_pkey
    return select(key, func.count()).where(key.in_(series_keys), *scope.instances()).group_by(key)
