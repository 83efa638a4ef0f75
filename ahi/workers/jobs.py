"""What fetchers do for the proxy: prepare image sets, fetch and decode frames. Each keeps its result in the cache.

A job returns None when the result is in the cache under its name, and the bytes themselves where the cache cannot be
written. Who cannot read the cache asks for the bytes (`carry_frame`, `carry_version`).
"""

import logging
import time
import zlib
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial

from ahi.client.searches import AT_ONCE
from ahi.codecs.encoders import encodable, encode
from ahi.codecs.frames import PixelFormat, check_bound, decode, decode_reduced
from ahi.codecs.pixel_memory import SMALL_BYTES
from ahi.image_sets.image_set import Frame, ImageSet, ImageSetKey, ImageSetProperties, Instance, unreadable_metadata
from ahi.image_sets.prepared_reader import FORMAT
from ahi.image_sets.prepared_writer import encode_prepared
from ahi.image_sets.version_cache import Version
from ahi.workers.frame_check import frame_fault
from ahi.workers.pool import HELD_BYTES, WorkerContext
from dicomweb.errors import (
    NotAcceptable,
    NotFound,
    ProxyError,
    UnusableAnswer,
    UpstreamBroken,
    UpstreamBusy,
    UpstreamFailed,
)
from dicomweb.transfer_syntax import (
    HTJ2K_LOSSLESS,
    HTJ2K_LOSSLESS_RPCL,
    JPEG_2000_LOSSLESS,
    JPEG_BASELINE,
    JPEG_LS_LOSSLESS,
    RLE_LOSSLESS,
    FrameEncoding,
    transfer_syntax,
)

log = logging.getLogger(__name__)


_ENCODED_AS = {
    FrameEncoding.HTJ2K: HTJ2K_LOSSLESS_RPCL,
    FrameEncoding.JPEG_2000: JPEG_2000_LOSSLESS,
    FrameEncoding.JPEG_LS: JPEG_LS_LOSSLESS,
    FrameEncoding.RLE: RLE_LOSSLESS,
}

_DECODED_AGAIN = ".2"
"""In the names of decoded JPEG frames: a cache may hold those of an earlier decoder, some in other colours."""

_ENCODED_FORMS = {uid: form for form, uid in _ENCODED_AS.items()}


def lossless_encodings(transfer_syntax_uid: str, pixels: PixelFormat | None) -> Mapping[str, FrameEncoding]:
    """Transfer syntaxes that frames can be encoded in again, and the form of each; none if they were lossy once."""
    stored = transfer_syntax(transfer_syntax_uid)
    if pixels is None or stored.lossy or stored.video:
        return {}
    forms = {uid: _ENCODED_FORMS[uid] for uid in encodable(pixels) if uid != stored.uid}
    htj2k = FrameEncoding.STORED if stored.uid == HTJ2K_LOSSLESS_RPCL else forms.get(HTJ2K_LOSSLESS_RPCL)
    # HTJ2K by resolution is HTJ2K: what can be labelled with the narrower transfer syntax can be with the wider one.
    return {**forms, HTJ2K_LOSSLESS: htj2k} if htj2k and stored.uid != HTJ2K_LOSSLESS else forms


def has_encoding(transfer_syntax_uid: str, pixels: PixelFormat | None, form: FrameEncoding) -> bool:
    """Whether frames can be had in a form; that they can be had as native pixels is for the decoder to say."""
    return (
        form in (FrameEncoding.STORED, FrameEncoding.NATIVE)
        or form in lossless_encodings(transfer_syntax_uid, pixels).values()
    )


@dataclass(frozen=True)
class FrameReference:
    """All that is needed to fetch one frame and to decode it."""

    image_set: ImageSetKey
    frame: Frame
    transfer_syntax_uid: str
    pixels: PixelFormat | None

    def cache_name(self, form: FrameEncoding) -> str:
        """The bytes behind a frame ID never change, so its name is its ID."""
        again = _DECODED_AGAIN if form is FrameEncoding.NATIVE and self.transfer_syntax_uid == JPEG_BASELINE else ""
        return f"frames/{self.frame.frame_id[:2]}/{self.frame.frame_id}{again}.{form.value}"


