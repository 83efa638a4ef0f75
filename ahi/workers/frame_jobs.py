"""Jobs on frames: fetch, check, decode, encode. Runs in the FrameFetcher processes."""

import logging
import zlib
from collections.abc import Iterator
from contextlib import contextmanager

from ahi.codecs.encoders import encode
from ahi.codecs.frames import PixelFormat, check_bound, decode, decode_reduced
from ahi.codecs.pixel_memory import SMALL_BYTES
from ahi.image_sets.frame_reference import ENCODED_AS, FrameReference
from ahi.workers.context import NATIVE_CACHE_BYTES, WorkerContext
from ahi.workers.frame_check import frame_fault
from dicomweb.errors import (
    NotAcceptable,
    ProxyError,
    UnusableAnswer,
    UpstreamBusy,
    UpstreamFailed,
)
from dicomweb.transfer_syntax import (
    FrameEncoding,
    transfer_syntax,
)

log = logging.getLogger(__name__)


def fetch_frame(context: WorkerContext, reference: FrameReference, form: FrameEncoding) -> bytes | None:
    """A frame in one of its forms."""
    name = reference.cache_name(form)
    if context.cache.use(name):
        return None
    frame, kept = _fetch(context, reference, form, name)
    return None if kept else frame


def read_frame(context: WorkerContext, reference: FrameReference, form: FrameEncoding) -> bytes:
    """The bytes of a frame in one of its forms, for a process that cannot read them in the cache."""
    name = reference.cache_name(form)
    kept = context.cache.read(name)
    return _fetch(context, reference, form, name)[0] if kept is None else kept


def _fetch(context: WorkerContext, reference: FrameReference, form: FrameEncoding, name: str) -> tuple[bytes, bool]:
    """The frame, and whether it is in the cache now."""
    if form is FrameEncoding.STORED:
        stored = stored_frame(context, reference)
        return stored, context.cache.use(name)
    with pixels_in_memory(context, reference):
        frame = native_frame(context, reference)
        if form is not FrameEncoding.NATIVE and reference.pixels:
            frame = encode(frame, ENCODED_AS[form], reference.pixels)
        return frame, context.cache.put(name, frame)


@contextmanager
def pixels_in_memory(context: WorkerContext, reference: FrameReference) -> Iterator[None]:
    """Takes the memory for the pixels of a frame until they are done with, after its stored bytes are here.

    So nobody waits for AHI and keeps others from the memory meanwhile.
    """
    size_bytes = reference.pixels.array_bytes if reference.pixels else 0
    if size_bytes > SMALL_BYTES and not _is_here(context, reference):
        stored_frame(context, reference)
    with context.pixel_memory.taking(size_bytes):
        yield


def _is_here(context: WorkerContext, reference: FrameReference) -> bool:
    """Whether a frame can be had without AHI, unless its file is evicted this moment."""
    if context.native_frame_cache.get(reference.frame.frame_id) is not None:
        return True
    return any(context.cache.use(reference.cache_name(form)) for form in (FrameEncoding.NATIVE, FrameEncoding.STORED))


def native_frame(context: WorkerContext, reference: FrameReference) -> bytes:
    """The native pixels of a frame, their checksum verified; they are not put into the cache."""
    kept = context.cache.read(reference.cache_name(FrameEncoding.NATIVE))
    if kept is not None:
        return kept
    if reference.pixels is None:
        raise UpstreamFailed("the pixels of a frame are not described in its metadata")
    if not transfer_syntax(reference.transfer_syntax_uid).native:  # those go out as they are stored
        check_bound(reference.pixels.frame_bytes, context.limits.frame_bytes)
    native = _decoded(context, reference, reference.pixels)
    if native is None:
        log.warning("frame checksum wrong, fetching again frame=%s", reference.frame.frame_id)
        context.cache.drop(reference.cache_name(FrameEncoding.STORED))
        native = _decoded(context, reference, reference.pixels)
    if native is None:
        context.cache.drop(reference.cache_name(FrameEncoding.STORED))
        log.error("frame checksum wrong twice frame=%s", reference.frame.frame_id)
        raise UnusableAnswer("the pixels of a frame do not have the checksum that its metadata states")
    return native


def cached_native_frame(context: WorkerContext, reference: FrameReference) -> bytes:
    """The same, held in memory for a while: who draws a frame soon draws it with another window."""
    held = context.native_frame_cache.get(reference.frame.frame_id)
    if held is None:
        if reference.pixels:
            check_bound(reference.pixels.frame_bytes, context.limits.frame_bytes)
        held = native_frame(context, reference)
        if len(held) <= NATIVE_CACHE_BYTES // 2:
            context.native_frame_cache.put(reference.frame.frame_id, held, len(held))
    return held


