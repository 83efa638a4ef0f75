"""Stored frames ↔ native pixels. The only module of the proxy that calls a codec."""

from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import dataclass, replace
from functools import cached_property
from itertools import accumulate
from typing import Any

import imagecodecs
import numpy as np
import numpy.typing as npt
from rle.utils import decode_pixel_data

from ahi.codecs.colour import jpeg_has_ycbcr
from ahi.codecs.openjph import decode_htj2k
from ahi.codecs.pixel_memory import PixelMemory
from dicomweb.codestream import header_segments, size_of
from dicomweb.errors import NotAcceptable, UpstreamFailed
from dicomweb.markers import Size
from dicomweb.transfer_syntax import EXPLICIT_VR_LITTLE_ENDIAN, transfer_syntax

Pixels = npt.NDArray[Any]

HAS_OPENJPH = bool(getattr(getattr(imagecodecs, "HTJ2K", None), "available", False))
"""Whether HTJ2K can be encoded; the builds of imagecodecs for Python 3.10 cannot."""

_SIZ_COMPONENTS = 40  # where the number of components is: SIZ follows SOC, and has this at a fixed place


@dataclass(frozen=True)
class PixelFormat:
    """How native pixels of a frame are laid out (PS3.3 Section C.7.6.3): sizes in pixels and bits.

    `floating` samples have 32 or 64 bits (PS3.3 Section C.7.6.24, C.7.6.25). A `tile` is a frame of a tiled image
    (PS3.3 Section C.8.12.4.1.1): at the right and lower edge scanners write codestreams that are smaller than it.
    """

    rows: int
    columns: int
    samples_per_pixel: int
    bits_allocated: int
    pixel_representation: int
    photometric_interpretation: str
    floating: bool = False
    tile: bool = False

    def may_be(self, rows: int, columns: int) -> bool:
        """Whether a codestream of that size can be a frame."""
        if self.tile:
            return 0 < rows <= self.rows and 0 < columns <= self.columns
        return (rows, columns) == (self.rows, self.columns)

    @cached_property
    def dtype(self) -> np.dtype[Any]:
        """The little-endian type of a sample; 12 bits allocated take 16."""
        size_bytes = next(size for size in (1, 2, 4, 8) if self.bits_allocated <= 8 * size)
        return np.dtype(f"<{'f' if self.floating else 'i' if self.pixel_representation else 'u'}{size_bytes}")

    @property
    def element(self) -> tuple[str, str]:
        """The tag of the pixel data, and its VR where that does not depend on the transfer syntax (PS3.5 Annex A)."""
        if not self.floating:
            return "7FE00010", "OW"
        return ("7FE00008", "OF") if self.bits_allocated == 32 else ("7FE00009", "OD")

    @cached_property
    def frame_bytes(self) -> int:
        """The size of one native frame; one-bit pixels are packed and the frame ends on a byte."""
        samples = self.rows * self.columns * self.samples_per_pixel
        return (samples + 7) // 8 if self.bits_allocated == 1 else samples * self.dtype.itemsize

    @property
    def array_bytes(self) -> int:
        """The size of one frame in memory, where one-bit pixels have a byte each."""
        return self.rows * self.columns * self.samples_per_pixel * self.dtype.itemsize


FRAME_BYTES = 2**28
"""How many bytes a decoded frame may have, where nothing else is set."""

_WRONG_SIZE = "a stored frame does not have the size that its metadata states"


def check_bound(size_bytes: int, max_bytes: int) -> None:
    """NotAcceptable where decoded pixels take more than the bound."""
    if size_bytes > max_bytes:
        raise NotAcceptable(
            f"a decoded frame takes {size_bytes} bytes, and FRAME_MAX_BYTES is {max_bytes}:"
            " ask for the stored one, with transfer-syntax=*"
        )


def decode(
    stored: bytes,
    transfer_syntax_uid: str,
    pixels: PixelFormat,
    max_bytes: int = FRAME_BYTES,
    memory: PixelMemory | None = None,
) -> bytes:
    """One frame as native pixels: little endian, interleaved by pixel, JPEG's YCbCr as RGB.

    NotAcceptable where there is no decoder (video, say), or the pixels take more than `max_bytes`; UpstreamFailed where
    the bytes are not what they should be. No memory is taken for what a header claims before it is held to both, and
    then a share of `memory`, if it is given.
    """
    if transfer_syntax_uid == EXPLICIT_VR_LITTLE_ENDIAN:
        native = stored
    else:
        needed_bytes = _decoded_bytes(stored, transfer_syntax_uid, pixels, max_bytes)
        with memory.taking(needed_bytes) if memory else nullcontext():
            array = _whole_tile(_decode_array(stored, transfer_syntax_uid, pixels), pixels)
            if transfer_syntax(transfer_syntax_uid).lossy:  # kept as imported: nobody has seen to its signs
                array = _signed_as_told(array, stored, pixels)
            native = _native(array, pixels)
    if len(native) != pixels.frame_bytes:
        raise UpstreamFailed(_WRONG_SIZE)
    return native


