"""Jobs that fetch, check, decode and encode frames. Runs in the FrameFetcher processes.

The result of a job goes to the cache under its name. A job returns None when the cache holds the result, and the bytes
where the cache cannot be written. A process that cannot read the cache runs `read_frame`.
"""

import logging
import zlib
from collections.abc import Iterator
from contextlib import contextmanager

from ahi.codecs.encoders import encode
from ahi.codecs.frames import check_bound, decode
from ahi.codecs.pixel_format import PixelFormat
from ahi.codecs.pixel_memory import SMALL_BYTES
from ahi.codecs.resolutions import decode_reduced
from ahi.image_sets.frame_reference import TRANSFER_SYNTAX_OF, FrameReference
from ahi.workers.context import NATIVE_CACHE_BYTES, WorkerContext
from ahi.workers.frame_check import frame_fault
from ahi.workers.results import CachedBytes
from dicomweb.errors import NotAcceptable, ProxyError, UnusableAnswer, UpstreamBusy, UpstreamFailed
from dicomweb.transfer_syntax import FrameEncoding, transfer_syntax

log = logging.getLogger(__name__)


def fetch_frame(context: WorkerContext, reference: FrameReference, encoding: FrameEncoding) -> bytes | None:
    """Put a frame in one encoding into the cache; return its bytes only if the cache cannot keep them."""
    if context.cache.use(reference.cache_name(encoding)):
        return None
    return _make_frame(context, reference, encoding).unless_cached


def read_frame(context: WorkerContext, reference: FrameReference, encoding: FrameEncoding) -> bytes:
    """Return the bytes of a frame in one encoding, for a process that cannot read them in the cache."""
    cached = context.cache.read(reference.cache_name(encoding))
    return _make_frame(context, reference, encoding).content if cached is None else cached


def _make_frame(context: WorkerContext, reference: FrameReference, encoding: FrameEncoding) -> CachedBytes:
    name = reference.cache_name(encoding)
    if encoding is FrameEncoding.STORED:
        stored = stored_frame(context, reference)
        return CachedBytes(stored, context.cache.use(name))
    with pixels_in_memory(context, reference):
        frame = native_frame(context, reference)
        if encoding is not FrameEncoding.NATIVE and reference.pixels:
            frame = encode(frame, TRANSFER_SYNTAX_OF[encoding], reference.pixels)
        return CachedBytes(frame, context.cache.put(name, frame))


@contextmanager
def pixels_in_memory(context: WorkerContext, reference: FrameReference) -> Iterator[None]:
    """Take the memory for the pixels of a frame, until the block ends.

    A large frame is fetched before, so that no thread holds memory while it waits for AHI. UpstreamBusy where other
    threads do not give back enough memory in time.
    """
    size_bytes = reference.pixels.array_bytes if reference.pixels else 0
    if size_bytes > SMALL_BYTES and not _is_cached(context, reference):
        stored_frame(context, reference)
    with context.pixel_memory.taking(size_bytes):
        yield


def _is_cached(context: WorkerContext, reference: FrameReference) -> bool:
    """Whether a frame is available without AHI, unless its file is evicted at this moment."""
    if context.native_frame_cache.get(reference.frame.frame_id) is not None:
        return True
    return any(
        context.cache.use(reference.cache_name(encoding)) for encoding in (FrameEncoding.NATIVE, FrameEncoding.STORED)
    )


def native_frame(context: WorkerContext, reference: FrameReference) -> bytes:
    """Return the native pixels of a frame, and do not put them into the cache.

    They are compared with their checksum, where there is one. A frame with a wrong checksum is fetched
    once more. UnusableAnswer where it is wrong again.
    """
    cached = context.cache.read(reference.cache_name(FrameEncoding.NATIVE))
    if cached is not None:
        return cached
    if reference.pixels is None:
        raise UpstreamFailed("the pixels of a frame are not described in its metadata")
    if not transfer_syntax(reference.transfer_syntax_uid).native:  # native frames are delivered as stored
        check_bound(reference.pixels.frame_bytes, context.limits.frame_bytes)
    native = _decode_intact(context, reference, reference.pixels)
    if native is None:
        log.warning("frame checksum wrong, fetching again frame=%s", reference.frame.frame_id)
        context.cache.drop(reference.cache_name(FrameEncoding.STORED))
        native = _decode_intact(context, reference, reference.pixels)
    if native is None:
        context.cache.drop(reference.cache_name(FrameEncoding.STORED))
        log.error("frame checksum wrong twice frame=%s", reference.frame.frame_id)
        raise UnusableAnswer("the pixels of a frame do not have the checksum that its metadata states")
    return native


def cached_native_frame(context: WorkerContext, reference: FrameReference) -> bytes:
    """Return native pixels, kept in memory: a client often renders a frame again with another window."""
    native = context.native_frame_cache.get(reference.frame.frame_id)
    if native is None:
        if reference.pixels:
            check_bound(reference.pixels.frame_bytes, context.limits.frame_bytes)
        native = native_frame(context, reference)
        if len(native) <= NATIVE_CACHE_BYTES // 2:
            context.native_frame_cache.put(reference.frame.frame_id, native, len(native))
    return native


