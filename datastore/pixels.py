"""Pixel data of a file, taken apart and decoded by pydicom. Hostile bytes end in NoFrames, whatever a decoder does."""

from collections.abc import Iterator, Mapping
from itertools import chain, islice
from typing import Any

import numpy as np
from pydicom import Dataset
from pydicom.encaps import generate_fragments, generate_frames
from pydicom.pixels.decoders.base import get_decoder

from datastore.codecs import Pixels, decode_extended_jpeg
from dicomweb.codestream import size_of

NATIVE = "1.2.840.10008.1.2.1"
_BIG_ENDIAN = "1.2.840.10008.1.2.2"
NATIVE_SOURCES = frozenset({"1.2.840.10008.1.2", NATIVE, "1.2.840.10008.1.2.1.99", _BIG_ENDIAN})
_JPEG_EXTENDED = "1.2.840.10008.1.2.4.51"
_JPEG_2000_SOURCES = frozenset(f"1.2.840.10008.1.2.4.{number}" for number in ("90", "92", "93", "201", "202"))
FLOAT_PIXELS: Mapping[str, np.dtype[Any]] = {"FloatPixelData": np.dtype("<f4"), "DoubleFloatPixelData": np.dtype("<f8")}
"""The elements of floating-point pixels, and their samples (PS3.3 Section C.7.6.24, C.7.6.25)."""

MOST_FRAME_BYTES = 2**30
"""How many bytes a decoded frame may have; an import has the memory of its machine to itself."""

_JP2_SIGNATURE = b"\0\0\0\x0cjP  "


class TruncatedPixelData(Exception):
    """The file ends before its pixel data does."""


class NoFrames(Exception):
    """The pixel data cannot be taken apart or decoded: the instance is imported without frames, with a warning."""


def has_pixels(data_set: Dataset) -> bool:
    """Whether there is anything to store."""
    return "PixelData" in data_set or any(name in data_set for name in FLOAT_PIXELS)


def check_complete(data_set: Dataset) -> None:
    """TruncatedPixelData if a file with native pixel data ends too early."""
    if source_syntax(data_set) not in NATIVE_SOURCES or "PixelData" not in data_set:
        return
    try:
        expected_bits = _samples(data_set) * int(data_set.BitsAllocated) * frame_count(data_set)
    except (AttributeError, TypeError, ValueError):
        return
    if data_set.get("PhotometricInterpretation") == "YBR_FULL_422":
        expected_bits = expected_bits // 3 * 2
    if 8 * len(data_set.PixelData or b"") < expected_bits:
        raise TruncatedPixelData


def frame_count(data_set: Dataset) -> int:
    """NumberOfFrames, 1 when it is not said; ValueError, TypeError when it is no number."""
    return max(1, int(data_set.get("NumberOfFrames") or 1))


def _samples(data_set: Dataset) -> int:
    return int(data_set.Rows) * int(data_set.Columns) * int(data_set.get("SamplesPerPixel") or 1)


def source_syntax(data_set: Dataset) -> str:
    meta = getattr(data_set, "file_meta", None) or Dataset()
    return str(meta.get("TransferSyntaxUID") or "")


def decoded_frames(data_set: Dataset, *, as_rgb: bool) -> Iterator[Pixels]:
    """The frames as pydicom decodes them: stored values, interleaved, full sampling; in a byte order of their own."""
    expected, count = frame_count(data_set), 0
    _check_size(data_set)
    try:
        for pixels in islice(_arrays(data_set, as_rgb), expected):
            count += 1
            yield _integers(pixels)
    except NoFrames:
        raise
    except BaseException as error:
        # Decoders raise of every kind on bytes that they cannot read; those in Rust even what is no Exception.
        if not isinstance(error, Exception) and type(error).__name__ != "PanicException":
            raise
        raise NoFrames(f"the pixel data cannot be decoded ({type(error).__name__})") from error
    if count < expected:
        raise NoFrames(f"the pixel data has {count} frames, NumberOfFrames says {expected}")