def _decoded_bytes(stored: bytes, transfer_syntax_uid: str, pixels: PixelFormat, max_bytes: int) -> int:
    """How many bytes a compressed frame takes when it is decoded, by its own header and by the data set.

    NotAcceptable where they are more than `max_bytes`; UpstreamFailed where the two do not agree.
    """
    check_bound(pixels.frame_bytes, max_bytes)
    if transfer_syntax(transfer_syntax_uid).media_type not in _WITH_SIZE:
        return pixels.frame_bytes
    claimed = _checked_claim(stored, pixels, max_bytes)
    return max(pixels.frame_bytes, claimed.native_bytes, claimed.division_bytes)


def _checked_claim(stored: bytes, pixels: PixelFormat, max_bytes: int, skipped: int = 0) -> Size:
    """The size that a codestream says it has, which must be that of the data set, without so many resolutions."""
    claimed = size_of(stored)
    if claimed is None:
        raise UpstreamFailed("a stored frame cannot be decoded")
    if claimed.rows * claimed.columns != pixels.rows * pixels.columns and not pixels.may_be(
        claimed.rows, claimed.columns
    ):
        raise UpstreamFailed(_WRONG_SIZE)
    check_bound(claimed.native_bytes >> 2 * skipped, max_bytes)
    check_bound(claimed.division_bytes, max_bytes)
    return claimed


def decode_reduced(
    stored: bytes, pixels: PixelFormat, scale: float, max_bytes: int = FRAME_BYTES
) -> tuple[bytes, PixelFormat] | None:
    """An HTJ2K frame at the lowest resolution that has `scale` pixels for one of the frame, with its smaller layout.

    None where only the full resolution has that many; UpstreamFailed where the bytes are not what they should be, and
    NotAcceptable where even the lower resolution takes more than `max_bytes`.
    """
    levels = next(
        (segment[5] for marker, segment in header_segments(stored) if marker == 0xFF52 and len(segment) > 5), 0
    )
    skipped = next((level for level in range(levels, 0, -1) if 2**-level >= scale), 0)
    if not skipped or not HAS_OPENJPH:
        return None
    claimed = _checked_claim(stored, pixels, max_bytes, skipped)
    if (claimed.rows, claimed.columns) != (pixels.rows, pixels.columns):
        return None  # a tile at an edge, which is made whole at full resolution only
    try:
        array = _at_resolution(stored, skipped)
    except (RuntimeError, ValueError, IndexError) as error:
        raise UpstreamFailed("a stored frame cannot be decoded") from error
    smaller = replace(pixels, rows=array.shape[0], columns=array.shape[1])
    return _native(array, smaller), smaller


def _at_resolution(stored: bytes, skipped: int) -> Pixels:
    """An HTJ2K frame without so many resolutions, its samples within the range of their bits.

    The samples of a lower resolution swing beyond that range where edges are sharp, and the decoder would let them wrap
    around. So the codestream is said to have signed samples of 24 bits (ISO/IEC 15444-1 Section A.5.1), and we do what
    the decoder then leaves undone: the level shift of unsigned samples, and the clipping.
    """
    wide = bytearray(stored)
    components = int.from_bytes(stored[_SIZ_COMPONENTS : _SIZ_COMPONENTS + 2], "big")
    ssiz = stored[_SIZ_COMPONENTS + 2]
    wide[_SIZ_COMPONENTS + 2 : _SIZ_COMPONENTS + 2 + 3 * components : 3] = bytes([0x80 | 23]) * components
    bits, signed = (ssiz & 0x7F) + 1, bool(ssiz & 0x80)
    array = decode_htj2k(bytes(wide), skipped=skipped).astype(np.int64)
    half = 1 << (bits - 1)
    clipped: Pixels = array.clip(-half, half - 1) if signed else (array + half).clip(0, 2 * half - 1)
    return clipped.astype(f"<{'i' if signed else 'u'}{1 if bits <= 8 else 2 if bits <= 16 else 4}")


def _decode_array(stored: bytes, transfer_syntax_uid: str, pixels: PixelFormat) -> Pixels:
    decoder = _DECODERS.get(transfer_syntax(transfer_syntax_uid).media_type)
    if decoder is None:
        raise NotAcceptable("the frames can only be had as they are stored: ask for transfer-syntax=*")
    try:
        return decoder(stored, pixels)
    except (RuntimeError, ValueError, KeyError) as error:  # what codecs raise on bytes that they cannot read
        raise UpstreamFailed("a stored frame cannot be decoded") from error


def _whole_tile(array: Pixels, pixels: PixelFormat) -> Pixels:
    """A tile of full size: what lies beyond the image is white in colour, as glass is, and 0 in grey."""
    if not pixels.tile or array.shape[:2] == (pixels.rows, pixels.columns) or not pixels.may_be(*array.shape[:2]):
        return array
    beyond = np.iinfo(array.dtype).max if array.ndim == 3 else 0
    whole: Pixels = np.full((pixels.rows, pixels.columns, *array.shape[2:]), beyond, array.dtype)
    whole[: array.shape[0], : array.shape[1]] = array
    return whole


