"""Image sets and frames as the web process sees them: what is in the cache is used, the rest is had from fetchers."""

import json
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property, partial

from ahi.cache.cache import Cache
from ahi.cache.file_view import FileView
from ahi.cache.lru import LRUCache
from ahi.image_sets.deleted import DeletedImageSets
from ahi.image_sets.image_set import ImageSetKey, ImageSetProperties
from ahi.image_sets.prepared_reader import PreparedImageSet, PreparedInstance
from ahi.image_sets.version_cache import Version
from ahi.workers.jobs import (
    FrameReference,
    carry_frame,
    carry_version,
    fetch_frame,
    ping,
    prepare_image_set,
    prepare_version,
    prepared_cache_name,
)
from ahi.workers.pool import FetcherPool, JobFuture
from dicomweb.dicom_json import DataSet
from dicomweb.errors import NotFound, ProxyError, UpstreamBroken, UpstreamBusy, UpstreamFailed, UpstreamRefused
from dicomweb.levels import LEVELS
from dicomweb.transfer_syntax import FrameEncoding, transfer_syntax
from runtime.file_piece import Chunk, FilePiece

_INSTANCE_BYTES = 4096  # what one instance of an image set takes in memory, about
_HELD_BYTES = 2**22  # a prepared file of more is read piece by piece
_OPEN_FILE_BYTES = 2**20  # what such a file counts as: there may be so many open ones
_AHEAD = 8  # frames asked for while an earlier one is being sent
_PIECE_BYTES = 2**16  # a piece of a file keeps it open until it is sent, which pays from here on

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
    def upper(self) -> DataSet:
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
        return self.fetchers.run(key.image_set_id, carry_version, key, version)


def reference_to(key: ImageSetKey, instance: PreparedInstance, frame_number: int) -> FrameReference:
    """What is needed to fetch a frame of an instance, counted from 1."""
    return FrameReference(key, instance.frames[frame_number - 1], instance.transfer_syntax_uid, instance.pixels)


def references_of(one: LocatedImageSet, form: FrameEncoding) -> Iterator[FrameReference]:
    """All frames of an image set in display order, as far as they can be had in this form."""
    for instance in one.prepared.instances:
        if form is FrameEncoding.NATIVE and (
            instance.pixels is None or transfer_syntax(instance.transfer_syntax_uid).video
        ):
            continue
        for number in range(1, len(instance.frames) + 1):
            yield reference_to(one.key, instance, number)


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
        located, errors = self.tried(keys)
        if errors:
            raise next(iter(errors.values()))
        return located

    def tried(self, keys: Sequence[ImageSetKey]) -> tuple[list[LocatedImageSet], Mapping[ImageSetKey, ProxyError]]:
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
                    errors[key] = about_object(error)
                else:
                    self._deleted.forget(key)
                del pending[key]
                if key in errors and not is_alone(self._fetchers, errors[key], key):
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


@dataclass(frozen=True)
class FrameRequest:
    """A frame that is to be had for an object; `counted` where the use of the cache has been counted already."""

    index: int
    reference: FrameReference
    form: FrameEncoding
    counted: bool = False


@dataclass(frozen=True)
class FrameResult:
    """What became of it: why it cannot be had, or nothing. `blob` is its bytes where the cache does not keep them."""

    wanted: FrameRequest
    error: ProxyError | None
    blob: bytes | None


