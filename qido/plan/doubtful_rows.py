"""Statements that find studies whose rows may be wrong.

In AWS's tables the newest image set overwrites rows of others. All patients without an ID share one patient row. All
studies that use a series UID share one series row. Own tables have a row for each data store of a study, and note
image sets with values that did not fit.
"""

from collections.abc import Iterable, Sequence

from sqlalchemy import String, and_, case, exists, func, literal, literal_column, or_, select, true, union

from db import schema
from db.index_kind import has_uid
from db.index_schema import indexed_image_set
from db.scope import Scope
from qido.parse.attributes import BY_TAG
from qido.parse.conditions import Condition
from qido.plan.sql_conditions import holds
from qido.plan.tables import Statement, Truth, key_of

MOST_STUDIES = 20_000
"""The largest number of doubtful studies in one search."""

_PATIENT_ID = BY_TAG["00100020"]
_STUDY_KEY = schema.study.c.study_pkey
_STORE = literal_column("study.datastoreid", String())
"""The data store of a study, in own tables."""


def facts(by_image_set: bool) -> Statement:
    """One row: whether there are series with several image sets, and the first and the last data store.

    With `by_image_set`, the image sets of each series are counted; otherwise the conflicts that the writer notes count.
    """
    series = exists(_series_of_several(by_image_set).limit(1))
    datastores = select(func.min(schema.imageset.c.datastoreid), func.max(schema.imageset.c.datastoreid)).subquery()
    return select(series, datastores.c[0], datastores.c[1])


def nameless() -> Statement:
    """Rows of patient key: the patients without ID, whose rows others without ID share."""
    return select(key_of(schema.patient)).where(_without_id()).limit(MOST_STUDIES)


def doubtful(
    conditions: Iterable[Condition],
    scope: Scope,
    by_image_set: bool,
    patients: Sequence[int] = (),
    most: int = MOST_STUDIES + 1,
) -> Statement:
    """Rows of study key: up to `most` studies in doubt, and those of `patients`, if they fulfil the study conditions.

    Studies in scope come first, then the newest.
    """
    study = schema.study.c
    without_id = select(key_of(schema.patient)).where(_without_id())
    chosen = [
        select(_STUDY_KEY).where(study.patient_pkey.in_(without_id)),
        select(schema.series.c.study_pkey).where(schema.series.c.series_pkey.in_(_series_of_several(by_image_set))),
        *([select(_STUDY_KEY).where(study.patient_pkey.in_(patients))] if patients else []),
    ]
    found = union(*chosen).subquery("doubtful")
    in_scope = and_(*scope.studies()) if scope.studies() else literal(True)
    return (
        select(_STUDY_KEY)
        .select_from(schema.study.join(found, found.c[0] == _STUDY_KEY))
        .where(*(holds(one, scope) for one in conditions if _is_of_study(one)))
        .order_by(case((in_scope, 0), else_=1), _STUDY_KEY.desc())
        .limit(most)
    )


def miscounted(study_instance_uid: str | None, series_instance_uid: str | None) -> Statement:
    """A row if the counted instances of a series are not those that the index has; of a study, or with this UID.

    The writer updates the count of the series that it writes, but not of one from which it takes an instance.
    """
    counted = schema.series.c.numberofseriesrelatedinstances
    own = select(func.count()).where(schema.instance.c.series_pkey == schema.series.c.series_pkey).scalar_subquery()
    found = select(schema.series.c.series_pkey).select_from(schema.series.join(schema.study))
    if study_instance_uid is not None:
        found = found.where(has_uid(schema.study.c.studyinstanceuid, study_instance_uid))
    if series_instance_uid is not None:
        found = found.where(has_uid(schema.series.c.seriesinstanceuid, series_instance_uid))
    return found.where(counted > 0, own != counted).limit(1)


def datastores() -> Statement:
    """One row: the first and the last data store; both are NULL in an empty index."""
    return select(func.min(schema.imageset.c.datastoreid), func.max(schema.imageset.c.datastoreid))