def _signed_as_told(array: Pixels, stored: bytes, pixels: PixelFormat) -> Pixels:
    """Grey samples with the signs of the data set, where those of the codestream are others (two's complement).

    JPEG and JPEG XL have no signs, and some encoders write JPEG 2000 without.
    """
    if pixels.samples_per_pixel != 1 or pixels.bits_allocated == 1 or array.dtype.kind not in "iu":
        return array
    if array.dtype.kind == pixels.dtype.kind or array.dtype.itemsize > pixels.dtype.itemsize:
        return array
    claimed, room = size_of(stored), 8 * array.dtype.itemsize
    bits = claimed.bits if claimed and room // 2 < max(claimed.bits, 8) <= room else room  # JPEG XL does not say
    above = 8 * pixels.dtype.itemsize - bits
    words: Pixels = array.astype(f"<u{pixels.dtype.itemsize}") << above
    return words.view(pixels.dtype) >> above  # of a signed one that copies the sign


def _native(array: Pixels, pixels: PixelFormat) -> bytes:
    """The samples in the type of the data set; a decoder may have chosen a narrower or an unsigned one."""
    return np.ascontiguousarray(array).astype(pixels.dtype, copy=False).tobytes()


def _decode_htj2k(stored: bytes, pixels: PixelFormat) -> Pixels:
    if HAS_OPENJPH:
        return decode_htj2k(stored)
    return _decode_openjpeg(stored, pixels)


def _decode_openjpeg(stored: bytes, _pixels: PixelFormat) -> Pixels:
    """OpenJPEG reads HTJ2K too: the way for Pythons whose imagecodecs has no OpenJPH."""
    from openjpeg.utils import decode as openjpeg_decode  # noqa: PLC0415 - only there

    return np.asarray(openjpeg_decode(stored))


def _decode_jpeg_2000(stored: bytes, _pixels: PixelFormat) -> Pixels:
    return np.asarray(imagecodecs.jpeg2k_decode(stored))


def _decode_jpeg(stored: bytes, pixels: PixelFormat) -> Pixels:
    if pixels.samples_per_pixel == 1:
        return np.asarray(imagecodecs.jpeg8_decode(stored))
    transformed = jpeg_has_ycbcr(stored, pixels.photometric_interpretation)
    colour = "YCBCR" if transformed else "RGB"
    return np.asarray(imagecodecs.jpeg8_decode(stored, colorspace=colour, outcolorspace="RGB"))


def _decode_jpeg_xl(stored: bytes, _pixels: PixelFormat) -> Pixels:
    return np.asarray(imagecodecs.jpegxl_decode(stored))


def _decode_jpeg_ls(stored: bytes, _pixels: PixelFormat) -> Pixels:
    return np.asarray(imagecodecs.jpegls_decode(stored))


def _decode_rle(stored: bytes, pixels: PixelFormat) -> Pixels:
    planes = decode_pixel_data(
        stored,
        version=2,
        byteorder="<",
        rows=pixels.rows,
        columns=pixels.columns,
        samples_per_pixel=pixels.samples_per_pixel,
        bits_allocated=pixels.bits_allocated,
    )
    array: Pixels = np.frombuffer(planes, pixels.dtype).reshape(pixels.samples_per_pixel, -1).T
    return array


_DECODERS: dict[str, Callable[[bytes, PixelFormat], Pixels]] = {
    "image/jphc": _decode_htj2k,
    "image/jp2": _decode_jpeg_2000,
    "image/jpeg": _decode_jpeg,
    "image/jxl": _decode_jpeg_xl,
    "image/jls": _decode_jpeg_ls,
    "image/dicom-rle": _decode_rle,
}


_WITH_SIZE = _DECODERS.keys() - {"image/dicom-rle"}
"""Media types whose frames tell their own size."""


def resolution_ends(stored: bytes) -> tuple[int, ...]:
    """After how many bytes each resolution level of an HTJ2K codestream is complete, the smallest picture first.

    Known from its TLM markers (ISO/IEC 15444-1 Section A.7.1) where there is one tile-part for each level, as AHI
    stores frames; else empty. `stored` may be the beginning of a frame, the main header at least.
    """
    segments = header_segments(stored)
    levels = next((segment[5] + 1 for marker, segment in segments if marker == 0xFF52 and len(segment) > 5), 0)
    tables = sorted(segment for marker, segment in segments if marker == 0xFF55 and len(segment) > 2)
    lengths = [length for table in tables for length in _tile_part_lengths(table)]
    start = 2 + sum(4 + len(segment) for _, segment in segments)
    if not levels or len(lengths) != levels or stored[start : start + 2] != b"\xff\x90":
        return ()
    return tuple(start + end for end in accumulate(lengths))


def _tile_part_lengths(table: bytes) -> list[int]:
    """The lengths in one TLM segment: Ztlm, Stlm, then pairs of tile index (0 to 2 bytes) and length (2 or 4)."""
    index_bytes, length_bytes = table[1] >> 4 & 3, 4 if table[1] & 0x40 else 2
    return [
        int.from_bytes(table[at + index_bytes : at + index_bytes + length_bytes], "big")
        for at in range(2, len(table), index_bytes + length_bytes)
    ]
