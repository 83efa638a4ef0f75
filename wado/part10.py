"""DICOM files (PS3.10 Section 7.1), assembled from blocks of prepared instances: nothing is encoded per request.

Runs in the web processes.
"""

import struct
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import accumulate

import numpy as np

from ahi.codecs.pixel_format import PixelFormat
from ahi.image_sets.prepared_reader import Slice
from ahi.retrieval.frames import Frames
from dicomweb.explicit_le import encode_element, encode_head
from dicomweb.file_meta import encode_file_meta
from dicomweb.negotiation import Offer
from dicomweb.transfer_syntax import EXPLICIT_VR_LITTLE_ENDIAN, FrameEncoding, transfer_syntax
from runtime.file_piece import Chunk
from wado.locate import LocatedInstance

_PIXEL_DATA = "7FE00010"
_UNDEFINED = 0xFFFFFFFF
_ITEM = b"\xfe\xff\x00\xe0"
_SEQUENCE_END = b"\xfe\xff\xdd\xe0\x00\x00\x00\x00"


@dataclass(frozen=True)
class Part10:
    """The file of an instance in the transfer syntax of an offer; its bytes are assembled only by `chunks`."""

    instance: LocatedInstance
    offer: Offer
    frames: Frames

    @property
    def path(self) -> str:
        """The path of the instance, below the service root."""
        return self.instance.path

    @property
    def form(self) -> FrameEncoding:
        """The encoding of its frames."""
        return self.offer.form

    @property
    def frame_numbers(self) -> Sequence[int]:
        """The numbers of its frames, counted from 1."""
        return range(1, len(self.instance.prepared.frames) + 1) if self.has_pixels else ()

    @property
    def lacks_pixels(self) -> bool:
        """Whether pixel data is missing that it should have."""
        prepared = self.instance.prepared
        return prepared.lacks_frames or (bool(prepared.frames) and not self.has_pixels)

    @property
    def sized(self) -> bool:
        """Whether the size is known without fetching the frames."""
        return self._native or not self.instance.prepared.frames or self._known_sizes is not None

    @property
    def has_pixels(self) -> bool:
        """Whether it has pixel data; native pixels need a valid description."""
        prepared = self.instance.prepared
        return bool(prepared.frames) and (self.offer.form is FrameEncoding.STORED or prepared.pixels is not None)

    @property
    def length_bytes(self) -> int:
        """The size of the whole file in bytes."""
        prepared = self.instance.prepared
        head, tail = self._head[1], prepared.tail[1]
        return len(self._preamble) + head + len(self._pixel_head) + self._pixel_bytes + tail

    def chunks(self, frames: Iterator[Chunk]) -> Iterator[Chunk]:
        """The bytes of the file; they begin when the first of its frames is there."""
        prepared, image_set = self.instance.prepared, self.instance.image_set
        pixels = self._pixels(frames if self.has_pixels else iter(()))
        first: Chunk = next(pixels, b"")
        yield self._preamble
        yield image_set.block(self._head)
        yield self._pixel_head
        yield first
        yield from pixels
        yield image_set.block(prepared.tail)

    @property
    def _uid(self) -> str:
        return self.offer.transfer_syntax_uid or EXPLICIT_VR_LITTLE_ENDIAN

    @cached_property
    def _preamble(self) -> bytes:
        """The preamble and the file meta information (PS3.10 Table 7.1-1)."""
        prepared = self.instance.prepared
        return encode_file_meta(prepared.sop_class_uid, prepared.sop_instance_uid, self._uid)

    @property
    def _head(self) -> Slice:
        """The place of the data set up to the pixels; frames that we encode are described as native ones."""
        prepared = self.instance.prepared
        return prepared.stored_head if self.offer.form is FrameEncoding.STORED else prepared.native_head

    @property
    def _native(self) -> bool:
        return self.offer.form is FrameEncoding.NATIVE

    @cached_property
    def _known_sizes(self) -> list[int] | None:
        return self.frames.cached_sizes(self.instance.frames, self.offer.form)

    @cached_property
    def _sizes(self) -> list[int]:
        references, form = self.instance.frames, self.offer.form
        known = self._known_sizes or self.frames.cached_sizes(references, form)  # they may have been fetched meanwhile
        return self.frames.sizes(references, form) if known is None else known

    @property
    def _pixel_head(self) -> bytes:
        """The bytes between the data set and the first frame."""
        prepared = self.instance.prepared
        if not self.has_pixels:
            return b""
        if not self._native:
            extended, basic = _offset_tables(self._sizes, self._uid)
            return extended + encode_head(_PIXEL_DATA, "OB", _UNDEFINED) + basic
        words = prepared.pixels is not None and prepared.pixels.bits_allocated > 8
        tag, vr = prepared.pixels.element if prepared.pixels and words else (_PIXEL_DATA, "OB")
        return encode_head(tag, vr, self._pixel_bytes)

    @property
    def _pixel_bytes(self) -> int:
        prepared = self.instance.prepared
        if not self.has_pixels:
            return 0
        if not self._native:
            return sum(8 + size + size % 2 for size in self._sizes) + len(_SEQUENCE_END)
        return _native_bytes(prepared.pixels, len(prepared.frames)) if prepared.pixels else 0

    def _pixels(self, fetched: Iterator[Chunk]) -> Iterator[Chunk]:
        if not self._native and self.has_pixels:
            return _encapsulated(fetched)
        return _native_pixels(fetched, self.instance.prepared.pixels, self._pixel_bytes)


