"""The resolutions of HTJ2K frames. Decoding runs in the FrameFetchers, `resolution_ends` in the web processes."""

from dataclasses import replace
from itertools import accumulate

import numpy as np

from ahi.codecs.frames import FRAME_BYTES, HAS_OPENJPH, Pixels, checked_size, native_bytes
from ahi.codecs.openjph import decode_htj2k
from ahi.codecs.pixel_format import PixelFormat
from dicomweb.codestream import header_segments
from dicomweb.errors import UpstreamFailed

_SIZ_COMPONENTS = 40  # the offset of the number of components: SIZ follows SOC


def decode_reduced(
    stored: bytes, pixels: PixelFormat, scale: float, max_bytes: int = FRAME_BYTES
) -> tuple[bytes, PixelFormat] | None:
    """Decode an HTJ2K frame at the lowest resolution with `scale` pixels for one of the frame; return its format, too.

    None where only the full resolution has that many. UpstreamFailed for damaged bytes. NotAcceptable where even the
    lower resolution takes more than `max_bytes`.
    """
    levels = next(
        (segment[5] for marker, segment in header_segments(stored) if marker == 0xFF52 and len(segment) > 5), 0
    )
    skipped = next((level for level in range(levels, 0, -1) if 2**-level >= scale), 0)
    if not skipped or not HAS_OPENJPH:
        return None
    stated = checked_size(stored, pixels, max_bytes, skipped)
    if (stated.rows, stated.columns) != (pixels.rows, pixels.columns):
        return None  # a smaller tile at an edge, which is filled at full resolution only
    try:
        array = _at_resolution(stored, skipped)
    except (RuntimeError, ValueError, IndexError) as error:
        raise UpstreamFailed("a stored frame cannot be decoded") from error
    smaller = replace(pixels, rows=array.shape[0], columns=array.shape[1])
    return native_bytes(array, smaller), smaller


def _at_resolution(stored: bytes, skipped: int) -> Pixels:
    """Decode an HTJ2K frame without its `skipped` highest resolutions. The samples stay in the range of their bits.

    At sharp edges the samples of a lower resolution exceed that range, and the decoder would let them wrap around. So
    the header is changed to signed samples of 24 bits (ISO/IEC 15444-1 Section A.5.1). The level shift of unsigned
    samples and the clipping, which the decoder then leaves out, are done here.
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


def resolution_ends(stored: bytes) -> tuple[int, ...]:
    """Return the offsets in bytes at which the resolution levels of an HTJ2K codestream end, lowest level first.

    They come from its TLM markers (ISO/IEC 15444-1 Section A.7.1), and need one tile-part for each level, as in frames
    that AHI stores; else empty. `stored` may be the beginning of a frame with at least the main header.
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
    """Return the lengths in a TLM segment: Ztlm, Stlm, then pairs of tile index (0 to 2 bytes) and length (2 or 4)."""
    index_bytes, length_bytes = table[1] >> 4 & 3, 4 if table[1] & 0x40 else 2
    return [
        int.from_bytes(table[at + index_bytes : at + index_bytes + length_bytes], "big")
        for at in range(2, len(table), index_bytes + length_bytes)
    ]
