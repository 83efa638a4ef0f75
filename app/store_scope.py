"""The instances that a client may store: only those that it may also see afterwards. Runs in the web processes."""

from collections.abc import Iterable
from dataclasses import dataclass

from ahi.retrieval.studies import Studies
from db.scope import Scope
from dicomweb.dicom_json import DataSet

_MODALITY = 0x00080060


@dataclass(frozen=True)
class RequestStoreScope:
    """The scope of a request, for instances that are not stored yet."""

    scope: Scope
    datastore_id: str
    studies: Studies

    @property
    def tags(self) -> Iterable[int]:
        """The attributes that the filters are on; that of the modalities of a study is on those of its series."""
        return [_MODALITY if one.of_some_series else int(one.tag, 16) for one in self.scope.filters]

    def admits(self, study_instance_uid: str, data_set: DataSet) -> bool:
        """Whether an instance meets all filters by itself, and its study is not one that they hide.

        Without filters, everything may be stored. If some series of a study must have a modality, and one has, the
        others may have any.
        """
        if not self.scope.filters:
            return True
        if not all(one.is_met_by(data_set) for one in self.scope.filters if not one.of_some_series):
            return False
        in_store = Scope(frozenset({self.datastore_id}))
        if self.studies.has(self.scope & in_store, study_instance_uid):
            return True
        is_new = not self.studies.has(in_store, study_instance_uid)
        return is_new and all(one.is_met_by(data_set) for one in self.scope.filters)
