"""The image sets of studies and series. Runs in the web processes.

The index only gives hints: an image set belongs to the study and series whose UIDs are in its own metadata, whatever
the index says. Where the index may have lost image sets of a study, AHI is asked for them.
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
from runtime.changes import Changes

_DATASTORES_SECONDS = 60.0
_SEARCH_SECONDS = 10.0  # FrameFetchers remember searches for longer
_MAX_HINTS = _MAX_SEARCHES = 20_000  # studies and image sets


@dataclass(frozen=True)
class IndexHint:
    """The image sets that the index has for a study or series.

    `known`: the index has the study or series. `lossy`: it may have lost some of its image sets. `complete`: it has
    the study, and these are all image sets that were asked for.
    """

    keys: tuple[ImageSetKey, ...]
    known: bool
    lossy: bool
    complete: bool = False


class RequestScope(Protocol):
    """The image sets that a request may see (`db.scope.Scope`)."""

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
    """Image sets, and the errors of others that may belong to the same study but cannot be read."""

    image_sets: list[LocatedImageSet]
    errors: Sequence[ProxyError]


@dataclass(frozen=True)
class _CheckedHint:
    """The image sets of a hint that are of the study. `all_agree`: no readable one is of another study."""

    image_sets: list[LocatedImageSet]
    all_agree: bool
    errors: Mapping[ImageSetKey, ProxyError]


class Studies:
    """Finds image sets. Safe to share between threads."""

    def __init__(
        self,
        hint: Callable[[str, str | None], IndexHint],
        datastore_ids: Callable[[], frozenset[str]],
        image_sets: ImageSets,
        fetchers: FetcherPool,
        *,
        index_seconds: float = 2.0,
        changes: Changes | None = None,
    ) -> None:
        """`hint` asks the index for a study, or for a series; its answers are remembered for `index_seconds`.

        `datastore_ids` returns all data stores of the index. Nothing is remembered of a study or series that `changes`
        has a later change of: what was just stored is found.
        """
        self._changes = changes or Changes()
        self._index_hint = hint
        self._image_sets = image_sets
        self._fetchers = fetchers
        self._hint = cached_for(index_seconds, hint, _MAX_HINTS, lambda found: len(found.keys), self._is_current)
        self._cached_search = cached_for(
            _SEARCH_SECONDS,
            self._search,
            _MAX_SEARCHES,
            len,
            lambda read_at, study, _datastores: self._is_current(read_at, study),
        )
        self._datastore_ids = cached_for(_DATASTORES_SECONDS, datastore_ids)

    def find(self, scope: RequestScope, study: str, series: str | None = None) -> list[LocatedImageSet]:
        """Return the image sets of a study, or of one series of it, that are in scope.

        The error of an image set that cannot be read is raised. UpstreamBusy where the index has lost the image sets
        and AHI does not answer.
        """
        found = self.find_readable(scope, study, series)
        if found.errors:
            raise found.errors[0]
        return found.image_sets

    def find_readable(self, scope: RequestScope, study: str, series: str | None = None) -> FoundImageSets:
        """Return the readable image sets of a study, or of one series of it. If none is, the error is raised."""
        if scope.excludes(_uids(study, series)):
            return FoundImageSets([], ())
        needed_series = None if scope.asks_of_series else series
        hint = self._hint(study, needed_series)
        keys = [key for key in hint.keys if scope.has_datastore(key.datastore_id)]
        checked = self._check(keys, study, needed_series)
        found, errors = checked.image_sets, checked.errors
        lost = not found and (bool(keys) or not hint.complete)
        if lost or hint.lossy or not checked.all_agree:
            known_keys = {*(image_set.key for image_set in found), *errors}
            needed = hint.known and not known_keys
            others = [key for key in self.search_ahi(scope, study, needed=needed) if key not in known_keys]
            more = self._check(others, study, needed_series)
            found, errors = [*found, *more.image_sets], {**errors, **more.errors}
        if errors and not found:
            raise next(iter(errors.values()))
        in_scope = [one for one in scope.seen(found) if series in (None, one.prepared.series_instance_uid)]
        return FoundImageSets(in_scope, tuple(errors.values()))

    def of_series(self, scope: RequestScope, series: str) -> list[LocatedImageSet]:
        """Return the image sets of a series, in any study, that are in scope."""
        hint = self._hint("", series)
        located = self._image_sets.locate([key for key in hint.keys if scope.has_datastore(key.datastore_id)])
        studies = dict.fromkeys(
            one.prepared.study_instance_uid for one in located if one.prepared.series_instance_uid == series
        )
        return [one for study in studies for one in self.find(scope, study, series)]

    def index_is_complete(self, scope: RequestScope, study: str) -> bool:
        """Whether the index has all image sets of a study that AHI has. True where AHI does not answer."""
        hint = self._hint(study, None)
        return not hint.lossy or set(self.search_ahi(scope, study, needed=False)) <= set(hint.keys)

    def seen(self, scope: RequestScope, study: str, image_sets: Sequence[LocatedImageSet]) -> list[LocatedImageSet]:
        """Return those of the image sets of a study that are in scope."""
        if not scope.asks_of_series:
            return scope.seen(image_sets)
        keys = {one.key for one in image_sets}
        return [one for one in self.find(scope, study) if one.key in keys]

    def has(self, scope: RequestScope, study: str, series: str | None = None) -> bool:
        """Whether anything of a study, or series, is in scope. The index answers where the UIDs alone decide that."""
        if scope.admits(_uids(study, series)) and self._index_hint(study, series).known:
            return True
        return bool(self.find(scope, study, series))

    def search_ahi(self, scope: RequestScope, study: str, *, needed: bool) -> list[ImageSetKey]:
        """Return the image sets of a study that SearchImageSets finds, in the data stores of the scope.

        Where AHI does not answer: none, or UpstreamBusy if they are `needed`.
        """
        if not is_well_formed(study):
            return []
        ids = scope.datastore_ids
        datastore_ids = self._datastore_ids() if ids is None else ids
        try:
            return self._cached_search(study, datastore_ids)
        except UpstreamBusy:
            if needed:
                raise
            return []

    def _is_current(self, read_at: float, study: str, series: str | None = None) -> bool:
        """Whether nothing of the study or series was stored since `read_at`."""
        return all(self._changes.is_current(uid, read_at) for uid in (study, series) if uid)

    def _search(self, study: str, datastore_ids: Iterable[str]) -> list[ImageSetKey]:
        futures: list[JobFuture[tuple[ImageSetKey, ...]]] = []
        try:
            futures += (self._fetchers.submit(study, search_study, one, study) for one in sorted(datastore_ids))
            return [key for future in futures for key in future.result()]
        finally:
            for future in futures:
                future.abandon()

    def _check(self, keys: Sequence[ImageSetKey], study: str, series: str | None) -> _CheckedHint:
        """Read image sets, and keep those whose own UIDs are those of the study and series."""
        located, errors = self._image_sets.locate_readable(keys) if keys else ([], {})
        found = [one for one in located if is_in_study(one, study, series)]
        return _CheckedHint(found, len(found) == len(located), errors)


def _uids(study: str, series: str | None) -> DataSet:
    named = {"0020000D": study, "0020000E": series}
    return {tag: element("UI", [uid]) for tag, uid in named.items() if uid is not None}


def is_in_study(image_set: LocatedImageSet, study: str, series: str | None) -> bool:
    """Whether an image set is of exactly this study and series. None is any series."""
    prepared = image_set.prepared
    return prepared.study_instance_uid == study and series in (None, prepared.series_instance_uid)


def by_series(image_sets: Iterable[LocatedImageSet]) -> dict[str, list[LocatedImageSet]]:
    """Group image sets by series. The series keep the order of their first image sets."""
    groups: dict[str, list[LocatedImageSet]] = {}
    for image_set in image_sets:
        groups.setdefault(image_set.prepared.series_instance_uid, []).append(image_set)
    return groups
