"""Readers for the markers of JPEG 2000 and HTJ2K codestreams (ISO/IEC 15444-1 Annexes A, B and I)."""

from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, replace
from itertools import islice

from dicomweb.markers import Incomplete, Size, boxes, number

_J2K_START = b"\xff\x4f\xff\x51"
_JP2_SIGNATURE = b"\x00\x00\x00\x0cjP  \r\n\x87\n"

SOT = 0xFF90
_COD, _COC, _SOD, _EOC = 0xFF52, 0xFF53, 0xFF93, 0xFFD9
_MOST_TILES = 65_535
_MOST_LEVELS = 32
_MOST_STYLES = 1000
_WHOLE = 15  # the exponent of an undivided precinct

_TILE_COMPONENT_BYTES, _PRECINCT_BYTES, _BLOCK_BYTES = 2048, 256, 512
"""Memory of OpenJPEG for each, above what was measured: 400 bytes for a code-block, 550 for a precinct with a block."""


def jpeg_2000_size(stored: bytes) -> Size:
    """The size of a frame by its header, with the memory for its finest division; Incomplete if there is no header.

    A small file of some megapixels in precincts of four pixels takes a decoder gigabytes.
    """
    start = _codestream_start(stored)
    size = _siz(stored, start + 2)
    tiles = _tiles(stored, start + 2)
    parameters = list(islice(_coding_styles(stored, start + 2, size.components), _MOST_STYLES + 1))
    if len(parameters) > _MOST_STYLES:
        raise Incomplete("the codestream has too many coding styles")
    styles = [style for style in map(_style, set(parameters)) if style]
    finest = max((style.division_bytes(size) for style in styles), default=0)
    levels = max((len(style.precincts) for style in styles), default=1)
    return replace(size, division_bytes=finest + tiles * size.components * levels * _TILE_COMPONENT_BYTES)


@dataclass(frozen=True)
class _Style:
    """A coding style (ISO/IEC 15444-1 Section A.6.1): exponents of code-blocks, and of precincts by resolution."""

    block: tuple[int, int]
    precincts: tuple[tuple[int, int], ...]

    def division_bytes(self, size: Size) -> int:
        """The memory of a decoder for the precincts and code-blocks of all components (Sections B.6 and B.7)."""
        needed = 0
        for resolution, (width, height) in enumerate(self.precincts):
            skipped = len(self.precincts) - 1 - resolution
            columns, rows = _ceil(size.columns, skipped), _ceil(size.rows, skipped)
            bands, halved = (1, 0) if resolution == 0 else (3, 1)
            precincts = _ceil(columns, width) * _ceil(rows, height)
            in_precinct = 1
            for exponent, block, whole in ((width, self.block[0], columns), (height, self.block[1], rows)):
                side = min(1 << max(0, exponent - halved), _ceil(whole, halved))
                in_precinct *= _ceil(side, min(block, max(0, exponent - halved)))
            needed += bands * precincts * (_PRECINCT_BYTES + in_precinct * _BLOCK_BYTES)
        return needed * size.components


def _ceil(length: int, exponent: int) -> int:
    return -(-length >> exponent)


def _style(parameters: bytes) -> _Style | None:
    """Parse the parameters that COD and COC share: levels, code-blocks and precincts; None if they are cut off."""
    if len(parameters) < 6:
        return None
    levels = min(parameters[1], _MOST_LEVELS)
    precincts = parameters[6:] if parameters[0] & 1 else b""
    exponents = [(one & 15, one >> 4) for one in precincts[: levels + 1]]
    exponents += [(_WHOLE, _WHOLE)] * (levels + 1 - len(exponents))
    return _Style((parameters[2] % 16 + 2, parameters[3] % 16 + 2), tuple(exponents))


def _coding_styles(stored: bytes, position: int, components: int) -> Iterator[bytes]:
    """The parameters of all COD and COC, in the main header and in those of tile-parts that can be read."""
    with suppress(Incomplete):
        for marker, start, end in _segments(stored, position):
            if marker == _COD:
                yield stored[start : start + 1] + stored[start + 5 : end]
            elif marker == _COC:
                yield stored[start + (1 if components < 257 else 2) : end]