def _check_size(data_set: Dataset) -> None:
    """NoFrames where a decoded frame would take too much memory, by the data set or by what a codestream claims."""
    try:
        claimed = [_samples(data_set) * max(8, int(data_set.BitsAllocated)) // 8]
    except (AttributeError, TypeError, ValueError):
        claimed = []
    if source_syntax(data_set) not in NATIVE_SOURCES and "PixelData" in data_set:
        sizes = (size_of(frame) for frame in encapsulated_frames(data_set))
        claimed += [size.native_bytes for size in sizes if size]
    if claimed and max(claimed) > MOST_FRAME_BYTES:
        raise NoFrames(f"a decoded frame would take {max(claimed)} bytes, more than {MOST_FRAME_BYTES}")


def binary_frames(data_set: Dataset) -> Iterator[Pixels]:
    """The frames of pixels of one bit; native ones follow each other without a gap (PS3.5 Section 8.1.1)."""
    syntax = source_syntax(data_set)
    if syntax not in NATIVE_SOURCES:
        yield from decoded_frames(data_set, as_rgb=False)
        return
    content = np.frombuffer(data_set.PixelData, np.uint8)
    if syntax == _BIG_ENDIAN and data_set["PixelData"].VR == "OW":
        content = content[: content.size // 2 * 2].view(">u2").astype("<u2").view(np.uint8)
    samples = _samples(data_set)
    for start in range(0, samples * frame_count(data_set), samples):
        bits = np.unpackbits(content[start // 8 : (start + samples + 7) // 8], bitorder="little")
        yield bits[start % 8 : start % 8 + samples]


def float_frames(data_set: Dataset) -> Iterator[Pixels]:
    """The frames of floating-point pixels, rows x columns, little endian; they are native whatever happens."""
    syntax = source_syntax(data_set)
    name, sample = next((name, sample) for name, sample in FLOAT_PIXELS.items() if name in data_set)
    if syntax not in NATIVE_SOURCES or data_set.get("BitsAllocated") != 8 * sample.itemsize:
        raise NoFrames("floating-point pixels are not described as they are")
    content, samples, count = data_set[name].value, _samples(data_set), frame_count(data_set)
    if not samples or data_set.get("SamplesPerPixel", 1) != 1 or len(content) < samples * sample.itemsize * count:
        raise NoFrames("floating-point pixels are not described as they are")
    stored = sample.newbyteorder(">") if syntax == _BIG_ENDIAN else sample
    for index in range(count):
        frame = np.frombuffer(content, stored, samples, index * samples * sample.itemsize)
        yield frame.reshape(int(data_set.Rows), int(data_set.Columns))


def _arrays(data_set: Dataset, as_rgb: bool) -> Iterator[Pixels]:
    syntax = source_syntax(data_set)
    if syntax in _JPEG_2000_SOURCES and any(map(_has_empty_box, encapsulated_frames(data_set))):
        raise NoFrames("a JP2 box has no length")
    arrays = (pixels for pixels, _ in get_decoder(syntax).iter_array(data_set, as_rgb=as_rgb))
    if syntax != _JPEG_EXTENDED:
        return arrays
    try:
        return chain([next(arrays)], arrays)
    except RuntimeError:
        return map(decode_extended_jpeg, encapsulated_frames(data_set))


def _has_empty_box(frame: bytes) -> bool:
    """Whether a box before the codestream says that it ends where it begins: pydicom would look at it forever."""
    if not frame.startswith(_JP2_SIGNATURE):
        return False
    position = 12  # the length of the first box
    while position < len(frame) and frame[position + 4 : position + 8] != b"jp2c":
        length_bytes = int.from_bytes(frame[position : position + 4], "big")
        if length_bytes == 0:
            return True
        position += length_bytes
    return False


def _integers(pixels: Pixels) -> Pixels:
    if pixels.dtype.kind not in "iu":
        raise NoFrames("floating-point pixels cannot be stored as frames")
    return pixels


def encapsulated_frames(data_set: Dataset) -> Iterator[bytes]:
    """The encapsulated frames, byte for byte (PS3.5 Annex A.4)."""
    offsets = None
    if "ExtendedOffsetTable" in data_set and "ExtendedOffsetTableLengths" in data_set:
        offsets = (data_set.ExtendedOffsetTable, data_set.ExtendedOffsetTableLengths)
    count = 0
    try:
        expected = frame_count(data_set)
        found = generate_frames(data_set.PixelData, number_of_frames=expected, extended_offsets=offsets)
        for count, frame in enumerate(found, 1):
            if count > expected:
                raise NoFrames("there are more frames than NumberOfFrames says")
            yield frame
    except NoFrames:
        raise
    except Exception as error:  # noqa: BLE001 - hostile offsets and items end in any kind of error
        raise NoFrames(f"the pixel data cannot be taken apart ({type(error).__name__})") from error
    if count < expected:
        raise NoFrames(f"the pixel data has {count} frames, NumberOfFrames says {expected}")


def video_stream(data_set: Dataset) -> bytes:
    """All fragments but the offset table, as one."""
    try:
        _offset_table, *fragments = [*generate_fragments(data_set.PixelData)]
    except Exception as error:  # noqa: BLE001 - as above
        raise NoFrames(f"the video cannot be taken apart ({type(error).__name__})") from error
    if not any(fragments):
        raise NoFrames("the video is empty")
    return b"".join(fragments)
