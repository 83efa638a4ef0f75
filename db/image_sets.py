"""The image sets that the index names for a study or a series. It may be wrong: image sets themselves are the truth."""

from dataclasses import dataclass

from sqlalchemy import Select, exists, select

from db.engine import Database
from db.index_kind import IndexKind, has_uid
from db.schema import conflict, imageset, series, study


@dataclass(frozen=True)
class ImageSetRow:
    """One image set, and its series according to the index."""

    series_instance_uid: str
    datastore_id: str
    image_set_id: str


@dataclass(frozen=True)
class NamedImageSets:
    """The image sets that the index names, series by series. `known` says whether it has the study or series at all.

    `lossy` says that it may have lost others: the writer of AWS's tables files a series under the study that used the
    UID last. `complete` says that it has the study, and that these are all image sets that were asked for.
    """

    image_sets: tuple[ImageSetRow, ...] = ()
    known: bool = False
    lossy: bool = False
    complete: bool = False


def find_image_sets(
    database: Database, study_instance_uid: str, series_instance_uid: str | None = None
) -> NamedImageSets:
    """The image sets of a study, or of a series: of that study in own tables, in whatever study in AWS's.

    Without a Study Instance UID ("") it is a series of any study.
    """
    if database.index_kind is IndexKind.OWN:
        return _named_in_own_tables(database, study_instance_uid, series_instance_uid)
    rows = database.rows(plan_image_sets(study_instance_uid, series_instance_uid))
    if not rows:
        return NamedImageSets()
    image_sets = tuple(ImageSetRow(*row[:3]) for row in rows if row[2] is not None)
    has_conflicts, counted = rows[0][3:]
    expected = 1 if series_instance_uid else counted or 0
    missing = len(image_sets) < len(rows) or len({one.series_instance_uid for one in image_sets}) < expected
    return NamedImageSets(image_sets, True, missing or bool(has_conflicts))


def _named_in_own_tables(database: Database, study_uid: str, series_uid: str | None) -> NamedImageSets:
    rows = database.rows(_plan_own_image_sets(study_uid, series_uid))
    image_sets = tuple(ImageSetRow(*row) for row in rows if row[2] is not None)
    return NamedImageSets(image_sets, known=bool(image_sets), complete=bool(study_uid and rows))


def _plan_own_image_sets(study_uid: str, series_uid: str | None) -> Select[tuple[object, ...]]:
    """Rows of image sets, and of the study if it has none that fits."""
    of_series = series.c.study_pkey == study.c.study_pkey
    if series_uid is not None:
        of_series &= has_uid(series.c.seriesinstanceuid, series_uid)
    statement = (
        select(series.c.seriesinstanceuid, imageset.c.datastoreid, imageset.c.imagesetid)
        .select_from(study)
        .join(series, of_series, isouter=bool(study_uid))
        .join(imageset, imageset.c.series_pkey == series.c.series_pkey, isouter=bool(study_uid))
        .order_by(series.c.series_pkey, imageset.c.imageset_pkey)
    )
    return statement.where(has_uid(study.c.studyinstanceuid, study_uid)) if study_uid else statement


def plan_image_sets(study_instance_uid: str, series_instance_uid: str | None) -> Select[tuple[object, ...]]:
    """Rows of image sets, and of series and studies that have none, in AWS's tables."""
    conflicts = select(conflict.c.conflict_pkey)
    if series_instance_uid is not None:
        conflicts = conflicts.where(conflict.c.series_pkey == series.c.series_pkey)
    has_conflicts = exists(conflicts).label("has_conflicts")
    statement = (
        select(series.c.seriesinstanceuid, imageset.c.datastoreid, imageset.c.imagesetid)
        .add_columns(has_conflicts, study.c.numberofstudyrelatedseries)
        .select_from(study)
        .join(series, series.c.study_pkey == study.c.study_pkey, isouter=series_instance_uid is None)
        .join(imageset, imageset.c.series_pkey == series.c.series_pkey, isouter=True)
        .order_by(series.c.series_pkey, imageset.c.imageset_pkey)
    )
    if series_instance_uid is not None:
        return statement.where(has_uid(series.c.seriesinstanceuid, series_instance_uid))
    return statement.where(has_uid(study.c.studyinstanceuid, study_instance_uid))


def find_datastore_ids(database: Database) -> frozenset[str]:
    """All data stores in the index."""
    return frozenset(str(row[0]) for row in database.rows(select(imageset.c.datastoreid).distinct()))


def any_datastore_id(database: Database) -> str | None:
    """One data store in the index; None while it is empty."""
    rows = database.rows(select(imageset.c.datastoreid).limit(1))
    return str(rows[0][0]) if rows else None