def prepared_cache_name(key: ImageSetKey, version: str) -> str:
    """The name of a prepared image set."""
    return f"prepared/{key.datastore_id}/{key.image_set_id}.{version}.{FORMAT}"


@dataclass(frozen=True)
class BlockReference:
    """Where in a prepared image set a block of bytes is: as good as the bytes for who can read the cache."""

    image_set: ImageSetKey
    version: str
    start: int
    length_bytes: int


Block = bytes | BlockReference
"""The bytes themselves, or where they are."""


def read_block(context: WorkerContext, block: Block) -> bytes:
    """The bytes of a block; what is no longer in the cache is prepared again, once for all who ask."""
    if isinstance(block, bytes):
        return block
    key, version, start, length_bytes = block.image_set, block.version, block.start, block.length_bytes
    name = prepared_cache_name(key, version)
    kept = context.cache.piece(name, start, length_bytes)
    if kept is None:
        blob = context.flights.run(name, lambda: carry_version(context, key, version))
        kept = blob[start : start + length_bytes]
    return kept


def prepare_image_set(context: WorkerContext, key: ImageSetKey) -> tuple[Version, bytes | None]:
    """The latest version of an image set, prepared. NotFound when AHI no longer has it."""
    version = context.versions.latest(key, partial(_ask_version, context, key))
    try:
        return version, _prepared(context, key, version.properties.version)
    except NotFound as error:
        context.versions.forget(key)
        context.client.image_set(key)  # NotFound if it was deleted meanwhile
        raise UpstreamBroken("AWS HealthImaging has the image set, but not all of it at the moment") from error


def has_image_set(context: WorkerContext, key: ImageSetKey) -> bool:
    """Whether AHI has an image set now, whatever is remembered."""
    began = time.monotonic()
    try:
        context.versions.put(key, context.client.image_set(key), began)
    except NotFound:
        return False
    return True


def _ask_version(context: WorkerContext, key: ImageSetKey, patience_seconds: float | None) -> ImageSetProperties:
    return context.client.image_set(key, patience_seconds=patience_seconds)


def prepare_version(context: WorkerContext, key: ImageSetKey, version: str) -> tuple[ImageSetProperties, bytes | None]:
    """An earlier version of an image set, prepared. NotFound when AHI no longer has it."""
    return context.client.image_set(key, version), _prepared(context, key, version)


def carry_version(context: WorkerContext, key: ImageSetKey, version: str) -> bytes:
    """The bytes of a version, prepared, for a process that cannot read them in the cache."""
    kept = context.cache.read(prepared_cache_name(key, version))
    return _prepare(context, key, version)[0] if kept is None else kept


def _prepared(context: WorkerContext, key: ImageSetKey, version: str) -> bytes | None:
    if context.cache.use(prepared_cache_name(key, version)):
        return None
    blob, kept = _prepare(context, key, version)
    return None if kept else blob


def _prepare(context: WorkerContext, key: ImageSetKey, version: str) -> tuple[bytes, bool]:
    """The prepared form, and whether it is in the cache now."""

    def first_frame(instance: Instance, pixels: PixelFormat | None) -> bytes:
        uid = instance.stored_transfer_syntax_uid or HTJ2K_LOSSLESS_RPCL  # checked as JPEG 2000 is
        try:
            return _stored(context, FrameReference(key, instance.frames[0], uid, pixels))
        except UpstreamBroken as error:
            context.client.ping(key.datastore_id)  # raises where AHI has an error as a whole
            raise UpstreamFailed("AWS HealthImaging has an error with a frame") from error

    image_set = _image_set(context, key, version)
    with unreadable_metadata():
        blob = encode_prepared(image_set, first_frame)
    kept = context.cache.put(prepared_cache_name(key, version), blob)
    log.info(
        "image set prepared image_set=%s version=%s instances=%d",
        key.image_set_id,
        version,
        len(image_set.instances),
    )
    return blob, kept


def _image_set(context: WorkerContext, key: ImageSetKey, version: str) -> ImageSet:
    """The metadata of a version, which is had once more where it cannot be read."""
    max_bytes = context.bounds.metadata_bytes
    try:
        return ImageSet.from_metadata(context.client.image_set_metadata(key, version, max_bytes), max_bytes)
    except UnusableAnswer:
        log.warning("metadata cannot be read, fetching again image_set=%s version=%s", key.image_set_id, version)
    return ImageSet.from_metadata(context.client.image_set_metadata(key, version, max_bytes), max_bytes)


