"""Which image sets belong to a study or a series: all that retrieval asks of the index."""

from dataclasses import dataclass

from sqlalchemy import Select, select

from db.engine import Database
from db.schema import imageset, series, study
from db.scope import Scope


@dataclass(frozen=True)
class ImageSetRow:
    """One image set, and the series that the index files it under."""

    series_instance_uid: str
    datastore_id: str
    image_set_id: str


def find_image_sets(
    database: Database, scope: Scope, study_instance_uid: str, series_instance_uid: str | None = None
) -> list[ImageSetRow]:
    """The image sets in scope of a study, or of one series of it, series by series; none for one that is not there."""
    statement = plan_image_sets(scope, study_instance_uid, series_instance_uid)
    return [ImageSetRow(*row) for row in database.rows(statement)]


def plan_image_sets(
    scope: Scope, study_instance_uid: str, series_instance_uid: str | None
) -> Select[tuple[str, str, str]]:
    """The statement behind `find_image_sets`."""
    statement = (
        select(series.c.seriesinstanceuid, imageset.c.datastoreid, imageset.c.imagesetid)
        .select_from(study)
        .join(series, series.c.study_pkey == study.c.study_pkey)
        .join(imageset, imageset.c.series_pkey == series.c.series_pkey)
        .where(study.c.studyinstanceuid == study_instance_uid, *scope.image_sets(), *scope.series())
        .order_by(series.c.series_pkey, imageset.c.imageset_pkey)
    )
    if series_instance_uid is None:
        return statement
    return statement.where(series.c.seriesinstanceuid == series_instance_uid)


def any_datastore_id(database: Database) -> str | None:
    """A data store that the index speaks of; None while it is empty."""
    rows = database.rows(select(imageset.c.datastoreid).limit(1))
    return str(rows[0][0]) if rows else None
