"""Rows of the index whose image sets are no more: the index does not know, and a search should not show them."""

from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass

from sqlalchemy import Column, Select, select

from db.engine import Database
from db.schema import imageset, series, study


@dataclass(frozen=True)
class DeletedRows:
    """Primary keys of image sets that are no more, and of what has no other image set. There are few of them."""

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
    """What of the index hangs on these image sets of AHI alone."""
    asked = select(imageset.c.imageset_pkey, imageset.c.series_pkey)
    rows = database.rows(asked.where(imageset.c.imagesetid.in_(sorted(image_set_ids))))
    if not rows:
        return NOTHING
    image_sets = frozenset(key for key, _ in rows)
    gone_series = _without(
        database, imageset.c.imageset_pkey, imageset.c.series_pkey, image_sets, {of for _, of in rows}
    )
    gone_studies = _above(database, series.c.series_pkey, series.c.study_pkey, gone_series)
    gone_patients = _above(database, study.c.study_pkey, study.c.patient_pkey, gone_studies)
    return DeletedRows(image_sets, gone_series, gone_studies, gone_patients)


def _above(database: Database, key: Column[int], parent: Column[int], gone: frozenset[int]) -> frozenset[int]:
    """The parents of what is gone that have nothing else."""
    if not gone:
        return frozenset()
    parents = {of for (of,) in database.rows(select(parent).where(key.in_(sorted(gone))))}
    return _without(database, key, parent, gone, parents)


def _without(
    database: Database, key: Column[int], parent: Column[int], gone: frozenset[int], parents: set[int]
) -> frozenset[int]:
    """Those of the parents whose children are all gone."""
    statement: Select[tuple[int, int]] = select(parent, key).where(parent.in_(sorted(parents)))
    children: defaultdict[int, set[int]] = defaultdict(set)
    for of, child in database.rows(statement):
        children[of].add(child)
    return frozenset(of for of in parents if children[of] <= gone)
