"""Frames by reference, from the cache or through the FrameFetchers. Runs in the web and prefetch processes."""

from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass
from functools import partial
from typing import TypeVar

from ahi.cache.cache import Cache
from ahi.image_sets.frame_reference import FrameReference
from ahi.image_sets.image_set import ImageSetKey
from ahi.image_sets.prepared_reader import PreparedInstance
from ahi.retrieval.located_image_sets import LocatedImageSet
from ahi.retrieval.object_errors import affects_one_object, reported_error
from ahi.workers.frame_jobs import fetch_frame, read_frame
from ahi.workers.pool import FetcherPool, JobFuture
from dicomweb.errors import ProxyError
from dicomweb.transfer_syntax import FrameEncoding, transfer_syntax
from runtime.file_piece import Chunk, FilePiece

T = TypeVar("T")

_CONCURRENT_FETCHES = 8  # frames that are fetched while an earlier one is used
_PIECE_BYTES = 2**16  # from this size on, a file is kept open until it is sent instead of being read

_FrameFuture = JobFuture[bytes | None] | None
"""The fetch of a frame; None where the cache has it."""


def reference_to(key: ImageSetKey, instance: PreparedInstance, frame_number: int) -> FrameReference:
    """Return the reference to a frame of an instance. Frame numbers start at 1."""
    return FrameReference(key, instance.frames[frame_number - 1], instance.transfer_syntax_uid, instance.pixels)


def references_of(image_set: LocatedImageSet, encoding: FrameEncoding) -> Iterator[FrameReference]:
    """Yield all frames of an image set in display order that can be delivered in this encoding."""
    for instance in image_set.prepared.instances:
        if encoding is FrameEncoding.NATIVE and (
            instance.pixels is None or transfer_syntax(instance.transfer_syntax_uid).video
        ):
            continue
        for number in range(1, len(instance.frames) + 1):
            yield reference_to(image_set.key, instance, number)


@dataclass(frozen=True)
class FrameRequest:
    """A frame of the object at `index`; `counted` where the use of the cache has already been counted."""

    index: int
    reference: FrameReference
    encoding: FrameEncoding
    counted: bool = False


@dataclass(frozen=True)
class FrameResult:
    """The outcome of a request: an error or None. `content` has the bytes where the cache does not keep them."""

    request: FrameRequest
    error: ProxyError | None
    content: bytes | None


