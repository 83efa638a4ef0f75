"""DICOM files (PS3.10 Section 7.1) from prepared instances: nothing is encoded per request, blocks are put together."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from ahi.codecs import PixelFormat
from ahi.jobs import Form
from ahi.store import Frames
from dicomweb.explicit_le import encode_element, encode_head
from dicomweb.transfer_syntax import EXPLICIT_VR_LITTLE_ENDIAN, transfer_syntax
from wado.locate import LocatedInstance
from wado.representation import Offer

IMPLEMENTATION_CLASS_UID = "1.2.826.0.1.3680043.8.498.45787841905188114249328053"
IMPLEMENTATION_VERSION_NAME = "AHI_DICOMWEB_1"

_PIXEL_DATA = "7FE00010"
_UNDEFINED = 0xFFFFFFFF
_ITEM = b"\xfe\xff\x00\xe0"
_SEQUENCE_END = b"\xfe\xff\xdd\xe0\x00\x00\x00\x00"


@dataclass(frozen=True)
class Part10:
    """One file: how long it is, and its bytes as they come."""

    instance: LocatedInstance
    frames: Frames
    before: bytes
    pixel_bytes: int
    after: bytes
    form: Form

    @property
    def length_bytes(self) -> int:
        """The size of the whole file."""
        return len(self.before) + self.pixel_bytes + len(self.after)

    def chunks(self) -> Iterator[bytes]:
        """The file, begun when its first frame is there; later ones are fetched while earlier ones are being sent."""
        pixels = self._pixels()
        first = next(pixels, b"")
        yield self.before
        yield first
        yield from pixels
        yield self.after

    def _pixels(self) -> Iterator[bytes]:
        fetched = self.frames.each(self.instance.frames, self.form)
        if self.form is Form.STORED and self.instance.prepared.frames:
            return _encapsulated(fetched)
        return _native(fetched, self.instance.prepared.pixels, self.pixel_bytes)


def encode_part10(instance: LocatedInstance, offer: Offer, frames: Frames) -> Part10:
    """The file of an instance in the transfer syntax of the offer."""
    uid = offer.transfer_syntax_uid or EXPLICIT_VR_LITTLE_ENDIAN
    prepared, image_set = instance.prepared, instance.image_set
    stored = offer.form is Form.STORED
    head = image_set.block(prepared.stored_head if stored else prepared.native_head)
    before = _preamble(instance, uid) + head
    after = image_set.block(prepared.tail)
    pixel_bytes = 0
    if not prepared.frames:
        pass
    elif stored:
        sizes = frames.sizes(instance.frames, Form.STORED)
        before += encode_head(_PIXEL_DATA, "OB", _UNDEFINED) + _offset_table(sizes, uid)
        pixel_bytes = sum(8 + size + size % 2 for size in sizes) + len(_SEQUENCE_END)
    elif prepared.pixels:
        pixel_bytes = _native_bytes(prepared.pixels, len(prepared.frames))
        before += encode_head(_PIXEL_DATA, "OW" if prepared.pixels.bits_allocated > 8 else "OB", pixel_bytes)
    return Part10(instance, frames, before, pixel_bytes, after, offer.form)


def _preamble(instance: LocatedInstance, transfer_syntax_uid: str) -> bytes:
    """The preamble and the file meta information (PS3.10 Table 7.1-1)."""
    rows = (
        ("00020001", "OB", b"\x00\x01"),
        ("00020002", "UI", instance.prepared.sop_class_uid.encode()),
        ("00020003", "UI", instance.prepared.sop_instance_uid.encode()),
        ("00020010", "UI", transfer_syntax_uid.encode()),
        ("00020012", "UI", IMPLEMENTATION_CLASS_UID.encode()),
        ("00020013", "SH", IMPLEMENTATION_VERSION_NAME.encode()),
    )
    meta = b"".join(encode_element(tag, vr, value) for tag, vr, value in rows)
    return bytes(128) + b"DICM" + encode_element("00020000", "UL", len(meta).to_bytes(4, "little")) + meta


def _native_bytes(pixels: PixelFormat, frame_count: int) -> int:
    if pixels.bits_allocated == 1:
        size = (pixels.rows * pixels.columns * pixels.samples_per_pixel * frame_count + 7) // 8
    else:
        size = pixels.frame_bytes * frame_count
    return size + size % 2


def _native(frames: Iterable[bytes], pixels: PixelFormat | None, pixel_bytes: int) -> Iterator[bytes]:
    if pixels is None:
        return
    bits = pixels.rows * pixels.columns * pixels.samples_per_pixel
    sent = 0
    for chunk in _packed_bits(frames, bits) if pixels.bits_allocated == 1 and bits % 8 else frames:
        sent += len(chunk)
        yield chunk
    yield bytes(pixel_bytes - sent)


def _packed_bits(frames: Iterable[bytes], bits: int) -> Iterator[bytes]:
    """One-bit frames without gaps (PS3.5 Section 8.1.1); AHI's begin on a byte each."""
    rest = np.empty(0, np.uint8)
    for frame in frames:
        unpacked = np.unpackbits(np.frombuffer(frame, np.uint8), bitorder="little")[:bits]
        joined = np.concatenate((rest, unpacked))
        whole = len(joined) // 8 * 8
        yield np.packbits(joined[:whole], bitorder="little").tobytes()
        rest = joined[whole:]
    yield np.packbits(rest, bitorder="little").tobytes()


def _offset_table(sizes: Sequence[int], transfer_syntax_uid: str) -> bytes:
    """The basic offset table (PS3.5 Annex A.4); empty for video and where an offset would not fit."""
    offsets, position = [], 0
    for size in sizes:
        offsets.append(position)
        position += 8 + size + size % 2
    if transfer_syntax(transfer_syntax_uid).video or position > _UNDEFINED:
        offsets = []
    table = b"".join(offset.to_bytes(4, "little") for offset in offsets)
    return _ITEM + len(table).to_bytes(4, "little") + table


def _encapsulated(frames: Iterable[bytes]) -> Iterator[bytes]:
    """One fragment for each frame (PS3.5 Annex A.4)."""
    for frame in frames:
        padded = len(frame) + len(frame) % 2
        yield _ITEM + padded.to_bytes(4, "little") + frame + bytes(padded - len(frame))
    yield _SEQUENCE_END
