"""Prepared image sets by key, from memory, the cache or the FrameFetchers. Runs in the web and prefetch processes."""

import json
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property, partial

from ahi.cache.cache import Cache
from ahi.cache.file_view import FileView
from ahi.cache.lru import LRUCache
from ahi.image_sets.deleted import DeletedImageSets
from ahi.image_sets.image_set import ImageSetKey, ImageSetProperties
from ahi.image_sets.prepared_reader import PreparedImageSet, prepared_cache_name
from ahi.retrieval.object_errors import affects_one_object, reported_error
from ahi.workers.image_set_jobs import prepare_image_set, prepare_version, read_version
from ahi.workers.pool import FetcherPool, JobFuture
from ahi.workers.results import PreparedLatest
from dicomweb.dicom_json import DataSet
from dicomweb.errors import NotFound, ProxyError
from dicomweb.levels import LEVELS
from runtime.changes import Changes
from runtime.file_piece import Chunk, FilePiece

_INSTANCE_BYTES = 4096  # about what one instance of an image set takes in memory
_MAX_IN_MEMORY_BYTES = 2**22  # a larger prepared file is read piece by piece
_OPEN_FILE_BYTES = 2**20  # counted for such a file, so that the bound of bytes also bounds the open files


@dataclass(frozen=True)
class LocatedImageSet:
    """A prepared image set, its key, and what AHI says of its version."""

    key: ImageSetKey
    properties: ImageSetProperties
    prepared: PreparedImageSet

    @property
    def datastore_id(self) -> str:
        """The data store that it is in."""
        return self.key.datastore_id

    @cached_property
    def shared_attributes(self) -> DataSet:
        """The attributes of patient, study and series, which all instances share; empty without instances."""
        instances = self.prepared.instances
        text = self.prepared.metadata(instances[0], "") if instances else b"{}"
        return {tag: element for tag, element in json.loads(text).items() if int(tag, 16) in LEVELS}

    @property
    def size_bytes(self) -> int:
        """About what it takes in memory: its bytes or an open file, and its instances."""
        blocks = self.prepared.blocks
        block_bytes = _OPEN_FILE_BYTES if isinstance(blocks, FileView) else len(blocks)
        return block_bytes + _INSTANCE_BYTES * len(self.prepared.instances)


@dataclass(frozen=True)
class PreparedFiles:
    """Reads prepared files from the cache. Where the cache fails, a FrameFetcher sends the bytes."""

    fetchers: FetcherPool
    cache: Cache

    def read(self, key: ImageSetKey, version: str, content: bytes | None) -> PreparedImageSet:
        """Read a version that a FrameFetcher has just prepared. `content` is what its job returned."""
        chunk = content or self._open(key, version, self._prepare_again) or self._receive(key, version)
        if isinstance(chunk, FilePiece):
            is_large = len(chunk) >= _MAX_IN_MEMORY_BYTES
            return PreparedImageSet.from_bytes(FileView(chunk) if is_large else bytes(chunk))
        return PreparedImageSet.from_bytes(chunk)

    def _open(self, key: ImageSetKey, version: str, again: Callable[[ImageSetKey, str], Chunk]) -> FilePiece | None:
        piece = self.cache.open(prepared_cache_name(key, version))
        if piece:
            piece.again = partial(again, key, version)
        return piece

    def _prepare_again(self, key: ImageSetKey, version: str) -> Chunk:
        """Replace a file that was truncated while it was open."""
        _, content = self.fetchers.run(key.image_set_id, prepare_version, key, version)
        return content or self._open(key, version, self._receive) or self._receive(key, version)

    def _receive(self, key: ImageSetKey, version: str) -> bytes:
        return self.fetchers.run(key.image_set_id, read_version, key, version)


@dataclass(frozen=True)
class _CheckedImageSet:
    located: LocatedImageSet
    checked_at: float


class ImageSets:
    """Prepared image sets by key. One that was checked less than `fresh_seconds` ago counts as current.

    Safe to share between threads.
    """

    def __init__(
        self,
        fetchers: FetcherPool,
        cache: Cache,
        *,
        fresh_seconds: float,
        max_bytes: int = 96 * 2**20,
        note_unchecked: Callable[[], None] = lambda: None,
        changes: Changes | None = None,
    ) -> None:
        """`max_bytes` bounds what is kept in memory. What `changes` has a later change of is not current.

        `note_unchecked` is called in the thread of a request whenever AHI does not tell the latest version.
        """
        self._note_unchecked = note_unchecked
        self._fetchers = fetchers
        self._cache = cache
        self._files = PreparedFiles(fetchers, cache)
        self._deleted = DeletedImageSets(cache)
        self._fresh_seconds = fresh_seconds
        self._changes = changes or Changes()
        self._checked: LRUCache[ImageSetKey, _CheckedImageSet] = LRUCache(max_bytes)

    def locate(self, keys: Sequence[ImageSetKey]) -> list[LocatedImageSet]:
        """Return the image sets that AHI still has, in the order of their keys. All are prepared at the same time."""
        located, errors = self.locate_readable(keys)
        if errors:
            raise next(iter(errors.values()))
        return located

    def locate_readable(
        self, keys: Sequence[ImageSetKey]
    ) -> tuple[list[LocatedImageSet], Mapping[ImageSetKey, ProxyError]]:
        """Return the image sets as `locate` does, and the errors of those that cannot be read.

        An error that is an outage is raised.
        """
        located = {key: checked.located for key in keys if (checked := self._fresh(key))}
        futures = {key: self._submit(key) for key in keys if key not in located}
        errors: dict[ImageSetKey, ProxyError] = {}
        for key in keys:
            self._cache.count_use(hit=key in located)
        try:
            for key in list(futures):
                try:
                    located[key] = self._receive(key, self._current(key, futures[key].result()))
                except NotFound:  # deleted, and the index does not know
                    self._deleted.note(key)
                except (ProxyError, RuntimeError) as error:
                    errors[key] = reported_error(error)
                else:
                    self._deleted.forget(key)
                del futures[key]
                if key in errors and not affects_one_object(self._fetchers, errors[key], key):
                    raise errors[key]
        finally:
            for future in futures.values():
                future.abandon()
        return [located[key] for key in keys if key in located], errors

    def _fresh(self, key: ImageSetKey) -> _CheckedImageSet | None:
        checked = self._checked.get(key)
        if not checked or time.monotonic() - checked.checked_at > self._fresh_seconds:
            return None
        return checked if self._changes.is_current(key.image_set_id, checked.checked_at) else None

    def _current(self, key: ImageSetKey, latest: PreparedLatest) -> PreparedLatest:
        """The latest version. A job that began before a change, for another request, does not know the change."""
        checked_at = latest.version.checked_at
        if latest.version.unchecked or self._changes.is_current(key.image_set_id, checked_at):
            return latest
        return self._submit(key).result()

    def _submit(self, key: ImageSetKey) -> JobFuture[PreparedLatest]:
        return self._fetchers.submit(key.image_set_id, prepare_image_set, key)

    def _receive(self, key: ImageSetKey, latest: PreparedLatest) -> LocatedImageSet:
        version, content = latest
        if version.unchecked:
            self._note_unchecked()
        checked = self._checked.get(key)
        if checked and checked.located.properties == version.properties:
            located = checked.located
        else:
            prepared = self._files.read(key, version.properties.version, content)
            located = LocatedImageSet(key, version.properties, prepared)
        self._checked.put(key, _CheckedImageSet(located, version.checked_at), located.size_bytes)
        return located
