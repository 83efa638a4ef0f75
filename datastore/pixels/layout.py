"""The layout of the pixels of a file (PS3.3 Section C.7.6.3), with defaults for what the file does not state."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from pydicom import Dataset

from datastore.findings import FindingKind, Findings

FLOAT_PIXELS: Mapping[str, np.dtype[Any]] = {"FloatPixelData": np.dtype("<f4"), "DoubleFloatPixelData": np.dtype("<f8")}
"""The elements of floating-point pixels and the types of their samples (PS3.3 Section C.7.6.24, C.7.6.25)."""

FRAME_BYTES = 2**28
"""The default for the largest decoded frame in bytes."""

_USUAL_PHOTOMETRIC = {1: "MONOCHROME2", 3: "RGB", 4: "CMYK"}
_YBR = frozenset({"YBR_FULL", "YBR_FULL_422"})


class NoFrames(Exception):
    """The pixel data cannot be split or decoded: the instance is imported without frames, with a finding."""


@dataclass(frozen=True)
class Layout:
    """The layout of one frame, in pixels and bits; `replaced` has the attributes that were corrected, by keyword.

    `max_bytes` bounds the decoded frame. A `tile` of a tiled image may be smaller at the edges of the image.
    """

    rows: int
    columns: int
    samples: int
    bits_allocated: int
    bits_stored: int
    signed: bool
    planar: bool
    photometric: str
    replaced: Mapping[str, str | int]
    max_bytes: int
    tile: bool

    @classmethod
    def from_data_set(cls, data_set: Dataset, findings: Findings, max_bytes: int) -> "Layout":
        """As the data set states it, with usual values for missing attributes.

        NoFrames if that is no image, or if a decoded frame takes more than `max_bytes`.
        """
        rows, columns = _number(data_set, "Rows"), _number(data_set, "Columns")
        samples = _number(data_set, "SamplesPerPixel") or 1
        bits = _number(data_set, "BitsAllocated")
        if not rows or not columns:
            raise NoFrames("Rows and Columns do not say how large the image is")
        if bits not in (1, 8, 16, 32, 64):
            raise NoFrames("BitsAllocated is not 1, 8, 16, 32 or 64")
        needed = rows * columns * samples * max(8, bits) // 8
        if needed > max_bytes:
            raise NoFrames(f"a decoded frame would take {needed} bytes, more than FRAME_MAX_BYTES ({max_bytes})")
        stored = _number(data_set, "BitsStored") or bits
        replaced: dict[str, str | int] = {}
        photometric = str(data_set.get("PhotometricInterpretation") or "").strip()
        if not photometric:
            photometric = replaced["PhotometricInterpretation"] = _USUAL_PHOTOMETRIC.get(samples, "MONOCHROME2")
            findings.add(
                FindingKind.VALUE_REPLACED, "PhotometricInterpretation", f"it was missing and is {photometric} now"
            )
        return cls(
            rows,
            columns,
            samples,
            bits,
            min(stored, bits),
            _number(data_set, "PixelRepresentation") == 1,
            samples > 1 and _number(data_set, "PlanarConfiguration") == 1,
            photometric,
            replaced,
            max_bytes,
            "TotalPixelMatrixColumns" in data_set,
        )

    @property
    def dtype(self) -> np.dtype[Any]:
        """The type of a decoded sample, in the byte order of the machine."""
        return np.dtype(f"{'i' if self.signed else 'u'}{max(1, self.bits_allocated // 8)}")

    @property
    def sample_count(self) -> int:
        """The number of samples of a frame."""
        return self.rows * self.columns * self.samples

    @property
    def shape(self) -> tuple[int, ...]:
        """The shape of a decoded frame."""
        return (self.rows, self.columns) if self.samples == 1 else (self.rows, self.columns, self.samples)

    @property
    def is_ybr(self) -> bool:
        """Whether the samples are YCbCr of 8 bits, which can be converted to RGB."""
        return self.photometric in _YBR and self.samples == 3 and self.bits_allocated == 8

    def with_size(self, rows: int, columns: int) -> "Layout":
        """The layout of a smaller tile at the edge; this layout if the size does not fit a tile."""
        smaller = (rows, columns) != (self.rows, self.columns) and 0 < rows <= self.rows and 0 < columns <= self.columns
        return replace(self, rows=rows, columns=columns) if self.tile and smaller else self

    def with_bits(self, bits_allocated: int) -> "Layout":
        """The layout with samples of another size."""
        return replace(self, bits_allocated=bits_allocated, bits_stored=min(self.bits_stored, bits_allocated))


def declared_frames(data_set: Dataset) -> int | None:
    """NumberOfFrames, 1 if it is missing; None if it is not a number."""
    try:
        return max(1, int(data_set.get("NumberOfFrames") or 1))
    except (TypeError, ValueError, AttributeError):
        return None


def _number(data_set: Dataset, keyword: str) -> int:
    """The first number of an attribute; 0 if it is missing. NoFrames if it cannot be read."""
    try:
        value = data_set.get(keyword)
        if isinstance(value, list | tuple) or (hasattr(value, "__len__") and not isinstance(value, str | bytes)):
            value = next(iter(value), 0)
        return max(0, int(value or 0))
    except Exception as error:  # noqa: BLE001 - hostile descriptions end in any kind of error
        raise NoFrames(f"{keyword} is no number") from error
