"""The image sets of studies and series, by what the image sets say of themselves.

What the index names is a hint: an image set belongs to the study and the series whose UIDs it has, whatever row of the
index it hangs on. Where the index may have lost some, AHI is asked for the image sets of the study.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

from ahi.cache.timed import cached_for
from ahi.image_sets.image_set import ImageSetKey
from ahi.retrieval.located_image_sets import ImageSets, LocatedImageSet
from ahi.workers.pool import FetcherPool, JobFuture
from ahi.workers.query_jobs import search_study
from dicomweb.dicom_json import DataSet, element
from dicomweb.errors import ProxyError, UpstreamBusy
from dicomweb.uids import is_well_formed

_DATASTORES_SECONDS = 60.0
_LOST_SECONDS = 10.0  # fetchers know for longer
_MOST_LOST = _MOST_HINTS = 20_000  # studies and image sets


@dataclass(frozen=True)
class IndexHint:
    """What the index names for a study or series; whether it has it at all; whether it may have lost image sets."""

    keys: tuple[ImageSetKey, ...]
    known: bool
    lossy: bool


class RequestScope(Protocol):
    """What a request may see."""

    @property
    def datastore_ids(self) -> frozenset[str] | None: ...

    @property
    def asks_of_series(self) -> bool: ...

    def has_datastore(self, datastore_id: str) -> bool: ...

    def excludes(self, data_set: DataSet) -> bool: ...

    def admits(self, data_set: DataSet) -> bool: ...

    def seen(self, image_sets: Sequence[LocatedImageSet]) -> list[LocatedImageSet]: ...


@dataclass(frozen=True)
class FoundImageSets:
    """Image sets, and why others that may belong to them cannot be read."""

    image_sets: list[LocatedImageSet]
    errors: Sequence[ProxyError]


@dataclass(frozen=True)
class _Agreeing:
    """Image sets of a study, whether all that can be read are of it, and why others cannot be."""

    image_sets: list[LocatedImageSet]
    all: bool
    errors: Mapping[ImageSetKey, ProxyError]


class Studies:
    """Finds image sets. What the index names is believed for `index_seconds`."""

    def __init__(
        self,
        hint: Callable[[str, str | None], IndexHint],
        datastore_ids: Callable[[], frozenset[str]],
        image_sets: ImageSets,
        fetchers: FetcherPool,
        *,
        index_seconds: float = 2.0,
    ) -> None:
        """`hint` tells what the index names for a study, or for a series; `datastore_ids` are all data stores."""
        self._index_hint = hint
        self._image_sets = image_sets
        self._fetchers = fetchers
        self._hint = cached_for(index_seconds, hint, _MOST_HINTS, lambda found: len(found.keys))
        self._search_ahi = cached_for(_LOST_SECONDS, self._searched, _MOST_LOST, len)
        self._datastore_ids = cached_for(_DATASTORES_SECONDS, datastore_ids)

    def find(self, scope: RequestScope, study: str, series: str | None = None) -> list[LocatedImageSet]:
        """The image sets of a study, or of one series of it, that the scope may see; none where there are none.

        UpstreamBusy where the index has lost them, and AHI does not tell at the moment. What cannot be read is raised.
        """
        found = self.find_readable(scope, study, series)
        if found.errors:
            raise found.errors[0]
        return found.image_sets

    def find_readable(self, scope: RequestScope, study: str, series: str | None = None) -> FoundImageSets:
        """The same, as far as they can be read. Where none can, the reason is raised."""
        if scope.excludes(_uids(study, series)):
            return FoundImageSets([], ())
        part = None if scope.asks_of_series else series
        hint = self._hint(study, part)
        agreeing = self._agreeing([key for key in hint.keys if scope.has_datastore(key.datastore_id)], study, part)
        found, errors = agreeing.image_sets, agreeing.errors
        if not found or hint.lossy or not agreeing.all:
            known = {*(one.key for one in found), *errors}
            needed = hint.known and not known
            lost = [key for key in self.lost(scope, study, needed=needed) if key not in known]
            more = self._agreeing(lost, study, part)
            found, errors = [*found, *more.image_sets], {**errors, **more.errors}
        if errors and not found:
            raise next(iter(errors.values()))
        seen = [one for one in scope.seen(found) if series in (None, one.prepared.series_instance_uid)]
        return FoundImageSets(seen, tuple(errors.values()))

    def of_series(self, scope: RequestScope, series: str) -> list[LocatedImageSet]:
        """The image sets of a series, whatever its studies are, that the scope may see."""
        hint = self._hint("", series)
        located = self._image_sets.locate([key for key in hint.keys if scope.has_datastore(key.datastore_id)])
        studies = dict.fromkeys(one.prepared.study_instance_uid for one in located if is_series(one, series))
        return [one for study in studies for one in self.find(scope, study, series)]

    def index_is_complete(self, scope: RequestScope, study: str) -> bool:
        """Whether the index names all image sets of a study that AHI has; also where AHI does not tell."""
        hint = self._hint(study, None)
        return not hint.lossy or set(self.lost(scope, study, needed=False)) <= set(hint.keys)

    def seen(self, scope: RequestScope, study: str, image_sets: Sequence[LocatedImageSet]) -> list[LocatedImageSet]:
        """Those of the image sets, which are of the study, that the scope may see."""
        if not scope.asks_of_series:
            return scope.seen(image_sets)
        keys = {one.key for one in image_sets}
        return [one for one in self.find(scope, study) if one.key in keys]

    def has(self, scope: RequestScope, study: str, series: str | None = None) -> bool:
        """Whether the scope may see anything of it; the index is believed where the UIDs alone decide that."""
        if scope.admits(_uids(study, series)) and self._index_hint(study, series).known:
            return True
        return bool(self.find(scope, study, series))

    def lost(self, scope: RequestScope, study: str, *, needed: bool) -> list[ImageSetKey]:
        """The image sets of a study by AHI's own index, in the data stores that the scope may see.

        Where AHI does not tell, none, or UpstreamBusy if they are `needed`.
        """
        if not is_well_formed(study):
            return []
        ids = scope.datastore_ids
        datastore_ids = self._datastore_ids() if ids is None else ids
        try:
            return self._search_ahi(study, datastore_ids)
        except UpstreamBusy:
            if needed:
                raise
            return []

    def _searched(self, study: str, datastore_ids: Iterable[str]) -> list[ImageSetKey]:
        pending: list[JobFuture[tuple[ImageSetKey, ...]]] = []
        try:
            pending += (self._fetchers.submit(study, search_study, one, study) for one in sorted(datastore_ids))
            return [key for waiting in pending for key in waiting.result()]
        finally:
            for waiting in pending:
                waiting.abandon()

    def _agreeing(self, keys: Sequence[ImageSetKey], study: str, series: str | None) -> _Agreeing:
        """Those of the image sets that are of the study and series."""
        located, errors = self._image_sets.locate_readable(keys) if keys else ([], {})
        found = [one for one in located if is_in_study(one, study, series)]
        return _Agreeing(found, len(found) == len(located), errors)


def _uids(study: str, series: str | None) -> DataSet:
    named = {"0020000D": study, "0020000E": series}
    return {tag: element("UI", [uid]) for tag, uid in named.items() if uid is not None}


def is_in_study(one: LocatedImageSet, study: str, series: str | None) -> bool:
    """Whether an image set is of a study and a series, None for any, to the last character."""
    return one.prepared.study_instance_uid == study and series in (None, one.prepared.series_instance_uid)


def is_series(one: LocatedImageSet, series: str) -> bool:
    """Whether an image set is of a series."""
    return one.prepared.series_instance_uid == series


def by_series(image_sets: Iterable[LocatedImageSet]) -> dict[str, list[LocatedImageSet]]:
    """The image sets by their series, in the order in which the series come first."""
    found: dict[str, list[LocatedImageSet]] = {}
    for one in image_sets:
        found.setdefault(one.prepared.series_instance_uid, []).append(one)
    return found