class Frames:
    """Frames by reference, from the cache or through the fetchers."""

    def __init__(self, fetchers: FetcherPool, cache: Cache) -> None:
        self._fetchers = fetchers
        self._cache = cache

    def read(self, reference: FrameReference, form: FrameEncoding) -> bytes:
        """The bytes of one frame."""
        return next(self.each([reference], form))

    def body(self, reference: FrameReference, form: FrameEncoding) -> Chunk:
        """The bytes of one frame; where they are many, as a piece of their file."""
        kept = self.kept(reference, form)
        return next(self.bodies([reference], form)) if kept is None else kept

    def kept(self, reference: FrameReference, form: FrameEncoding) -> Chunk | None:
        """The same, if it is in the cache; nothing is fetched."""
        kept = self._kept(reference, form)
        if kept is not None:
            self._cache.count_use(hit=True)
        return kept

    def each(self, references: Iterable[FrameReference], form: FrameEncoding) -> Iterator[bytes]:
        """The bytes of the frames in their order; some later ones are already fetched while one is being used."""
        return map(bytes, self.bodies(references, form))

    def bodies(self, references: Iterable[FrameReference], form: FrameEncoding) -> Iterator[Chunk]:
        """The same, where they are many as pieces of their files."""
        waiting: deque[tuple[FrameReference, JobFuture[bytes | None] | None]] = deque()
        ahead = iter(references)
        try:
            while True:
                for reference in ahead:
                    waiting.append((reference, self._submit(reference, form)))
                    if len(waiting) > _AHEAD:
                        break
                if not waiting:
                    return
                reference, pending = waiting.popleft()
                yield self._received(reference, form, pending)
        finally:
            for _, unused in waiting:
                if unused:
                    unused.abandon()

    def tried(self, wanted: Iterable[FrameRequest]) -> Iterator[FrameResult]:
        """What becomes of the frames, in their order; some later ones are already fetched meanwhile.

        One that cannot be had is a result, and does not stop the others. They are in the cache then, if they can be.
        """
        waiting: deque[tuple[FrameRequest, JobFuture[bytes | None] | None]] = deque()
        ahead = iter(wanted)
        try:
            while True:
                for one in ahead:
                    waiting.append((one, self._submit(one.reference, one.form, counted=one.counted)))
                    if len(waiting) > _AHEAD:
                        break
                if not waiting:
                    return
                yield _tried(*waiting.popleft())
        finally:
            for _, unused in waiting:
                if unused:
                    unused.abandon()

    def body_of(self, tried: FrameResult) -> Chunk:
        """The bytes of a frame that could be had."""
        reference, form = tried.wanted.reference, tried.wanted.form
        body = self._kept(reference, form) if tried.blob is None else tried.blob
        return self._carried(reference, form) if body is None else body

    def is_alone(self, error: ProxyError, reference: FrameReference) -> bool:
        """Whether an error is about this frame alone."""
        return is_alone(self._fetchers, error, reference.image_set)

    def fetch(self, references: Iterable[FrameReference], form: FrameEncoding) -> int:
        """Have the frames in the cache, a few at a time; how many there are. Those that cannot be had do no harm."""
        count = 0
        for tried in self.tried(FrameRequest(0, reference, form) for reference in references):
            if tried.error is None:
                count += 1
            elif not self.is_alone(tried.error, tried.wanted.reference):
                raise tried.error
        return count

    def has(self, reference: FrameReference, form: FrameEncoding) -> bool:
        """Whether a frame is in the cache."""
        return self._cache.has(reference.cache_name(form))

    def sizes(self, references: Sequence[FrameReference], form: FrameEncoding) -> list[int]:
        """How many bytes each frame has; they are in the cache then."""
        return [len(frame) for frame in self.bodies(references, form)]

    def known_sizes(self, references: Sequence[FrameReference], form: FrameEncoding) -> list[int] | None:
        """How many bytes each frame has, if all of them are in the cache; nothing is fetched."""
        sizes = []
        for reference in references:
            size_bytes = self.known_size(reference, form)
            if size_bytes is None:
                return None
            sizes.append(size_bytes)
        return sizes

    def size(self, reference: FrameReference, form: FrameEncoding) -> int:
        """How many bytes one frame has; it is in the cache then."""
        known = self.known_size(reference, form)
        return len(self.read(reference, form)) if known is None else known

    def known_size(self, reference: FrameReference, form: FrameEncoding) -> int | None:
        """How many bytes one frame has, if it is in the cache; nothing is fetched."""
        return self._cache.length(reference.cache_name(form))

    def chunks(self, reference: FrameReference, form: FrameEncoding, start: int, stop: int) -> Iterator[Chunk]:
        """The bytes of one frame, or video, from `start` to before `stop`."""
        whole = self.body(reference, form)
        if isinstance(whole, bytes):
            yield whole[start:stop]
        else:
            piece = whole.cut(start, stop)
            yield piece if len(piece) >= _PIECE_BYTES else bytes(piece)

    def _submit(
        self, reference: FrameReference, form: FrameEncoding, *, counted: bool = False
    ) -> JobFuture[bytes | None] | None:
        """None where it is in the cache already."""
        hit = self._cache.use(reference.cache_name(form))
        if not counted:
            self._cache.count_use(hit=hit)
        if hit:
            return None
        return self._fetchers.submit(reference.frame.frame_id, fetch_frame, reference, form)

    def _received(
        self, reference: FrameReference, form: FrameEncoding, pending: JobFuture[bytes | None] | None
    ) -> Chunk:
        body: Chunk | None = pending.result() if pending else None
        if body is None:
            body = self._kept(reference, form)
        # Evicted between two moments, or this process cannot read the cache.
        return self._carried(reference, form) if body is None else body

    def _kept(self, reference: FrameReference, form: FrameEncoding) -> Chunk | None:
        chunk = self._cache.chunk(reference.cache_name(form), _PIECE_BYTES)
        if isinstance(chunk, FilePiece):
            chunk.again = partial(self._carried, reference, form)
        return chunk

    def _carried(self, reference: FrameReference, form: FrameEncoding) -> bytes:
        return self._fetchers.run(reference.frame.frame_id, carry_frame, reference, form)


def _tried(wanted: FrameRequest, pending: JobFuture[bytes | None] | None) -> FrameResult:
    try:
        return FrameResult(wanted, None, pending.result() if pending else None)
    except (ProxyError, RuntimeError) as error:
        return FrameResult(wanted, about_object(error), None)


def about_object(error: ProxyError | RuntimeError) -> ProxyError:
    """What is told of an object whose job failed; of what nobody foresaw the log of the fetcher has the traceback."""
    if isinstance(error, ProxyError):
        return error
    return UpstreamFailed("it cannot be read; the log of the service says more")


MOST_BROKEN = 3
"""Objects one after another that AHI has an error with: then it has one as a whole."""


def is_alone(fetchers: FetcherPool, error: ProxyError, key: ImageSetKey) -> bool:
    """Whether an error is about one image set, or a frame of it, and AHI answers otherwise.

    It is asked where that is not clear.
    """
    if isinstance(error, UpstreamBroken):
        try:
            ping_ahi(fetchers, key.datastore_id)
        except ProxyError:
            return False
        return True
    return not isinstance(error, UpstreamBusy | UpstreamRefused)


class EncodedAnswers:
    """Answers that took a fetcher some work: each is made once and kept in the cache."""

    def __init__(self, cache: Cache) -> None:
        self._cache = cache

    def read(self, key: str, encode: Callable[[str], bytes]) -> bytes:
        """The answer; `encode` has a fetcher make it and keep it under the name that it is given.

        `key` is of harmless characters and changes with the bytes.
        """
        name = f"encoded/{key[:2]}/{key}"
        kept = self._cache.read(name)
        self._cache.count_use(hit=kept is not None)
        return kept or encode(name)


def ping_ahi(fetchers: FetcherPool, datastore_id: str | None) -> None:
    """Nothing if AHI answers a fetcher, else UpstreamBusy or UpstreamFailed."""
    fetchers.run("ping", ping, datastore_id)
