"""Rows of the index whose image sets were deleted: the index does not know it, and a search should not show them."""

from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass

from sqlalchemy import Column, Select, select

from db.engine import Database
from db.schema import imageset, series, study


@dataclass(frozen=True)
class DeletedRows:
    """Primary keys of deleted image sets, and of series, studies and patients without any other image set."""

    image_sets: frozenset[int] = frozenset()
    series: frozenset[int] = frozenset()
    studies: frozenset[int] = frozenset()
    patients: frozenset[int] = frozenset()

    def __or__(self, other: "DeletedRows") -> "DeletedRows":
        return DeletedRows(
            self.image_sets | other.image_sets,
            self.series | other.series,
            self.studies | other.studies,
            self.patients | other.patients,
        )


NOTHING = DeletedRows()


def find_deleted_rows(database: Database, image_set_ids: Iterable[str]) -> DeletedRows:
    """The rows that belong to these image sets of AHI alone."""
    asked = select(imageset.c.imageset_pkey, imageset.c.series_pkey)
    rows = database.rows(asked.where(imageset.c.imagesetid.in_(sorted(image_set_ids))))
    if not rows:
        return NOTHING
    image_sets = frozenset(key for key, _ in rows)
    deleted_series = _without(
        database, imageset.c.imageset_pkey, imageset.c.series_pkey, image_sets, {of for _, of in rows}
    )
    deleted_studies = _above(database, series.c.series_pkey, series.c.study_pkey, deleted_series)
    deleted_patients = _above(database, study.c.study_pkey, study.c.patient_pkey, deleted_studies)
    return DeletedRows(image_sets, deleted_series, deleted_studies, deleted_patients)


def _above(database: Database, key: Column[int], parent: Column[int], deleted: frozenset[int]) -> frozenset[int]:
    """The parents whose children are all deleted, among those of the `deleted` rows."""
    if not deleted:
        return frozenset()
    parents = {of for (of,) in database.rows(select(parent).where(key.in_(sorted(deleted))))}
    return _without(database, key, parent, deleted, parents)


def _without(
    database: Database, key: Column[int], parent: Column[int], deleted: frozenset[int], parents: set[int]
) -> frozenset[int]:
    """The `parents` whose children are all deleted."""
    statement: Select[tuple[int, int]] = select(parent, key).where(parent.in_(sorted(parents)))
    children: defaultdict[int, set[int]] = defaultdict(set)
    for of, child in database.rows(statement):
        children[of].add(child)
    return frozenset(of for of in parents if children[of] <= deleted)
