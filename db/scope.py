"""What of the index a request may see: data stores, and conditions that studies and series must meet.

What is out of scope is as if it were not there. An image set is in scope if its data store is; a series, if it and its
study meet the conditions and it has an image set in scope; a study and a patient, if something below them is. An
instance is in scope if its series and its image set are.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from sqlalchemy import Column, Table, select
from sqlalchemy.sql import ColumnElement

from db.schema import imageset, instance, issuer, patient, series, study

Truth = ColumnElement[bool]


class Filter(Protocol):
    """A condition on the rows of one table, which is issuer, patient, study or series; equal ones have equal hashes.

    With `of_some_series`, the table is series, and studies of which no series in scope meets it are out of scope;
    otherwise each row must meet it.
    """

    @property
    def table(self) -> Table: ...

    @property
    def of_some_series(self) -> bool: ...

    def truth(self) -> Truth:
        """The condition, on columns of `table`."""


@dataclass(frozen=True)
class Scope:
    """The data stores, None for all, and filters that all must be met. `a & b` is what is in both.

    Each method gives conditions on the columns of one table; none where nothing is hidden, so that the statements of
    an unlimited scope are the plain ones. The conditions hold subqueries of their own and can be put anywhere.
    """

    datastore_ids: frozenset[str] | None = None
    filters: tuple[Filter, ...] = ()

    def __and__(self, other: "Scope") -> "Scope":
        known = [ids for ids in (self.datastore_ids, other.datastore_ids) if ids is not None]
        ids = frozenset.intersection(*known) if known else None
        return Scope(ids, tuple(dict.fromkeys((*self.filters, *other.filters))))

    @property
    def hides_parts(self) -> bool:
        """Whether a study in scope may have series or instances that are out of it."""
        return bool(self._shown_series())

    def image_sets(self) -> list[Truth]:
        """Of image sets by their data store alone."""
        return [] if self.datastore_ids is None else [imageset.c.datastoreid.in_(sorted(self.datastore_ids))]

    def instances(self) -> list[Truth]:
        """Of instances."""
        by_image_set = _among(instance.c.imageset_pkey, imageset.c.imageset_pkey, self.image_sets())
        return [*by_image_set, *self.series_by(instance.c.series_pkey)]

    def series(self) -> list[Truth]:
        """Of series."""
        return [*self._shown_series(), *_among(series.c.study_pkey, study.c.study_pkey, self._shown_studies())]

    def series_by(self, key: ColumnElement[int]) -> list[Truth]:
        """Of rows of any table, or an alias, that have the `key` of a series."""
        return _among(key, series.c.series_pkey, self.series())

    def studies(self) -> list[Truth]:
        """Of studies."""
        return [*self._shown_studies(), *_among(study.c.study_pkey, series.c.study_pkey, self._shown_series())]

    def patients(self) -> list[Truth]:
        """Of patients."""
        return [*self._shown_patients(), *_among(patient.c.patient_pkey, study.c.patient_pkey, self.studies())]

    def _shown_series(self) -> list[Truth]:
        """Of series, whatever their study is."""
        return [*self._own(series), *_among(series.c.series_pkey, imageset.c.series_pkey, self.image_sets())]

    def _shown_studies(self) -> list[Truth]:
        """Of studies that may have no series in scope."""
        of_some_series = [
            _one_among(study.c.study_pkey, series.c.study_pkey, [*self._shown_series(), one.truth()])
            for one in self.filters
            if one.of_some_series
        ]
        of_patient = _among(study.c.patient_pkey, patient.c.patient_pkey, self._shown_patients())
        return [*self._own(study), *of_some_series, *of_patient]

    def _shown_patients(self) -> list[Truth]:
        """Of patients who may have no study in scope."""
        return [*self._own(patient), *_among(patient.c.issuer_pkey, issuer.c.issuer_pkey, self._own(issuer))]

    def _own(self, table: Table) -> list[Truth]:
        return [one.truth() for one in self.filters if one.table is table and not one.of_some_series]


EVERYTHING = Scope()
"""Hides nothing."""


def _among(column: ColumnElement[int], key: Column[Any], conditions: Sequence[Truth]) -> list[Truth]:
    return [_one_among(column, key, conditions)] if conditions else []


def _one_among(column: ColumnElement[int], key: Column[Any], conditions: Sequence[Truth]) -> Truth:
    """A list, not EXISTS: the index has no key from series to image sets, and a list is made once."""
    return column.in_(select(key).where(*conditions).correlate(None))
