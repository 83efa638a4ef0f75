"""Readers for the markers of compressed frames: the size of the picture, and whether the frame is complete.

Nothing is decoded, so the size that a frame claims is known before memory is allocated for it. The formats are JPEG
(ITU-T T.81 Annex B), JPEG-LS (ITU-T T.87 Annex C), JPEG 2000 and HTJ2K (ISO/IEC 15444-1 Annexes A and I), JPEG XL
(ISO/IEC 18181), RLE (PS3.5 Annex G), and video: MPEG-2 (ISO/IEC 13818-1), MP4 (ISO/IEC 14496-12), H.264 and HEVC.
"""

import re
from collections.abc import Iterator

from dicomweb.jpeg_2000 import SOT, jpeg_2000_size
from dicomweb.markers import Incomplete, Size, boxes, number

_JXL_START = b"\xff\x0a"
_JXL_SIGNATURE = b"\x00\x00\x00\x0cJXL \r\n\x87\n"
_JPEG_START = b"\xff\xd8"

_SOS, _EOI, _SOF_LS = 0xDA, 0xD9, 0xF7
_NO_LENGTH = frozenset({0x01, *range(0xD0, 0xD9)})
_SOFS = frozenset({*range(0xC0, 0xD0), _SOF_LS}) - {0xC4, 0xC8, 0xCC}

_AFTER_SCAN = re.compile(rb"\xff[\x01-\xcf\xd8-\xfe]")  # neither a stuffed byte nor a restart marker
_AFTER_SCAN_LS = re.compile(rb"\xff[\x80-\xcf\xd8-\xfe]")
_TS_PACKET_BYTES, _TS_SYNC = 188, 0x47
_START_CODE = b"\0\0\1"
_VIDEO_START_BYTES = 2**16
_RLE_HEADER_BYTES, _RLE_MOST_SEGMENTS = 64, 15


def size_of(stored: bytes) -> Size | None:
    """The size of a compressed frame by its own header; None if no header can be read."""
    try:
        if stored.startswith(_JPEG_START):
            return _jpeg_size(stored)
        if stored.startswith((_JXL_START, _JXL_SIGNATURE)):
            return _jpeg_xl_size(stored)
        return jpeg_2000_size(stored)
    except (Incomplete, IndexError):
        return None


def check_jpeg(stored: bytes, *, jpeg_ls: bool = False) -> Size:
    """The size of a JPEG or JPEG-LS frame; Incomplete unless it is there from its first marker to its last."""
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
    """Check a JPEG XL frame; Incomplete if it is none, or if a box is cut off."""
    if stored.startswith(_JXL_SIGNATURE):
        for _ in boxes(stored):
            pass
    elif not stored.startswith(_JXL_START):
        raise Incomplete("it is no JPEG XL")


def check_rle(stored: bytes, segments: int | None) -> None:
    """Check an RLE frame; Incomplete unless its segments, `segments` of them, are in order and within the frame.

    `segments` is None if the number is not known.
    """
    count = int.from_bytes(stored[:4], "little")
    if len(stored) < _RLE_HEADER_BYTES or not 1 <= count <= _RLE_MOST_SEGMENTS:
        raise Incomplete("it has no RLE header")
    if segments is not None and count != segments:
        raise Incomplete(f"it has {count} RLE segments instead of {segments}")
    offsets = [int.from_bytes(stored[at : at + 4], "little") for at in range(4, 4 + 4 * count, 4)]
    if offsets[0] != _RLE_HEADER_BYTES or offsets != sorted(set(offsets)) or offsets[-1] >= len(stored):
        raise Incomplete("an RLE segment lies outside of the frame")


def header_segments(stored: bytes) -> list[tuple[int, bytes]]:
    """The markers before the first scan or tile-part of a JPEG or JPEG 2000 codestream, with their segments.

    `stored` may be the beginning of a frame only; a segment that is cut off is left out.
    """
    position, found = 2, []
    while position + 4 <= len(stored):
        marker, length = number(stored, position, 2), number(stored, position + 2, 2)
        if marker == 0xFFFF:  # a fill byte
            position += 1
            continue
        if marker in (0xFFDA, SOT) or marker < 0xFF00 or length < 2 or position + 2 + length > len(stored):
            break
        found.append((marker, stored[position + 4 : position + 2 + length]))
        position += 2 + length
    return found