def _native_bytes(pixels: PixelFormat, frame_count: int) -> int:
    if pixels.bits_allocated == 1:
        size = (pixels.rows * pixels.columns * pixels.samples_per_pixel * frame_count + 7) // 8
    else:
        size = pixels.frame_bytes * frame_count
    return size + size % 2


def _native_pixels(frames: Iterable[Chunk], pixels: PixelFormat | None, pixel_bytes: int) -> Iterator[Chunk]:
    if pixels is None:
        return
    bits = pixels.rows * pixels.columns * pixels.samples_per_pixel
    sent = 0
    for chunk in _packed_bits(map(bytes, frames), bits) if pixels.bits_allocated == 1 and bits % 8 else frames:
        sent += len(chunk)
        yield chunk
    yield bytes(pixel_bytes - sent)


def _packed_bits(frames: Iterable[bytes], bits: int) -> Iterator[bytes]:
    """One-bit frames without gaps (PS3.5 Section 8.1.1); each frame of AHI begins on a byte."""
    rest = np.empty(0, np.uint8)
    for frame in frames:
        unpacked = np.unpackbits(np.frombuffer(frame, np.uint8), bitorder="little")[:bits]
        joined = np.concatenate((rest, unpacked))
        whole = len(joined) // 8 * 8
        yield np.packbits(joined[:whole], bitorder="little").tobytes()
        rest = joined[whole:]
    yield np.packbits(rest, bitorder="little").tobytes()


def _offset_tables(sizes: Sequence[int], transfer_syntax_uid: str) -> tuple[bytes, bytes]:
    """The extended offset table, as elements before the pixel data, and the basic one, as its first item.

    The basic table is used (PS3.5 Section A.4), or the extended one if an offset has more than 32 bits (PS3.3 Section
    C.7.6.3.1.8). A video has one fragment and needs neither.
    """
    if transfer_syntax(transfer_syntax_uid).video:
        return b"", _ITEM + bytes(4)
    offsets = [0, *accumulate(8 + size + size % 2 for size in sizes[:-1])]
    if offsets[-1] <= _UNDEFINED:
        table = struct.pack(f"<{len(offsets)}I", *offsets)
        return b"", _ITEM + len(table).to_bytes(4, "little") + table
    lengths = [size + size % 2 for size in sizes]
    extended = encode_element("7FE00001", "OV", struct.pack(f"<{len(offsets)}Q", *offsets))
    return extended + encode_element("7FE00002", "OV", struct.pack(f"<{len(lengths)}Q", *lengths)), _ITEM + bytes(4)


def _encapsulated(frames: Iterable[Chunk]) -> Iterator[Chunk]:
    """One fragment for each frame (PS3.5 Annex A.4)."""
    for frame in frames:
        padded = len(frame) + len(frame) % 2
        yield _ITEM + padded.to_bytes(4, "little")
        yield frame
        yield bytes(padded - len(frame))
    yield _SEQUENCE_END