def reduced_frame(context: WorkerContext, reference: FrameReference, scale: float) -> tuple[bytes, PixelFormat] | None:
    """Return native pixels of the lowest resolution with `scale` pixels for one of the frame, and their format.

    None where there is no such resolution. The result does not depend on whether the whole frame is cached: equal
    requests must give equal bytes. A lower resolution has no checksum. With VERIFY_FRAMES=decode the whole frame is
    decoded once before.
    """
    media_type = transfer_syntax(reference.transfer_syntax_uid).media_type
    if media_type != "image/jphc" or reference.pixels is None:
        return None
    if _is_unverified(context, reference):
        native_frame(context, reference)
    return decode_reduced(stored_frame(context, reference), reference.pixels, scale, context.limits.frame_bytes)


def verify_frame(context: WorkerContext, reference: FrameReference) -> None:
    """Decode a stored frame in the cache to compare it with its checksum; drop it where that is wrong."""
    name = reference.cache_name(FrameEncoding.STORED)
    if reference.pixels is None or not _is_unverified(context, reference) or not context.cache.use(name):
        return
    try:
        native = _decode_intact(context, reference, reference.pixels)
    except (NotAcceptable, UpstreamBusy):  # too large; or just evicted, and AHI is busy
        return
    if native is None:
        context.cache.drop(name)
        log.error("frame dropped, its pixels do not have their checksum frame=%s", reference.frame.frame_id)


def _is_unverified(context: WorkerContext, reference: FrameReference) -> bool:
    """Whether the pixels of a frame have still to be compared with their checksum."""
    syntax = transfer_syntax(reference.transfer_syntax_uid)
    has_pixel_checksum = reference.frame.checksum is not None and not (syntax.lossy or syntax.native or syntax.video)
    return has_pixel_checksum and reference.pixels is not None and context.verification.needs(reference.frame.frame_id)


def _decode_intact(context: WorkerContext, reference: FrameReference, pixels: PixelFormat) -> bytes | None:
    """Decode a frame; None where its checksum is wrong, or it cannot be decoded and has no proof that it is intact.

    The checksum is that of the pixels, or of the stored bytes where AHI keeps a frame as it was imported. NotAcceptable
    where the stored bytes are intact and no decoder can read them.
    """
    expected, stored = reference.frame.checksum, stored_frame(context, reference)
    syntax = transfer_syntax(reference.transfer_syntax_uid)
    is_as_imported = syntax.lossy or syntax.native
    is_proven = is_as_imported and expected is not None and zlib.crc32(stored) == expected
    if is_as_imported and expected is not None and not is_proven:
        return None
    try:
        native = decode(stored, syntax.uid, pixels, context.limits.frame_bytes, context.pixel_memory)
    except UpstreamFailed as error:
        if is_as_imported and not syntax.native:
            raise NotAcceptable(f"{error}: ask for it as it is stored, with transfer-syntax=*") from error
        if is_proven:
            raise
        return None
    if is_proven or expected is None:
        return native
    if zlib.crc32(native) != expected:
        return None
    context.verification.note_verified(reference.frame.frame_id)
    return native


def stored_frame(context: WorkerContext, reference: FrameReference) -> bytes:
    """Return the stored bytes of a frame, from the cache or from AHI. One fetch serves all encodings."""
    name = reference.cache_name(FrameEncoding.STORED)

    def read_or_fetch() -> bytes:
        cached = context.cache.read(name)  # looked up within the run: the run before may have just ended
        if cached is not None:
            return cached
        stored = _fetch_checked(context, reference)
        if context.cache.put(name, stored) and _is_unverified(context, reference):
            context.background.submit(verify_frame, reference)
        return stored

    return context.shared_runs.run(name, read_or_fetch)


def _fetch_checked(context: WorkerContext, reference: FrameReference) -> bytes:
    """Fetch a frame whose structure is right. One that is wrong is fetched once more.

    A frame that is wrong twice is still right where its pixels have their checksum. Otherwise UnusableAnswer.
    """
    key, frame = reference.image_set, reference.frame
    fault, stored = None, b""
    for _ in range(2):
        stored = context.client.image_frame(key, frame.frame_id)
        fault = frame_fault(stored, frame, reference.transfer_syntax_uid, reference.pixels)
        if fault is None:
            return stored
        log.warning("frame is not what it should be frame=%s fault=%s", frame.frame_id, fault)
    if _has_right_pixels(context, stored, reference):
        log.warning("frame has the right pixels all the same frame=%s", frame.frame_id)
        return stored
    raise UnusableAnswer(f"AWS HealthImaging gave something else than the frame, twice: {fault}")


def _has_right_pixels(context: WorkerContext, stored: bytes, reference: FrameReference) -> bool:
    """Whether a frame with a wrong structure decodes to pixels that have their checksum."""
    syntax, pixels = transfer_syntax(reference.transfer_syntax_uid), reference.pixels
    expected = reference.frame.checksum
    if pixels is None or expected is None or syntax.lossy or syntax.native:
        return False
    try:
        native = decode(stored, syntax.uid, pixels, context.limits.frame_bytes, context.pixel_memory)
    except ProxyError:
        return False
    return zlib.crc32(native) == expected
