"""Statements that find the image sets of patients, studies and series."""

from collections.abc import Iterable
from typing import Any

from sqlalchemy import Select, exists, select

from db import schema
from db.scope import Scope
from qido.parse.attributes import Level

_KEY = {
    Level.PATIENT: schema.study.c.patient_pkey,
    Level.STUDY: schema.series.c.study_pkey,
    Level.SERIES: schema.series.c.series_pkey,
}


def image_sets_of(level: Level, keys: Iterable[int], scope: Scope) -> Select[Any]:
    """Rows of key, UIDs of study and series, data store and image set, for patients, studies or series; by series."""
    joined = schema.series.join(schema.study).join(
        schema.imageset, schema.imageset.c.series_pkey == schema.series.c.series_pkey
    )
    return (
        select(_KEY[level].label("key"), schema.study.c.studyinstanceuid, schema.series.c.seriesinstanceuid)
        .add_columns(schema.imageset.c.datastoreid, schema.imageset.c.imagesetid)
        .select_from(joined)
        .where(_KEY[level].in_(keys), *scope.image_sets(), *scope.series())
        .order_by(schema.series.c.series_pkey, schema.imageset.c.imageset_pkey)
    )


def any_instance() -> Select[Any]:
    """A row if the index has any instance."""
    return select(schema.instance.c.instance_pkey).limit(1)


def without_instances(series: Select[Any], scope: Scope) -> Select[Any]:
    """A row if the index has no instance in scope of one of `series`, a statement with rows of series keys."""
    wanted = series.subquery()
    (key,) = wanted.c
    return select(key).where(~exists().where(schema.instance.c.series_pkey == key, *scope.instances())).limit(1)
