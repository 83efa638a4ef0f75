"""Compressed frames as far as their markers tell: how large the picture is, and whether all of it is there.

Nothing is decoded, so what a frame claims is known before memory is taken for it. The formats are JPEG (ITU-T T.81
Annex B), JPEG-LS (ITU-T T.87 Annex C), JPEG 2000 and HTJ2K (ISO/IEC 15444-1 Annex A and I), JPEG XL (ISO/IEC 18181) and
RLE (PS3.5 Annex G).
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass

_J2K_START = b"\xff\x4f\xff\x51"
_JP2_SIGNATURE = b"\x00\x00\x00\x0cjP  \r\n\x87\n"
_JXL_START = b"\xff\x0a"
_JXL_SIGNATURE = b"\x00\x00\x00\x0cJXL \r\n\x87\n"
_JPEG_START = b"\xff\xd8"

_SIZ, _COD, _SOT, _SOD, _EOC = 0xFF51, 0xFF52, 0xFF90, 0xFF93, 0xFFD9
_SOS, _EOI, _SOF_LS = 0xDA, 0xD9, 0xF7
_NO_LENGTH = frozenset({0x01, *range(0xD0, 0xD9)})
_SOFS = frozenset({*range(0xC0, 0xD0), _SOF_LS}) - {0xC4, 0xC8, 0xCC}
_MOST_TILES = 65_535
_MOST_BOXES = 10_000

_AFTER_SCAN = re.compile(rb"\xff[\x01-\xcf\xd8-\xfe]")  # neither a stuffed byte nor a restart marker
_AFTER_SCAN_LS = re.compile(rb"\xff[\x80-\xcf\xd8-\xfe]")
_RLE_HEADER_BYTES, _RLE_MOST_SEGMENTS = 64, 15


class Incomplete(ValueError):
    """The bytes are not, or not all of, what they should be; the text says what is wrong."""


@dataclass(frozen=True)
class Size:
    """A picture as its codestream describes it, in pixels, samples for each and bits for each sample."""

    columns: int
    rows: int
    components: int
    bits: int

    @property
    def native_bytes(self) -> int:
        """What its samples take when they are decoded: 1, 2, 4 or 8 bytes each."""
        sample_bytes = next((size for size in (1, 2, 4) if self.bits <= 8 * size), 8)
        return self.columns * self.rows * self.components * sample_bytes


def size_of(stored: bytes) -> Size | None:
    """The size of a compressed frame by its own header; None where there is none that could be read."""
    try:
        if stored.startswith(_JPEG_START):
            return _jpeg_size(stored)
        if stored.startswith((_JXL_START, _JXL_SIGNATURE)):
            return _jpeg_xl_size(stored)
        start = _codestream_start(stored)
        return _siz(stored, start + 2)
    except (Incomplete, IndexError):
        return None


def check_jpeg_2000(stored: bytes, *, ends: bool) -> Size:
    """The size of a JPEG 2000 or HTJ2K frame, of which all tile-parts are there; else Incomplete.

    `ends`: the end-of-codestream marker has to be there too. Files of some encoders lack it, and are decoded all the
    same. Whatever follows it is no harm.
    """
    position = _codestream_start(stored)
    size = _siz(stored, position + 2)
    position, markers = _main_header(stored, position + 2)
    if _COD not in markers:
        raise Incomplete("the codestream has no COD marker")
    while _number(stored, position, 2) == _SOT:
        position = _tile_part_end(stored, position)
    if position + 2 > len(stored):
        if ends:
            raise Incomplete("the codestream has no end")
    elif _number(stored, position, 2) != _EOC:
        raise Incomplete("a tile-part does not end where it says")
    return size


def check_jpeg(stored: bytes, *, jpeg_ls: bool = False) -> Size:
    """The size of a JPEG or JPEG-LS frame that is there from its first marker to its last; else Incomplete."""
    if not stored.startswith(_JPEG_START):
        raise Incomplete("it is no JPEG")
    size = None
    for marker, start, end in _jpeg_segments(stored, _AFTER_SCAN_LS if jpeg_ls else _AFTER_SCAN):
        if marker in _SOFS:
            if (marker == _SOF_LS) != jpeg_ls:
                raise Incomplete("it is another kind of JPEG")
            size = _sof(stored, start, end)
        if marker == _SOS and size is None:
            raise Incomplete("a scan comes before the size of the picture")
        if marker == _EOI:
            if size is None:
                raise Incomplete("the JPEG has no picture")
            return size
    raise Incomplete("the JPEG has no end")


def check_jpeg_xl(stored: bytes) -> None:
    """Incomplete where it is no JPEG XL, or a box of it is not all there."""
    if stored.startswith(_JXL_SIGNATURE):
        for _ in _boxes(stored):
            pass
    elif not stored.startswith(_JXL_START):
        raise Incomplete("it is no JPEG XL")


def check_rle(stored: bytes, segments: int | None) -> None:
    """Incomplete unless the segments of an RLE frame, as many as these if that is known, lie in order within it."""
    count = int.from_bytes(stored[:4], "little")
    if len(stored) < _RLE_HEADER_BYTES or not 1 <= count <= _RLE_MOST_SEGMENTS:
        raise Incomplete("it has no RLE header")
    if segments is not None and count != segments:
        raise Incomplete(f"it has {count} RLE segments instead of {segments}")
    offsets = [int.from_bytes(stored[at : at + 4], "little") for at in range(4, 4 + 4 * count, 4)]
    if offsets[0] != _RLE_HEADER_BYTES or offsets != sorted(set(offsets)) or offsets[-1] >= len(stored):
        raise Incomplete("an RLE segment lies outside of the frame")


def header_segments(stored: bytes) -> list[tuple[int, bytes]]:
    """The markers before the first scan or tile-part of a JPEG or a JPEG 2000 codestream, and what their segments hold.

    `stored` may be the beginning of a frame; a segment that is not all there is left out.
    """
    position, found = 2, []
    while position + 4 <= len(stored):
        marker, length = _number(stored, position, 2), _number(stored, position + 2, 2)
        if marker == 0xFFFF:  # a fill byte
            position += 1
            continue
        if marker in (0xFFDA, _SOT) or marker < 0xFF00 or length < 2 or position + 2 + length > len(stored):
            break
        found.append((marker, stored[position + 4 : position + 2 + length]))
        position += 2 + length
    return found


def _number(stored: bytes, position: int, size_bytes: int) -> int:
    """A big-endian number; -1 where the bytes end before."""
    if position + size_bytes > len(stored):
        return -1
    return int.from_bytes(stored[position : position + size_bytes], "big")


def _boxes(stored: bytes) -> Iterator[tuple[bytes, int, int]]:
    """The boxes of a file by type, with the start and the end of their content; Incomplete where one is cut off."""
    position = 0
    for _ in range(_MOST_BOXES):
        if position + 8 > len(stored):
            return
        length, head = _number(stored, position, 4), 8
        if length == 1:
            length, head = _number(stored, position + 8, 8), 16
        end = len(stored) if length == 0 else position + length
        if end > len(stored) or end < position + head:
            raise Incomplete("a box of the file is not all there")
        yield stored[position + 4 : position + 8], position + head, end
        position = end
    raise Incomplete("the file has too many boxes")


def _codestream_start(stored: bytes) -> int:
    if stored.startswith(_J2K_START):
        return 0
    if stored.startswith(_JP2_SIGNATURE):
        for kind, start, _ in _boxes(stored):
            if kind == b"jp2c" and stored.startswith(_J2K_START, start):
                return start
    raise Incomplete("it is no JPEG 2000 codestream")


def _siz(stored: bytes, position: int) -> Size:
    """SIZ (ISO/IEC 15444-1 Section A.5.1), whose marker is at this position."""
    length = _number(stored, position + 2, 2)
    right, bottom, left, top, tile_width, tile_height, tile_left, tile_top = (
        _number(stored, position + at, 4) for at in range(6, 38, 4)
    )
    components = _number(stored, position + 38, 2)
    columns, rows = right - left, bottom - top
    if length < 41 or components < 1 or length != 38 + 3 * components or position + 2 + length > len(stored):
        raise Incomplete("the size of the codestream is not all there")
    if min(columns, rows, tile_width, tile_height) <= 0 or min(left - tile_left, top - tile_top) < 0:
        raise Incomplete("the codestream has no size")
    if -(-(right - tile_left) // tile_width) * -(-(bottom - tile_top) // tile_height) > _MOST_TILES:
        raise Incomplete("the codestream has too many tiles")
    bits = max((stored[position + 40 + 3 * number] & 0x7F) + 1 for number in range(components))
    return Size(columns, rows, components, bits)


def _main_header(stored: bytes, position: int) -> tuple[int, set[int]]:
    """Where the first tile-part begins, and the markers before it."""
    markers = set()
    while (marker := _number(stored, position, 2)) != _SOT:
        length = _number(stored, position + 2, 2)
        if marker < 0xFF00 or length < 2 or position + 2 + length > len(stored):
            raise Incomplete("the main header of the codestream is not all there")
        markers.add(marker)
        position += 2 + length
    return position, markers


def _tile_part_end(stored: bytes, position: int) -> int:
    """SOT (ISO/IEC 15444-1 Section A.4.2); a length of 0 reaches to the end of the codestream."""
    length = _number(stored, position + 6, 4)
    end = position + length if length else _end_of_last(stored)
    if _number(stored, position + 2, 2) != 10 or length < 0 or end > len(stored) or end < position + 14:
        raise Incomplete("a tile-part is not all there")
    position += 12
    while (marker := _number(stored, position, 2)) != _SOD:
        segment = _number(stored, position + 2, 2)
        if marker < 0xFF00 or segment < 2 or position + 2 + segment > end:
            raise Incomplete("a tile-part has no data")
        position += 2 + segment
    return end


def _end_of_last(stored: bytes) -> int:
    found = stored.rfind(b"\xff\xd9")
    return found if found >= 0 else len(stored)


def _jpeg_segments(stored: bytes, after_scan: re.Pattern[bytes]) -> Iterator[tuple[int, int, int]]:
    """Marker, start and end of each segment; a scan ends at the next marker. Incomplete where one is cut off."""
    position = 2
    while True:
        if _number(stored, position, 1) != 0xFF:
            raise Incomplete("the JPEG ends before its last marker")
        while _number(stored, position, 1) == 0xFF:  # fill bytes may come before a marker
            position += 1
        marker = _number(stored, position, 1)
        position += 1
        if marker in _NO_LENGTH:
            continue
        if marker == _EOI:
            yield marker, position, position
            return
        length = _number(stored, position, 2)
        end = position + length
        if marker <= 0 or length < 2 or end > len(stored):
            raise Incomplete("a segment of the JPEG is not all there")
        yield marker, position + 2, end
        position = end
        if marker == _SOS:
            found = after_scan.search(stored, end)
            if found is None:
                raise Incomplete("the JPEG has no end")
            position = found.start()


def _sof(stored: bytes, start: int, end: int) -> Size:
    if end - start < 6:
        raise Incomplete("the size of the JPEG is not all there")
    bits, rows, columns, components = (
        _number(stored, start + at, size_bytes) for at, size_bytes in ((0, 1), (1, 2), (3, 2), (5, 1))
    )
    return Size(columns, rows, components, bits)


def _jpeg_size(stored: bytes) -> Size | None:
    """The largest that any of its frame headers claims."""
    sizes = []
    try:
        for marker, start, end in _jpeg_segments(stored, _AFTER_SCAN_LS):
            if marker in _SOFS:
                sizes.append(_sof(stored, start, end))
            if marker == _SOS:
                break
    except Incomplete:
        pass
    return max(sizes, key=lambda size: size.native_bytes, default=None)


class _Bits:
    """Bits of a JPEG XL codestream, the lowest of each byte first."""

    def __init__(self, content: bytes) -> None:
        self._value = int.from_bytes(content, "little")

    def take(self, count: int) -> int:
        taken = self._value & ((1 << count) - 1)
        self._value >>= count
        return taken


_JXL_SIZE_BITS = (9, 13, 18, 30)
_JXL_RATIOS = {1: (1, 1), 2: (12, 10), 3: (4, 3), 4: (3, 2), 5: (16, 9), 6: (5, 4), 7: (2, 1)}


def _jpeg_xl_size(stored: bytes) -> Size | None:
    """SizeHeader (ISO/IEC 18181-1 Annex D); how many samples there are is taken from the data set."""
    start = 0
    if stored.startswith(_JXL_SIGNATURE):
        starts = {b"jxlc": 0, b"jxlp": 4}
        found = next(((kind, at) for kind, at, _ in _boxes(stored) if kind in starts), None)
        if found is None:
            return None
        start = found[1] + starts[found[0]]
    if not stored.startswith(_JXL_START, start):
        return None
    bits = _Bits(stored[start + 2 : start + 14])
    small = bits.take(1)
    rows = _jpeg_xl_length(bits, small)
    ratio = _JXL_RATIOS.get(bits.take(3))
    columns = rows * ratio[0] // ratio[1] if ratio else _jpeg_xl_length(bits, small)
    return Size(columns, rows, 1, 8)


def _jpeg_xl_length(bits: _Bits, small: int) -> int:
    if small:
        return (bits.take(5) + 1) * 8
    return bits.take(_JXL_SIZE_BITS[bits.take(2)]) + 1
