"""Frames."""

from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial

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

_AHEAD = 8  # frames asked for while an earlier one is being sent


_PIECE_BYTES = 2**16  # a piece of a file keeps it open until it is sent, which pays from here on


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
        kept = self.cached(reference, form)
        return next(self.bodies([reference], form)) if kept is None else kept

    def cached(self, reference: FrameReference, form: FrameEncoding) -> Chunk | None:
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

    def fetch_each(self, wanted: Iterable[FrameRequest]) -> Iterator[FrameResult]:
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

    def affects_one_object(self, error: ProxyError, reference: FrameReference) -> bool:
        """Whether an error is about this frame alone."""
        return affects_one_object(self._fetchers, error, reference.image_set)

    def fetch(self, references: Iterable[FrameReference], form: FrameEncoding) -> int:
        """Have the frames in the cache, a few at a time; how many there are. Those that cannot be had do no harm."""
        count = 0
        for tried in self.fetch_each(FrameRequest(0, reference, form) for reference in references):
            if tried.error is None:
                count += 1
            elif not self.affects_one_object(tried.error, tried.wanted.reference):
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
        return self._fetchers.run(reference.frame.frame_id, read_frame, reference, form)


def _tried(wanted: FrameRequest, pending: JobFuture[bytes | None] | None) -> FrameResult:
    try:
        return FrameResult(wanted, None, pending.result() if pending else None)
    except (ProxyError, RuntimeError) as error:
        return FrameResult(wanted, reported_error(error), None)