def _segments(stored: bytes, position: int) -> Iterator[tuple[int, int, int]]:
    """Marker, start and end of the segments of all headers; Incomplete if one is cut off."""
    end_of_part = 0
    while (marker := number(stored, position, 2)) not in (_EOC, -1):
        if marker == _SOD:
            if end_of_part <= position:
                raise Incomplete("a tile-part ends before its data")
            position = end_of_part
            continue
        length = number(stored, position + 2, 2)
        if marker < 0xFF00 or length < 2 or position + 2 + length > len(stored):
            raise Incomplete("a header of the codestream is not all there")
        if marker == SOT:
            part = number(stored, position + 6, 4)
            end_of_part = position + part if part >= 14 else len(stored)
        yield marker, position + 4, position + 2 + length
        position += 2 + length


def check_jpeg_2000(stored: bytes, *, ends: bool) -> Size:
    """The size of a JPEG 2000 or HTJ2K frame; Incomplete unless all tile-parts are there.

    With `ends`, the end-of-codestream marker must be there too. Some encoders leave it out, and decoders accept that.
    Bytes after the marker are ignored.
    """
    position = _codestream_start(stored)
    size = _siz(stored, position + 2)
    position, markers = _main_header(stored, position + 2)
    if _COD not in markers:
        raise Incomplete("the codestream has no COD marker")
    while number(stored, position, 2) == SOT:
        position = _tile_part_end(stored, position)
    if position + 2 > len(stored):
        if ends:
            raise Incomplete("the codestream has no end")
    elif number(stored, position, 2) != _EOC:
        raise Incomplete("a tile-part does not end where it says")
    return size


def _codestream_start(stored: bytes) -> int:
    if stored.startswith(_J2K_START):
        return 0
    if stored.startswith(_JP2_SIGNATURE):
        for kind, start, _ in boxes(stored):
            if kind == b"jp2c" and stored.startswith(_J2K_START, start):
                return start
    raise Incomplete("it is no JPEG 2000 codestream")


def _siz(stored: bytes, position: int) -> Size:
    """Read SIZ, whose marker is at this position (ISO/IEC 15444-1 Section A.5.1)."""
    length = number(stored, position + 2, 2)
    right, bottom, left, top, tile_width, tile_height, tile_left, tile_top = (
        number(stored, position + at, 4) for at in range(6, 38, 4)
    )
    components = number(stored, position + 38, 2)
    columns, rows = right - left, bottom - top
    if length < 41 or components < 1 or length != 38 + 3 * components or position + 2 + length > len(stored):
        raise Incomplete("the size of the codestream is not all there")
    if min(columns, rows, tile_width, tile_height) <= 0 or min(left - tile_left, top - tile_top) < 0:
        raise Incomplete("the codestream has no size")
    if _tiles(stored, position) > _MOST_TILES:
        raise Incomplete("the codestream has too many tiles")
    bits = max((stored[position + 40 + 3 * component] & 0x7F) + 1 for component in range(components))
    return Size(columns, rows, components, bits)


def _tiles(stored: bytes, position: int) -> int:
    """The number of tiles by SIZ, whose numbers have been checked."""
    right, bottom, _, _, width, height, left, top = (number(stored, position + at, 4) for at in range(6, 38, 4))
    return -(-(right - left) // width) * -(-(bottom - top) // height)


def _main_header(stored: bytes, position: int) -> tuple[int, set[int]]:
    """The position of the first tile-part, and the markers before it."""
    markers = set()
    while (marker := number(stored, position, 2)) != SOT:
        length = number(stored, position + 2, 2)
        if marker < 0xFF00 or length < 2 or position + 2 + length > len(stored):
            raise Incomplete("the main header of the codestream is not all there")
        markers.add(marker)
        position += 2 + length
    return position, markers


def _tile_part_end(stored: bytes, position: int) -> int:
    """The end of a tile-part by SOT (ISO/IEC 15444-1 Section A.4.2); a length of 0 means the end of the codestream."""
    length = number(stored, position + 6, 4)
    end = position + length if length else _end_of_last(stored)
    if number(stored, position + 2, 2) != 10 or length < 0 or end > len(stored) or end < position + 14:
        raise Incomplete("a tile-part is not all there")
    position += 12
    while (marker := number(stored, position, 2)) != _SOD:
        segment = number(stored, position + 2, 2)
        if marker < 0xFF00 or segment < 2 or position + 2 + segment > end:
            raise Incomplete("a tile-part has no data")
        position += 2 + segment
    return end


def _end_of_last(stored: bytes) -> int:
    found = stored.rfind(b"\xff\xd9")
    return found if found >= 0 else len(stored)