def fetch_frame(context: WorkerContext, reference: FrameReference, form: FrameEncoding) -> bytes | None:
    """A frame in one of its forms."""
    name = reference.cache_name(form)
    if context.cache.use(name):
        return None
    frame, kept = _fetch(context, reference, form, name)
    return None if kept else frame


def carry_frame(context: WorkerContext, reference: FrameReference, form: FrameEncoding) -> bytes:
    """The bytes of a frame in one of its forms, for a process that cannot read them in the cache."""
    name = reference.cache_name(form)
    kept = context.cache.read(name)
    return _fetch(context, reference, form, name)[0] if kept is None else kept


def _fetch(context: WorkerContext, reference: FrameReference, form: FrameEncoding, name: str) -> tuple[bytes, bool]:
    """The frame, and whether it is in the cache now."""
    if form is FrameEncoding.STORED:
        stored = _stored(context, reference)
        return stored, context.cache.use(name)
    with pixels_in_memory(context, reference):
        frame = native_frame(context, reference)
        if form is not FrameEncoding.NATIVE and reference.pixels:
            frame = encode(frame, _ENCODED_AS[form], reference.pixels)
        return frame, context.cache.put(name, frame)


@contextmanager
def pixels_in_memory(context: WorkerContext, reference: FrameReference) -> Iterator[None]:
    """Takes the memory for the pixels of a frame until they are done with, after its stored bytes are here.

    So nobody waits for AHI and keeps others from the memory meanwhile.
    """
    size_bytes = reference.pixels.array_bytes if reference.pixels else 0
    if size_bytes > SMALL_BYTES and not _is_here(context, reference):
        _stored(context, reference)
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
        check_bound(reference.pixels.frame_bytes, context.bounds.frame_bytes)
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
            check_bound(reference.pixels.frame_bytes, context.bounds.frame_bytes)
        held = native_frame(context, reference)
        if len(held) <= HELD_BYTES // 2:
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
    return decode_reduced(_stored(context, reference), reference.pixels, scale, context.bounds.frame_bytes)


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
    expected, stored = reference.frame.checksum, _stored(context, reference)
    syntax = transfer_syntax(reference.transfer_syntax_uid)
    kept = syntax.lossy or syntax.native  # as imported: the sum is that of the stored bytes
    proven = kept and expected is not None and zlib.crc32(stored) == expected
    if kept and expected is not None and not proven:
        return None
    try:
        native = decode(stored, syntax.uid, pixels, context.bounds.frame_bytes, context.pixel_memory)
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


def _stored(context: WorkerContext, reference: FrameReference) -> bytes:
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

    return context.flights.run(name, read_or_fetch)


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
        native = decode(stored, syntax.uid, pixels, context.bounds.frame_bytes, context.pixel_memory)
    except ProxyError:
        return False
    return zlib.crc32(native) == expected


def search_study(context: WorkerContext, datastore_id: str, study_instance_uid: str) -> tuple[ImageSetKey, ...]:
    """The image sets of a study in a data store, by AHI's own index; none where the right to ask is missing.

    UpstreamBusy where AHI does not answer, or was asked too often.
    """
    searches = context.searches
    known = searches.get(datastore_id, study_instance_uid)
    if known is not None:
        return known
    if not searches.may_call(datastore_id):
        raise UpstreamBusy("too many studies are being looked for", retry_after_seconds=1)
    try:
        found = context.client.search_study(datastore_id, study_instance_uid)
    except NotFound:  # no such data store any more
        found = []
    except UpstreamFailed as error:
        searches.refused(datastore_id, str(error))
        return ()
    except UpstreamBusy:
        searches.silent(datastore_id)
        raise
    searches.count(len(found) // AT_ONCE)
    searches.put(datastore_id, study_instance_uid, found)
    return tuple(found)


def ping(context: WorkerContext, datastore_id: str | None) -> None:
    """Nothing if AHI answers."""
    context.client.ping(datastore_id)
