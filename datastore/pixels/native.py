"""Native pixel data → frames, interleaved by pixel (PS3.5 Section 8.1, PS3.3 C.7.6.3).

All bits of a word are kept, even those above BitsStored: they may hold old overlays, or samples of another HighBit.
"""

from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from pydicom.pixels.processing import convert_color_space

from datastore.findings import FindingKind, Findings
from datastore.pixels.codecs import Pixels
from datastore.pixels.layout import Layout, NoFrames


class TruncatedPixelData(Exception):
    """The file ends before the first frame of its pixel data does."""


@dataclass(frozen=True)
class NativeFrames:
    """The frames of native pixel data; `content` is little endian."""

    content: bytes
    layout: Layout
    count: int
    subsampled: bool
    as_rgb: bool

    @classmethod
    def of(
        cls, content: bytes, layout: Layout, declared: int | None, findings: Findings, *, as_rgb: bool
    ) -> "NativeFrames":
        """The whole frames, at most as many as declared; the rest becomes findings.

        TruncatedPixelData if there is no whole frame.
        """
        subsampled = _is_subsampled(content, layout, declared)
        frame_bits = _frame_bits(layout, subsampled=subsampled)
        whole = 8 * len(content) // frame_bits
        if whole == 0:
            raise TruncatedPixelData
        count = whole if declared is None else min(declared, whole)
        if declared is not None and whole < declared:
            reason = f"the pixel data has {whole} frames, NumberOfFrames says {declared}"
            findings.add(FindingKind.FRAMES_MISSING, "PixelData", reason)
        left_bytes = len(content) - (count * frame_bits + 7) // 8
        if left_bytes > 1 and whole > count:
            reason = f"there are {whole} frames, NumberOfFrames says {declared}"
            findings.add(FindingKind.FRAMES_LEFT_OUT, "PixelData", reason)
        elif left_bytes > 1:
            findings.add(FindingKind.STRAY, "PixelData", f"{left_bytes} bytes after the last frame")
        if layout.photometric == "YBR_FULL_422" and layout.samples == 3 and not subsampled:
            findings.add(
                FindingKind.STRAY, "PhotometricInterpretation", "the pixels are YBR_FULL, the label says YBR_FULL_422"
            )
        return cls(content, layout, count, subsampled, as_rgb)

    def decoded(self, index: int) -> Pixels:
        """A frame: rows x columns, or rows x columns x samples; flat if pixels have one bit."""
        layout, bits = self.layout, _frame_bits(self.layout, subsampled=self.subsampled)
        start = index * bits
        if layout.bits_allocated == 1:
            packed = self._bytes[start // 8 : (start + bits + 7) // 8]
            return np.unpackbits(packed, bitorder="little")[start % 8 : start % 8 + bits]
        samples = self._bytes[start // 8 : (start + bits) // 8].view(layout.dtype.newbyteorder("<"))
        if self.subsampled:
            pixels = _full_sampling(samples).reshape(layout.shape)
        elif layout.planar:
            pixels = samples.reshape(layout.samples, layout.rows, layout.columns).transpose(1, 2, 0)
        else:
            pixels = samples.reshape(layout.shape)
        return rgb(pixels) if self.as_rgb and layout.is_ybr else pixels

    def stored(self, _index: int) -> bytes:
        """Empty: native frames always decode."""
        return b""

    @cached_property
    def _bytes(self) -> np.ndarray[Any, Any]:
        return np.frombuffer(self.content, np.uint8)


def rgb(pixels: Pixels) -> Pixels:
    """RGB from YCbCr of 8 bits and full sampling (PS3.3 Section C.7.6.3.1.2)."""
    return np.asarray(convert_color_space(np.ascontiguousarray(pixels), "YBR_FULL", "RGB", per_frame=True))


def little_endian(content: bytes, vr: str, layout: Layout) -> bytes:
    """Big-endian pixel data as little endian; OW is swapped in words, even if its samples are bytes."""
    size = max(layout.bits_allocated // 8, 2 if vr == "OW" else 1)
    whole = len(content) // size * size
    return np.frombuffer(content[:whole], f">u{size}").astype(f"<u{size}").tobytes() + content[whole:]


def _is_subsampled(content: bytes, layout: Layout, declared: int | None) -> bool:
    """Whether two pixels share their colour: only if the label says so and there is no room for all samples."""
    if layout.photometric != "YBR_FULL_422" or layout.samples != 3 or layout.sample_count % 2:
        return False
    return len(content) < layout.sample_count * (layout.bits_allocated // 8) * (declared or 1)


def _frame_bits(layout: Layout, *, subsampled: bool) -> int:
    return layout.sample_count * layout.bits_allocated // (3 if subsampled else 1) * (2 if subsampled else 1)


def _full_sampling(samples: Pixels) -> Pixels:
    """Two pixels from each group of Y, Y, Cb, Cr (PS3.3 Section C.7.6.3.1.2)."""
    first, second, blue, red = samples.reshape(-1, 4).T
    return np.stack((first, blue, red, second, blue, red), axis=1).reshape(-1, 3)


def float_frames(content: bytes, sample: np.dtype[Any], layout: Layout, count: int) -> list[Pixels]:
    """The frames of floating-point pixels, rows x columns; NoFrames if the description does not fit."""
    size = layout.sample_count * sample.itemsize
    if layout.samples != 1 or layout.bits_allocated != 8 * sample.itemsize or len(content) < size * count:
        raise NoFrames("floating-point pixels are not described as they are")
    frames = (np.frombuffer(content, sample, layout.sample_count, index * size) for index in range(count))
    return [frame.reshape(layout.shape) for frame in frames]
