"""Which studies of the index may be filed wrongly: its writer lets the newest image set overwrite rows of others.

A patient row is shared by all patients without an ID, and a series row by all studies that use its UID.
"""

from collections.abc import Iterable, Sequence

from sqlalchemy import and_, case, exists, func, literal, or_, select, union
from sqlalchemy.sql import ColumnElement

from db import schema
from db.scope import Scope
from qido.attributes import BY_TAG
from qido.conditions import Condition
from qido.plan_conditions import holds
from qido.plan_tables import Statement, Truth, key_of

MOST_STUDIES = 20_000
"""Doubtful studies that one search tells from others."""

_PATIENT_ID = BY_TAG["00100020"]
_STUDY_KEY = schema.study.c.study_pkey


def facts(by_image_set: bool) -> Statement:
    """One row: whether series with several image sets are there, and the first and the last data store.

    `by_image_set` looks at the image sets of each series, and not only at the conflicts that the writer notes.
    """
    series = exists(_series_of_several(by_image_set).limit(1))
    datastores = select(func.min(schema.imageset.c.datastoreid), func.max(schema.imageset.c.datastoreid)).subquery()
    return select(series, datastores.c[0], datastores.c[1])


def nameless() -> Statement:
    """Rows of patient key: those who have no ID, whose rows others without ID share."""
    return select(key_of(schema.patient)).where(_without_id()).limit(MOST_STUDIES)


def doubtful(conditions: Iterable[Condition], scope: Scope, by_image_set: bool, *, whole_scope: bool) -> Statement:
    """Rows of study key, patient key, and 1 if nothing but the scope is in doubt.

    Only studies that fulfil the conditions that are on studies alone; those in scope first, then the newest. With
    `whole_scope` all studies in scope are among them.
    """
    study = schema.study.c
    nameless = select(_STUDY_KEY).where(study.patient_pkey.in_(select(key_of(schema.patient)).where(_without_id())))
    of_series = select(schema.series.c.study_pkey).where(
        schema.series.c.series_pkey.in_(_series_of_several(by_image_set))
    )
    in_scope = and_(*scope.studies()) if scope.studies() else literal(True)
    whole = [select(_STUDY_KEY).where(in_scope)] if whole_scope else []
    chosen = union(nameless, of_series, *whole).subquery("doubtful")
    only_scope = and_(_STUDY_KEY.not_in(nameless), _STUDY_KEY.not_in(of_series))
    own = [holds(one, scope) for one in conditions if _is_of_study(one)]
    return (
        select(_STUDY_KEY, study.patient_pkey, _number(only_scope))
        .select_from(schema.study.join(chosen, chosen.c[0] == _STUDY_KEY))
        .where(*own)
        .order_by(_number(in_scope).desc(), _STUDY_KEY.desc())
        .limit(MOST_STUDIES + 1)
    )


def studies_named(uids: Sequence[str]) -> Statement:
    """Rows of study key, for UIDs of studies."""
    return select(_STUDY_KEY).where(schema.study.c.studyinstanceuid.in_([uid[: schema.UID_CHARACTERS] for uid in uids]))


def parts_of(study_keys: Sequence[int]) -> Statement:
    """Rows of study key, series key, image-set key, data store and image set; what a study or series lacks is NULL."""
    sets = schema.imageset.c
    joined = schema.study.join(schema.series, schema.series.c.study_pkey == _STUDY_KEY, isouter=True)
    joined = joined.join(schema.imageset, sets.series_pkey == schema.series.c.series_pkey, isouter=True)
    selected = select(_STUDY_KEY, schema.series.c.series_pkey, sets.imageset_pkey, sets.datastoreid, sets.imagesetid)
    return selected.select_from(joined).where(_STUDY_KEY.in_(study_keys)).order_by(sets.imageset_pkey)


def patients_in_datastores(patient_keys: Sequence[int]) -> Statement:
    """Rows of patient key: those of the patients who have image sets in several data stores."""
    joined = schema.study.join(schema.series).join(
        schema.imageset, schema.imageset.c.series_pkey == schema.series.c.series_pkey
    )
    key, datastore = schema.study.c.patient_pkey, schema.imageset.c.datastoreid
    of = select(key).select_from(joined).where(key.in_(patient_keys))
    return of.group_by(key).having(func.min(datastore) != func.max(datastore))


def _series_of_several(by_image_set: bool) -> Statement:
    if not by_image_set:
        return select(schema.conflict.c.series_pkey)
    return select(schema.imageset.c.series_pkey).group_by(schema.imageset.c.series_pkey).having(func.count() > 1)


def _without_id() -> Truth:
    column = schema.patient.c.patientid
    return or_(column.is_(None), column.in_(sorted(_PATIENT_ID.placeholders)))


def _is_of_study(condition: Condition) -> bool:
    return all(key.table == "study" and key.keyword != "ModalitiesInStudy" for key in condition.keys)


def _number(truth: Truth) -> ColumnElement[int]:
    return case((truth, 1), else_=0)
