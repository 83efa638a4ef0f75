"""The pixel data of a file as frames, each as it is stored and as it decodes."""

import sys
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from pydicom import Dataset

from datastore.findings import Findings
from datastore.pixels.codecs import Pixels
from datastore.pixels.decoders import DECODERS, coded_bits, decode, has_colour_transform
from datastore.pixels.encapsulated import encapsulated_frames
from datastore.pixels.layout import FLOAT_PIXELS, Layout, NoFrames, declared_frames
from datastore.pixels.native import NativeFrames, float_frames, little_endian
from dicomweb.codestream import size_of

NATIVE = "1.2.840.10008.1.2.1"
_BIG_ENDIAN = "1.2.840.10008.1.2.2"
NATIVE_SOURCES = frozenset({"1.2.840.10008.1.2", NATIVE, "1.2.840.10008.1.2.1.99", _BIG_ENDIAN})


class SourceFrames(Protocol):
    """The frames of a file, counted from 0."""

    @property
    def layout(self) -> Layout:
        """The layout of decoded frames."""

    @property
    def count(self) -> int:
        """The number of frames."""

    def decoded(self, index: int, /) -> Pixels:
        """Stored values of one frame, interleaved and not subsampled, in any byte order; NotDecodable."""

    def stored(self, index: int, /) -> bytes:
        """The bytes of one frame in the file; empty for native frames, which always decode."""


@dataclass(frozen=True)
class EncodedFrames:
    """Frames in the encoding of the file."""

    frames: list[bytes]
    syntax: str
    layout: Layout
    as_rgb: bool

    @property
    def count(self) -> int:
        """The number of frames."""
        return len(self.frames)

    def decoded(self, index: int) -> Pixels:
        """The decoded frame; NotDecodable."""
        return decode(self.frames[index], self.syntax, self.layout, as_rgb=self.as_rgb)

    def stored(self, index: int) -> bytes:
        """The bytes of the frame in the file."""
        return self.frames[index]


def has_pixels(data_set: Dataset) -> bool:
    """Whether the data set has pixel data."""
    return "PixelData" in data_set or any(name in data_set for name in FLOAT_PIXELS)


def check_complete(data_set: Dataset) -> None:
    """Raise TruncatedPixelData if native pixel data ends before its first frame does."""
    if source_syntax(data_set) not in NATIVE_SOURCES or "PixelData" not in data_set:
        return
    try:
        source_frames(data_set, Findings(), as_rgb=False, max_bytes=sys.maxsize)
    except NoFrames:
        return


def source_syntax(data_set: Dataset) -> str:
    """The transfer syntax of a file; "" if it states none."""
    meta = getattr(data_set, "file_meta", None) or Dataset()
    return str(meta.get("TransferSyntaxUID") or "")


def source_frames(data_set: Dataset, findings: Findings, *, as_rgb: bool, max_bytes: int) -> SourceFrames:
    """The frames of integer pixels. `as_rgb`: YCbCr of 8 bits becomes RGB.

    NoFrames if there are none that can be decoded within `max_bytes` each. TruncatedPixelData if native pixel data ends
    before its first frame does.
    """
    syntax = source_syntax(data_set)
    layout = Layout.from_data_set(data_set, findings, max_bytes)
    if syntax in NATIVE_SOURCES:
        content = bytes(data_set.PixelData or b"")
        if syntax == _BIG_ENDIAN:
            content = little_endian(content, data_set["PixelData"].VR, layout)
        return NativeFrames.of(content, layout, declared_frames(data_set), findings, as_rgb=as_rgb)
    if syntax not in DECODERS:
        raise NoFrames("the transfer syntax is not supported")
    return EncodedFrames(encapsulated_frames(data_set, findings), syntax, layout, as_rgb)


def becomes_rgb(frames: SourceFrames, *, as_rgb: bool) -> bool:
    """Whether decoded frames are RGB, or other components that the transform of a codec applies to."""
    label = frames.layout.photometric
    if label in ("YBR_FULL", "YBR_FULL_422"):
        first = frames.stored(0)
        size = size_of(first)
        return has_colour_transform(first) or as_rgb and frames.layout.with_bits(coded_bits(frames.layout, size)).is_ybr
    return not label.startswith("YBR_PARTIAL")


def decoded_floats(data_set: Dataset, findings: Findings, max_bytes: int) -> list[Pixels]:
    """The frames of floating-point pixels, rows x columns, which must be native; else NoFrames."""
    syntax = source_syntax(data_set)
    if syntax not in NATIVE_SOURCES:
        raise NoFrames("floating-point pixels are not described as they are")
    name, sample = next((name, sample) for name, sample in FLOAT_PIXELS.items() if name in data_set)
    stored = sample.newbyteorder(">") if syntax == _BIG_ENDIAN else sample
    layout = Layout.from_data_set(data_set, findings, max_bytes)
    return float_frames(data_set[name].value, np.dtype(stored), layout, declared_frames(data_set) or 1)