def in_several_datastores() -> Statement:
    """Rows of study key, UID and data store, in own tables: of studies with rows in several data stores."""
    uid = schema.study.c.studyinstanceuid
    several = select(uid.label("uid")).group_by(uid).having(func.count() > 1).limit(MOST_STUDIES).subquery("several")
    return select(_STUDY_KEY, uid, _STORE).join_from(several, schema.study, uid == several.c.uid)


def with_values_that_did_not_fit(most: int) -> Statement:
    """Rows of study key, in own tables: of studies with an image set whose values were cut or changed."""
    noted = indexed_image_set.c
    same = and_(schema.study.c.studyinstanceuid == noted.studyinstanceuid, noted.datastoreid == _STORE)
    found = select(_STUDY_KEY).join_from(indexed_image_set, schema.study, same)
    return found.where(noted.lossy == true()).distinct().limit(most)


def fulfilling(study_keys: Sequence[int], conditions: Iterable[Condition], scope: Scope) -> Statement:
    """Rows of study key: those of these studies that fulfil the study conditions, the latest in the index first."""
    hold = (holds(one, scope) for one in conditions if _is_of_study(one))
    return select(_STUDY_KEY).where(_STUDY_KEY.in_(study_keys), *hold).order_by(_STUDY_KEY.desc())


def studies_with_series(series_instance_uid: str) -> Statement:
    """Rows of study key: the studies with a series of this UID."""
    return select(schema.series.c.study_pkey).where(has_uid(schema.series.c.seriesinstanceuid, series_instance_uid))


def studies_named(uids: Sequence[str]) -> Statement:
    """Rows of study key and UID, for UIDs of studies as the index holds them."""
    uid = schema.study.c.studyinstanceuid
    return select(_STUDY_KEY, uid).where(uid.in_(uids))


def parts_of(study_keys: Sequence[int]) -> Statement:
    """Rows of study key, series key, image-set key, data store and image set; what a study or series lacks is NULL."""
    sets = schema.imageset.c
    joined = schema.study.join(schema.series, schema.series.c.study_pkey == _STUDY_KEY, isouter=True)
    joined = joined.join(schema.imageset, sets.series_pkey == schema.series.c.series_pkey, isouter=True)
    selected = select(_STUDY_KEY, schema.series.c.series_pkey, sets.imageset_pkey, sets.datastoreid, sets.imagesetid)
    return selected.select_from(joined).where(_STUDY_KEY.in_(study_keys)).order_by(sets.imageset_pkey)


def patients_in_datastores(patient_keys: Sequence[int] | None = None) -> Statement:
    """Rows of patient key, ID and issuer: patients with image sets in several data stores.

    `patient_keys` are the patients to look at, None for all.
    """
    sets, patient = schema.imageset.c, schema.patient.c
    joined = schema.issuer.join(schema.patient).join(schema.study).join(schema.series)
    joined = joined.join(schema.imageset, sets.series_pkey == schema.series.c.series_pkey)
    shown = (patient.patient_pkey, patient.patientid, schema.issuer.c.issuerofpatientid)
    of = select(*shown).select_from(joined).group_by(*shown)
    if patient_keys is not None:
        of = of.where(patient.patient_pkey.in_(patient_keys))
    return of.having(func.min(sets.datastoreid) != func.max(sets.datastoreid)).limit(MOST_STUDIES)


def _series_of_several(by_image_set: bool) -> Statement:
    if not by_image_set:
        return select(schema.conflict.c.series_pkey)
    return select(schema.imageset.c.series_pkey).group_by(schema.imageset.c.series_pkey).having(func.count() > 1)


def _without_id() -> Truth:
    column = schema.patient.c.patientid
    return or_(column.is_(None), column.in_(sorted(_PATIENT_ID.placeholders)))


def _is_of_study(condition: Condition) -> bool:
    return all(key.table == "study" and key.keyword != "ModalitiesInStudy" for key in condition.keys)