def check_video(stored: bytes) -> None:
    """Check a video; Incomplete if it does not begin as one, or if a box of MP4 is cut off.

    A video is a transport stream, MP4, or has a start code of MPEG-2, H.264 or HEVC near its beginning.
    """
    if stored[4:8] == b"ftyp":
        for _ in boxes(stored):
            pass
        return
    is_transport_stream = stored[:1] == stored[_TS_PACKET_BYTES : _TS_PACKET_BYTES + 1] == bytes([_TS_SYNC])
    if not is_transport_stream and _START_CODE not in stored[:_VIDEO_START_BYTES]:
        raise Incomplete("it does not begin as a video")


def _jpeg_segments(stored: bytes, after_scan: re.Pattern[bytes]) -> Iterator[tuple[int, int, int]]:
    """Marker, start and end of each segment; a scan ends at the next marker. Incomplete if a segment is cut off."""
    position = 2
    while True:
        if number(stored, position, 1) != 0xFF:
            raise Incomplete("the JPEG ends before its last marker")
        while number(stored, position, 1) == 0xFF:  # fill bytes may come before a marker
            position += 1
        marker = number(stored, position, 1)
        position += 1
        if marker in _NO_LENGTH:
            continue
        if marker == _EOI:
            yield marker, position, position
            return
        length = number(stored, position, 2)
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
        number(stored, start + at, size_bytes) for at, size_bytes in ((0, 1), (1, 2), (3, 2), (5, 1))
    )
    return Size(columns, rows, components, bits)


def _jpeg_size(stored: bytes) -> Size | None:
    """The largest size that its frame headers claim."""
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


_JXL_HEADER_BYTES = 64
_JXL_SIZE_BITS = (9, 13, 18, 30)
_JXL_RATIOS = {1: (1, 1), 2: (12, 10), 3: (4, 3), 4: (3, 2), 5: (16, 9), 6: (5, 4), 7: (2, 1)}
_JXL_WHOLE_BITS, _JXL_FLOAT_BITS = (8, 10, 12), (32, 16, 24)


def _jpeg_xl_size(stored: bytes) -> Size | None:
    """Read SizeHeader and the start of ImageMetadata (ISO/IEC 18181-1 Annex D); None with a preview or an animation.

    Only components beside the colours are counted; the data set tells the number of colours.
    """
    header = _jpeg_xl_header(stored)
    if not header.startswith(_JXL_START):
        return None
    bits = _Bits(header[2:])
    rows, columns = _jpeg_xl_lengths(bits)
    if bits.take(1):  # all other fields have their defaults
        return Size(columns, rows, 1, 8)
    if bits.take(1):
        bits.take(3)  # orientation
        if bits.take(1):
            _jpeg_xl_lengths(bits)  # intrinsic size
        if bits.take(2):
            return None
    floating = bits.take(1)
    choice = bits.take(2)
    depth = bits.take(6) + 1 if choice == 3 else (_JXL_FLOAT_BITS if floating else _JXL_WHOLE_BITS)[choice]
    if floating:
        bits.take(4)  # bits of the exponent
    bits.take(1)  # whether a decoder needs 16 bits only
    choice = bits.take(2)
    extra = bits.take(4) + 2 if choice == 2 else bits.take(12) + 1 if choice == 3 else choice
    return Size(columns, rows, 1 + extra, depth)


def _jpeg_xl_header(stored: bytes) -> bytes:
    """The first bytes of the codestream, which several boxes may share."""
    if not stored.startswith(_JXL_SIGNATURE):
        return stored[:_JXL_HEADER_BYTES]
    header = b""
    for kind, start, end in boxes(stored):
        if kind in (b"jxlc", b"jxlp"):
            header += stored[start + (4 if kind == b"jxlp" else 0) : end][:_JXL_HEADER_BYTES]
        if kind == b"jxlc" or len(header) >= _JXL_HEADER_BYTES:
            break
    return header


def _jpeg_xl_lengths(bits: _Bits) -> tuple[int, int]:
    """Rows and columns of a SizeHeader."""
    small = bits.take(1)
    rows = _jpeg_xl_length(bits, small)
    ratio = _JXL_RATIOS.get(bits.take(3))
    return rows, rows * ratio[0] // ratio[1] if ratio else _jpeg_xl_length(bits, small)


def _jpeg_xl_length(bits: _Bits, small: int) -> int:
    if small:
        return (bits.take(5) + 1) * 8
    return bits.take(_JXL_SIZE_BITS[bits.take(2)]) + 1
