"""The image sets that the index names for a study or a series. It may be wrong: image sets themselves are the truth."""

from dataclasses import dataclass

from sqlalchemy import Select, exists, select

from db.engine import Database
from db.schema import conflict, held_uids, imageset, series, study


@dataclass(frozen=True)
class ImageSetRow:
    """One image set, and its series according to the index."""

    series_instance_uid: str
    datastore_id: str
    image_set_id: str


@dataclass(frozen=True)
class NamedImageSets:
    """The image sets that the index names, series by series. `known` says whether it has the study or series at all.

    `lossy` says that it may have lost others: its writer files a series under the study that used the UID last.
    """

    image_sets: tuple[ImageSetRow, ...] = ()
    known: bool = False
    lossy: bool = False


def find_image_sets(
    database: Database, study_instance_uid: str, series_instance_uid: str | None = None
) -> NamedImageSets:
    """The image sets of a study, or of a series in whatever study the index has it."""
    rows = database.rows(plan_image_sets(study_instance_uid, series_instance_uid))
    if not rows:
        return NamedImageSets()
    image_sets = tuple(ImageSetRow(*row[:3]) for row in rows if row[2] is not None)
    has_conflicts, counted = rows[0][3:]
    expected = 1 if series_instance_uid else counted or 0
    missing = len(image_sets) < len(rows) or len({one.series_instance_uid for one in image_sets}) < expected
    return NamedImageSets(image_sets, True, missing or bool(has_conflicts))


def plan_image_sets(study_instance_uid: str, series_instance_uid: str | None) -> Select[tuple[object, ...]]:
    """Rows of image sets, and of series and studies that have none."""
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
        return statement.where(series.c.seriesinstanceuid.in_(held_uids(series_instance_uid)))
    return statement.where(study.c.studyinstanceuid.in_(held_uids(study_instance_uid)))


def find_datastore_ids(database: Database) -> frozenset[str]:
    """All data stores in the index."""
    return frozenset(str(row[0]) for row in database.rows(select(imageset.c.datastoreid).distinct()))


def any_datastore_id(database: Database) -> str | None:
    """One data store in the index; None while it is empty."""
    rows = database.rows(select(imageset.c.datastoreid).limit(1))
    return str(rows[0][0]) if rows else None
