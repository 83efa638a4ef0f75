"""Shared parts of the readers of compressed frames: numbers, boxes, the size of a picture, and the error."""

from collections.abc import Iterator
from dataclasses import dataclass

_MOST_BOXES = 10_000


class Incomplete(ValueError):
    """The bytes are wrong or cut off; the text tells what is wrong."""


@dataclass(frozen=True)
class Size:
    """The size of a picture by its codestream: pixels, samples of each pixel, and bits of each sample."""

    columns: int
    rows: int
    components: int
    bits: int
    division_bytes: int = 0
    """Memory of a decoder for the tiles, precincts and code-blocks of the codestream."""

    @property
    def native_bytes(self) -> int:
        """The size of the decoded samples, which have 1, 2, 4 or 8 bytes each."""
        sample_bytes = next((size for size in (1, 2, 4) if self.bits <= 8 * size), 8)
        return self.columns * self.rows * self.components * sample_bytes


def number(stored: bytes, position: int, size_bytes: int) -> int:
    """Read a big-endian number; -1 if the bytes end before."""
    if position + size_bytes > len(stored):
        return -1
    return int.from_bytes(stored[position : position + size_bytes], "big")


def boxes(stored: bytes) -> Iterator[tuple[bytes, int, int]]:
    """The boxes of a file: type, start and end of the content. Incomplete if a box is cut off."""
    position = 0
    for _ in range(_MOST_BOXES):
        if position + 8 > len(stored):
            return
        length, head = number(stored, position, 4), 8
        if length == 1:
            length, head = number(stored, position + 8, 8), 16
        end = len(stored) if length == 0 else position + length
        if end > len(stored) or end < position + head:
            raise Incomplete("a box of the file is not all there")
        yield stored[position + 4 : position + 8], position + head, end
        position = end
    raise Incomplete("the file has too many boxes")
