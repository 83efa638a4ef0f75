"""Image sets."""

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
from ahi.image_sets.version_cache import Version
from ahi.retrieval.object_errors import affects_one_object, reported_error
from ahi.workers.image_set_jobs import prepare_image_set, prepare_version, read_version
from ahi.workers.pool import FetcherPool, JobFuture
from dicomweb.dicom_json import DataSet
from dicomweb.errors import NotFound, ProxyError
from dicomweb.levels import LEVELS
from runtime.file_piece import Chunk, FilePiece

_INSTANCE_BYTES = 4096  # what one instance of an image set takes in memory, about


_HELD_BYTES = 2**22  # a prepared file of more is read piece by piece


_OPEN_FILE_BYTES = 2**20  # what such a file counts as: there may be so many open ones


_Prepared = tuple[Version, bytes | None]


@dataclass(frozen=True)
class LocatedImageSet:
    """A prepared image set, where it is, and what AHI says of its version."""

    key: ImageSetKey
    properties: ImageSetProperties
    prepared: PreparedImageSet

    @property
    def datastore_id(self) -> str:
        """The data store that it is in."""
        return self.key.datastore_id

    @cached_property
    def shared_attributes(self) -> DataSet:
        """Its attributes of patient, study and series, which all its instances have; none without instances."""
        instances = self.prepared.instances
        text = self.prepared.metadata(instances[0], "") if instances else b"{}"
        return {tag: element for tag, element in json.loads(text).items() if int(tag, 16) in LEVELS}

    @property
    def size_bytes(self) -> int:
        """What it takes in memory, about: its bytes, or the open file, and what they say of its instances."""
        blocks = self.prepared.blocks
        held_bytes = _OPEN_FILE_BYTES if isinstance(blocks, FileView) else len(blocks)
        return held_bytes + _INSTANCE_BYTES * len(self.prepared.instances)


@dataclass(frozen=True)
class PreparedFiles:
    """Prepared image sets as the cache has them; where it fails, fetchers carry the bytes here."""

    fetchers: FetcherPool
    cache: Cache

    def read(self, key: ImageSetKey, version: str, blob: bytes | None) -> PreparedImageSet:
        """A version that a fetcher has just prepared; `blob` is what it answered."""
        content = blob or self._piece(key, version, self._again) or self._carried(key, version)
        if isinstance(content, FilePiece):
            return PreparedImageSet.from_bytes(FileView(content) if len(content) >= _HELD_BYTES else bytes(content))
        return PreparedImageSet.from_bytes(content)

    def _piece(self, key: ImageSetKey, version: str, again: Callable[[ImageSetKey, str], Chunk]) -> FilePiece | None:
        piece = self.cache.open(prepared_cache_name(key, version))
        if piece:
            piece.again = partial(again, key, version)
        return piece

    def _again(self, key: ImageSetKey, version: str) -> Chunk:
        """For a file that was cut short while it was open."""
        _, blob = self.fetchers.run(key.image_set_id, prepare_version, key, version)
        return blob or self._piece(key, version, self._carried) or self._carried(key, version)

    def _carried(self, key: ImageSetKey, version: str) -> bytes:
        return self.fetchers.run(key.image_set_id, read_version, key, version)


@dataclass(frozen=True)
class _Known:
    located: LocatedImageSet
    checked_at: float


class ImageSets:
    """Prepared image sets by key. One that was looked at less than `fresh_seconds` ago is taken to be current."""

    def __init__(
        self,
        fetchers: FetcherPool,
        cache: Cache,
        *,
        fresh_seconds: float,
        max_bytes: int = 96 * 2**20,
        note_unchecked: Callable[[], None] = lambda: None,
    ) -> None:
        """`max_bytes` bounds what is kept in memory.

        `note_unchecked` is called in the thread that locates an image set whose latest version AHI does not tell.
        """
        self._note_unchecked = note_unchecked
        self._fetchers = fetchers
        self._cache = cache
        self._files = PreparedFiles(fetchers, cache)
        self._deleted = DeletedImageSets(cache)
        self._fresh_seconds = fresh_seconds
        self._known: LRUCache[ImageSetKey, _Known] = LRUCache(max_bytes)

    def locate(self, keys: Sequence[ImageSetKey]) -> list[LocatedImageSet]:
        """The image sets that AHI still has, in the order of their keys; all are prepared at the same time."""
        located, errors = self.locate_readable(keys)
        if errors:
            raise next(iter(errors.values()))
        return located

    def locate_readable(
        self, keys: Sequence[ImageSetKey]
    ) -> tuple[list[LocatedImageSet], Mapping[ImageSetKey, ProxyError]]:
        """The same, and why some cannot be read, where it is about them alone; else the error is raised."""
        fresh = {key: known.located for key in keys if (known := self._fresh(key))}
        pending = {key: self._submit(key) for key in keys if key not in fresh}
        errors: dict[ImageSetKey, ProxyError] = {}
        for key in keys:
            self._cache.count_use(hit=key in fresh)
        try:
            for key in list(pending):
                try:
                    fresh[key] = self._received(key, pending[key].result())
                except NotFound:  # deleted behind the index
                    self._deleted.note(key)
                except (ProxyError, RuntimeError) as error:
                    errors[key] = reported_error(error)
                else:
                    self._deleted.forget(key)
                del pending[key]
                if key in errors and not affects_one_object(self._fetchers, errors[key], key):
                    raise errors[key]
        finally:
            for waiting in pending.values():
                waiting.abandon()
        return [fresh[key] for key in keys if key in fresh], errors

    def _fresh(self, key: ImageSetKey) -> _Known | None:
        known = self._known.get(key)
        return known if known and time.monotonic() - known.checked_at <= self._fresh_seconds else None

    def _submit(self, key: ImageSetKey) -> JobFuture[_Prepared]:
        return self._fetchers.submit(key.image_set_id, prepare_image_set, key)

    def _received(self, key: ImageSetKey, answer: _Prepared) -> LocatedImageSet:
        version, blob = answer
        properties = version.properties
        if version.unchecked:
            self._note_unchecked()
        known = self._known.get(key)
        if known and known.located.properties == properties:
            self._keep(known.located, version.checked_at)
            return known.located
        located = LocatedImageSet(key, properties, self._files.read(key, properties.version, blob))
        self._keep(located, version.checked_at)
        return located

    def _keep(self, located: LocatedImageSet, checked_at: float) -> None:
        self._known.put(located.key, _Known(located, checked_at), located.size_bytes)