def reduced_frame(context: WorkerContext, reference: FrameReference, scale: float) -> tuple[bytes, PixelFormat] | None:
    """Native pixels of a lower resolution that still has `scale` pixels for one of the frame, and their layout.

    None where there is no such resolution. It does not matter whether the whole frame has been decoded already: the
    same picture must be the same bytes. A part of a frame has no checksum that could be verified; with
    VERIFY_FRAMES=decode the whole frame is decoded before, once.
    """
    media_type = transfer_syntax(reference.transfer_syntax_uid).media_type
    if media_type != "image/jphc" or reference.pixels is None:
        return None
    if _is_unverified(context, reference):
        native_frame(context, reference)
    return decode_reduced(stored_frame(context, reference), reference.pixels, scale, context.limits.frame_bytes)


def verify_frame(context: WorkerContext, reference: FrameReference) -> None:
    """Compare a stored frame in the cache with its checksum, by decoding it; one that does not have it is dropped."""
    name = reference.cache_name(FrameEncoding.STORED)
    if reference.pixels is None or not _is_unverified(context, reference) or not context.cache.use(name):
        return
    try:
        native = _decoded(context, reference, reference.pixels)
    except (NotAcceptable, UpstreamBusy):  # it is too large, or was evicted this moment and cannot be had
        return
    if native is None:
        context.cache.drop(name)
        log.error("frame dropped, its pixels do not have their checksum frame=%s", reference.frame.frame_id)


def _is_unverified(context: WorkerContext, reference: FrameReference) -> bool:
    """Whether a frame is still to be compared with its checksum, which is that of its decoded pixels."""
    syntax = transfer_syntax(reference.transfer_syntax_uid)
    summed = reference.frame.checksum is not None and not (syntax.lossy or syntax.native or syntax.video)
    return summed and reference.pixels is not None and context.verification.needs(reference.frame.frame_id)


def _decoded(context: WorkerContext, reference: FrameReference, pixels: PixelFormat) -> bytes | None:
    """Native pixels; None where they, or the stored bytes where those are what was summed, are not intact.

    NotAcceptable where the stored bytes are intact, and no decoder can read them.
    """
    expected, stored = reference.frame.checksum, stored_frame(context, reference)
    syntax = transfer_syntax(reference.transfer_syntax_uid)
    kept = syntax.lossy or syntax.native  # as imported: the sum is that of the stored bytes
    proven = kept and expected is not None and zlib.crc32(stored) == expected
    if kept and expected is not None and not proven:
        return None
    try:
        native = decode(stored, syntax.uid, pixels, context.limits.frame_bytes, context.pixel_memory)
    except UpstreamFailed as error:
        if kept and not syntax.native:  # it was imported like that
            raise NotAcceptable(f"{error}: ask for it as it is stored, with transfer-syntax=*") from error
        if proven:
            raise
        return None
    if proven or expected is None:
        return native
    if zlib.crc32(native) != expected:
        return None
    context.verification.is_sound(reference.frame.frame_id)
    return native


def stored_frame(context: WorkerContext, reference: FrameReference) -> bytes:
    """The stored bytes of a frame, from the cache or from AHI: one fetch serves all forms, however they overlap."""
    name = reference.cache_name(FrameEncoding.STORED)

    def read_or_fetch() -> bytes:
        kept = context.cache.read(name)  # looked for in the flight: one before it may have landed a moment ago
        if kept is not None:
            return kept
        stored = _fetched(context, reference)
        if context.cache.put(name, stored) and _is_unverified(context, reference):
            context.background.submit(verify_frame, reference)
        return stored

    return context.shared_runs.run(name, read_or_fetch)


def _fetched(context: WorkerContext, reference: FrameReference) -> bytes:
    """The stored bytes of a frame, which are one as far as its structure tells; had twice at most.

    Odd ones that come twice are right all the same where they decode to the pixels that the metadata sums up.
    """
    key, frame = reference.image_set, reference.frame
    fault, stored = None, b""
    for _ in range(2):
        stored = context.client.image_frame(key, frame.frame_id)
        fault = frame_fault(stored, frame, reference.transfer_syntax_uid, reference.pixels)
        if fault is None:
            return stored
        log.warning("frame is not what it should be frame=%s fault=%s", frame.frame_id, fault)
    if _decodes_right(context, stored, reference):
        log.warning("frame has the right pixels all the same frame=%s", frame.frame_id)
        return stored
    raise UnusableAnswer(f"AWS HealthImaging gave something else than the frame, twice: {fault}")


def _decodes_right(context: WorkerContext, stored: bytes, reference: FrameReference) -> bool:
    """Whether a frame decodes to pixels that have the checksum of the metadata, however odd its structure is."""
    syntax, pixels, expected = (
        transfer_syntax(reference.transfer_syntax_uid),
        reference.pixels,
        reference.frame.checksum,
    )
    if pixels is None or expected is None or syntax.lossy or syntax.native:
        return False
    try:
        native = decode(stored, syntax.uid, pixels, context.limits.frame_bytes, context.pixel_memory)
    except ProxyError:
        return False
    return zlib.crc32(native) == expected
