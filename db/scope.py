"""The scope of a request: the data stores that it may see, and conditions that studies and series must meet.

What is out of scope is as if it were not there. An image set is in scope if its data store is; a series, if it and its
study meet the conditions and it has an image set in scope; a study and a patient, if something below them is. An
instance is in scope if its series and its image set are.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, Protocol, TypeVar

from sqlalchemy import Column, Table, select
from sqlalchemy.sql import ColumnElement

from db.deleted_image_sets import NOTHING, DeletedRows
from db.schema import imageset, instance, issuer, patient, series, study
from dicomweb.dicom_json import DataSet

Truth = ColumnElement[bool]


class RowCondition(Protocol):
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

    @property
    def tag(self) -> str:
        """The attribute that the condition is on, if it is on that of the image set itself."""

    def is_met_by(self, data_set: DataSet) -> bool:
        """Whether the patient, study and series of an image set meet the condition; `table` has no effect."""


class HasAttributes(Protocol):
    """An image set: where it is, and its attributes of patient, study and series."""

    @property
    def datastore_id(self) -> str: ...

    @property
    def shared_attributes(self) -> DataSet: ...


ImageSetT = TypeVar("ImageSetT", bound=HasAttributes)


@dataclass(frozen=True)
class Scope:
    """The data stores, None for all, and filters that all must be met. `a & b` is what is in both.

    Each method gives conditions on the columns of one table; none where nothing is hidden, so that the statements of
    an unlimited scope are the plain ones. The conditions hold subqueries of their own and can be put anywhere.
    """

    datastore_ids: frozenset[str] | None = None
    filters: tuple[RowCondition, ...] = ()
    hidden: DeletedRows = NOTHING

    def __and__(self, other: "Scope") -> "Scope":
        if self is EVERYTHING or other is EVERYTHING:  # as a rule, and for each request
            return other if self is EVERYTHING else self
        known = [ids for ids in (self.datastore_ids, other.datastore_ids) if ids is not None]
        ids = frozenset.intersection(*known) if known else None
        return Scope(ids, tuple(dict.fromkeys((*self.filters, *other.filters))), self.hidden | other.hidden)

    @property
    def asks_of_series(self) -> bool:
        """Whether what may be seen of a study depends on its other series."""
        return any(one.of_some_series for one in self.filters)

    def has_datastore(self, datastore_id: str) -> bool:
        """Whether what is in a data store may be seen."""
        return self.datastore_ids is None or datastore_id in self.datastore_ids

    def excludes(self, data_set: DataSet) -> bool:
        """Whether nothing that has these attributes may be seen, whatever else it has."""
        return any(one.tag in data_set and not one.is_met_by(data_set) for one in self.filters)

    def admits(self, data_set: DataSet) -> bool:
        """Whether all that has these attributes may be seen, whatever else it has and wherever it is."""
        met = all(one.tag in data_set and one.is_met_by(data_set) for one in self.filters)
        return met and self.datastore_ids is None

    def seen(self, image_sets: Sequence[ImageSetT]) -> list[ImageSetT]:
        """Those of the image sets of one study, all that there are of it, that may be seen by what they say themselves.

        This is the same as what the conditions say of rows, of image sets instead: rows may be wrong.
        """
        own = [one for one in self.filters if not one.of_some_series]
        found = [
            image_set
            for image_set in image_sets
            if self.has_datastore(image_set.datastore_id)
            and all(one.is_met_by(image_set.shared_attributes) for one in own)
        ]
        of_some_series = (one for one in self.filters if one.of_some_series)
        if all(any(one.is_met_by(image_set.shared_attributes) for image_set in found) for one in of_some_series):
            return found
        return []

    @property
    def hides_parts(self) -> bool:
        """Whether a study in scope may have series or instances that are out of it."""
        return bool(self._shown_series() or self.hidden.image_sets)

    @property
    def beyond_datastores(self) -> "Scope | None":
        """The scope without its data stores: what is in it and has an image set in one of them is in scope.

        None if it has none, or if more is asked of what has the image set.
        """
        if self.datastore_ids is None or any(one.table is series for one in self.filters):
            return None
        return replace(self, datastore_ids=None)

    def in_datastores(self) -> list[Truth]:
        """Of image sets, hidden ones too."""
        return [] if self.datastore_ids is None else [imageset.c.datastoreid.in_(sorted(self.datastore_ids))]

    def image_sets(self) -> list[Truth]:
        """Of image sets, whatever their series is."""
        return [*self.in_datastores(), *_not_in(imageset.c.imageset_pkey, self.hidden.image_sets)]

    def instances(self) -> list[Truth]:
        """Of instances; that of their image set is also one of their series, which needs no look of its own."""
        by_image_set = _among(instance.c.imageset_pkey, imageset.c.imageset_pkey, self.in_datastores())
        of_series = [*self._own(series), *self._by_study()]
        by_series = _among(instance.c.series_pkey, series.c.series_pkey, of_series)
        return [*by_image_set, *by_series, *_not_in(instance.c.imageset_pkey, self.hidden.image_sets)]

    def series(self) -> list[Truth]:
        """Of series."""
        return [*self._limited_series(), *_not_in(series.c.series_pkey, self.hidden.series)]

    def series_with_image_set(self) -> list[Truth]:
        """Of series that are known to have an image set in scope."""
        hidden = _not_in(series.c.series_pkey, self.hidden.series)
        return [*self._own(series), *self._by_study(), *hidden]

    def series_by(self, key: ColumnElement[int]) -> list[Truth]:
        """Of rows of any table, or an alias, that have the `key` of a series."""
        return [*_among(key, series.c.series_pkey, self._limited_series()), *_not_in(key, self.hidden.series)]

    def studies(self) -> list[Truth]:
        """Of studies."""
        return [*self._limited_studies(), *_not_in(study.c.study_pkey, self.hidden.studies)]

    def patients(self) -> list[Truth]:
        """Of patients."""
        by_study = _among(patient.c.patient_pkey, study.c.patient_pkey, self._limited_studies())
        return [*self._shown_patients(), *by_study, *_not_in(patient.c.patient_pkey, self.hidden.patients)]

    def _limited_series(self) -> list[Truth]:
        return [*self._shown_series(), *self._by_study()]

    def _limited_studies(self) -> list[Truth]:
        return [*self._shown_studies(), *_among(study.c.study_pkey, series.c.study_pkey, self._shown_series())]

    def _by_study(self) -> list[Truth]:
        return _among(series.c.study_pkey, study.c.study_pkey, self._shown_studies())

    def _shown_series(self) -> list[Truth]:
        """Of series, whatever their study is."""
        return [*self._own(series), *_among(series.c.series_pkey, imageset.c.series_pkey, self.in_datastores())]

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


def _not_in(column: ColumnElement[int], keys: frozenset[int]) -> list[Truth]:
    return [column.not_in(sorted(keys))] if keys else []


def _among(column: ColumnElement[int], key: Column[Any], conditions: Sequence[Truth]) -> list[Truth]:
    return [_one_among(column, key, conditions)] if conditions else []


def _one_among(column: ColumnElement[int], key: Column[Any], conditions: Sequence[Truth]) -> Truth:
    """A list, not EXISTS: the index has no key from series to image sets, and a list is made once."""
    return column.in_(select(key).where(*conditions).correlate(None))