class Frames:
    """Frames by reference and encoding. Safe to share between threads."""

    def __init__(self, fetchers: FetcherPool, cache: Cache) -> None:
        self._fetchers = fetchers
        self._cache = cache

    def read(self, reference: FrameReference, encoding: FrameEncoding) -> bytes:
        """Return the bytes of one frame."""
        return bytes(next(self.read_chunks([reference], encoding)))

    def read_chunk(self, reference: FrameReference, encoding: FrameEncoding) -> Chunk:
        """Return one frame: its bytes, or a piece of its file where it is large."""
        cached = self.cached_chunk(reference, encoding)
        return next(self.read_chunks([reference], encoding)) if cached is None else cached

    def cached_chunk(self, reference: FrameReference, encoding: FrameEncoding) -> Chunk | None:
        """Return one frame if it is in the cache. Nothing is fetched."""
        chunk = self._open(reference, encoding)
        if chunk is not None:
            self._cache.count_use(hit=True)
        return chunk

    def read_chunks(self, references: Iterable[FrameReference], encoding: FrameEncoding) -> Iterator[Chunk]:
        """Yield the frames in their order. The next ones are fetched while one is used."""
        fetches = _fetched_ahead(references, lambda reference: self._submit(reference, encoding))
        with closing(fetches):
            for reference, future in fetches:
                yield self._receive(reference, encoding, future)

    def fetch_each(self, requests: Iterable[FrameRequest]) -> Iterator[FrameResult]:
        """Fetch frames into the cache, and yield the results in their order. The next ones are fetched meanwhile.

        A frame that cannot be fetched is a result, and the others go on.
        """
        fetches = _fetched_ahead(
            requests,
            lambda request: self._submit(request.reference, request.encoding, counted=request.counted),
        )
        with closing(fetches):
            for request, future in fetches:
                yield _result(request, future)

    def chunk_of(self, result: FrameResult) -> Chunk:
        """Return the frame of a result without an error."""
        reference, encoding = result.request.reference, result.request.encoding
        chunk = self._open(reference, encoding) if result.content is None else result.content
        return self._read_in_fetcher(reference, encoding) if chunk is None else chunk

    def affects_one_object(self, error: ProxyError, reference: FrameReference) -> bool:
        """Whether an error is about this frame alone, and no outage."""
        return affects_one_object(self._fetchers, error, reference.image_set)

    def fetch_all(self, references: Iterable[FrameReference], encoding: FrameEncoding) -> int:
        """Fetch frames into the cache, and return their number. Frames that cannot be fetched are skipped.

        The error of an outage is raised.
        """
        count = 0
        for result in self.fetch_each(FrameRequest(0, reference, encoding) for reference in references):
            if result.error is None:
                count += 1
            elif not self.affects_one_object(result.error, result.request.reference):
                raise result.error
        return count

    def has(self, reference: FrameReference, encoding: FrameEncoding) -> bool:
        """Whether a frame is in the cache."""
        return self._cache.has(reference.cache_name(encoding))

    def sizes(self, references: Sequence[FrameReference], encoding: FrameEncoding) -> list[int]:
        """Return the length of each frame in bytes. The frames are fetched into the cache."""
        return [len(chunk) for chunk in self.read_chunks(references, encoding)]

    def cached_sizes(self, references: Sequence[FrameReference], encoding: FrameEncoding) -> list[int] | None:
        """Return the length of each frame in bytes if all are in the cache. Nothing is fetched."""
        sizes = []
        for reference in references:
            size_bytes = self.cached_size(reference, encoding)
            if size_bytes is None:
                return None
            sizes.append(size_bytes)
        return sizes

    def size(self, reference: FrameReference, encoding: FrameEncoding) -> int:
        """Return the length of one frame in bytes. The frame is fetched into the cache."""
        size_bytes = self.cached_size(reference, encoding)
        return len(self.read(reference, encoding)) if size_bytes is None else size_bytes

    def cached_size(self, reference: FrameReference, encoding: FrameEncoding) -> int | None:
        """Return the length of one frame in bytes if it is in the cache. Nothing is fetched."""
        return self._cache.length(reference.cache_name(encoding))

    def read_range(self, reference: FrameReference, encoding: FrameEncoding, start: int, stop: int) -> Iterator[Chunk]:
        """Yield the bytes of one frame, or video, from `start` to before `stop`."""
        whole = self.read_chunk(reference, encoding)
        if isinstance(whole, bytes):
            yield whole[start:stop]
        else:
            piece = whole.cut(start, stop)
            yield piece if len(piece) >= _PIECE_BYTES else bytes(piece)

    def _submit(self, reference: FrameReference, encoding: FrameEncoding, *, counted: bool = False) -> _FrameFuture:
        hit = self._cache.use(reference.cache_name(encoding))
        if not counted:
            self._cache.count_use(hit=hit)
        if hit:
            return None
        return self._fetchers.submit(reference.frame.frame_id, fetch_frame, reference, encoding)

    def _receive(self, reference: FrameReference, encoding: FrameEncoding, future: _FrameFuture) -> Chunk:
        chunk: Chunk | None = future.result() if future else None
        if chunk is None:
            chunk = self._open(reference, encoding)
        # None: just evicted, or this process cannot read the cache.
        return self._read_in_fetcher(reference, encoding) if chunk is None else chunk

    def _open(self, reference: FrameReference, encoding: FrameEncoding) -> Chunk | None:
        chunk = self._cache.chunk(reference.cache_name(encoding), _PIECE_BYTES)
        if isinstance(chunk, FilePiece):
            chunk.again = partial(self._read_in_fetcher, reference, encoding)
        return chunk

    def _read_in_fetcher(self, reference: FrameReference, encoding: FrameEncoding) -> bytes:
        return self._fetchers.run(reference.frame.frame_id, read_frame, reference, encoding)


def _fetched_ahead(
    items: Iterable[T], submit: Callable[[T], _FrameFuture]
) -> Generator[tuple[T, _FrameFuture], None, None]:
    """Yield items with their futures, in their order; 8 more are submitted ahead. Unused futures are abandoned."""
    waiting: deque[tuple[T, _FrameFuture]] = deque()
    remaining = iter(items)
    try:
        while True:
            for item in remaining:
                waiting.append((item, submit(item)))
                if len(waiting) > _CONCURRENT_FETCHES:
                    break
            if not waiting:
                return
            yield waiting.popleft()
    finally:
        for _, unused in waiting:
            if unused:
                unused.abandon()


def _result(request: FrameRequest, future: _FrameFuture) -> FrameResult:
    try:
        return FrameResult(request, None, future.result() if future else None)
    except (ProxyError, RuntimeError) as error:
        return FrameResult(request, reported_error(error), None)
