"""The format of native pixels. Runs in all processes."""

from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np


@dataclass(frozen=True)
class PixelFormat:
    """The format of the native pixels of a frame (PS3.3 Section C.7.6.3): sizes in pixels and bits.

    `floating` samples have 32 or 64 bits (PS3.3 Sections C.7.6.24 and C.7.6.25). A `tile` is a frame of a tiled image
    (PS3.3 Section C.8.12.4.1.1). Scanners write smaller codestreams for tiles at the right and lower edges.
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
        """Whether a codestream of this size can be a frame."""
        if self.tile:
            return 0 < rows <= self.rows and 0 < columns <= self.columns
        return (rows, columns) == (self.rows, self.columns)

    @cached_property
    def dtype(self) -> np.dtype[Any]:
        """The little-endian type of a sample. 12 bits allocated take 16."""
        size_bytes = next(size for size in (1, 2, 4, 8) if self.bits_allocated <= 8 * size)
        return np.dtype(f"<{'f' if self.floating else 'i' if self.pixel_representation else 'u'}{size_bytes}")

    @property
    def element(self) -> tuple[str, str]:
        """The tag and VR of the pixel data (PS3.5 Annex A)."""
        if not self.floating:
            return "7FE00010", "OW"
        return ("7FE00008", "OF") if self.bits_allocated == 32 else ("7FE00009", "OD")

    @cached_property
    def frame_bytes(self) -> int:
        """The size of one native frame in bytes. One-bit pixels are packed, and the frame ends on a byte."""
        samples = self.rows * self.columns * self.samples_per_pixel
        return (samples + 7) // 8 if self.bits_allocated == 1 else samples * self.dtype.itemsize

    @property
    def array_bytes(self) -> int:
        """The size of one frame in memory in bytes. There, one-bit pixels take a byte each."""
        return self.rows * self.columns * self.samples_per_pixel * self.dtype.itemsize
