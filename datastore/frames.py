"""Pixel data → stored frames (AWS HealthImaging Developer Guide, "supported transfer syntaxes").

Some encodings are kept byte for byte; the others are decoded and stored in the lossless format of the data store. What
that cannot hold exactly, 32-bit samples in JPEG 2000 for one, is stored as native Explicit VR Little Endian. Binary
pixels are stored packed, first pixel in the lowest bit, and each frame begins on a byte.
"""

import os
import zlib
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from itertools import chain, islice
from typing import Any, TypeVar

import numpy as np
from pydicom import Dataset
from pydicom.encaps import generate_fragments, generate_frames
from pydicom.pixels.decoders.base import get_decoder

from datastore.codecs import LosslessFormat, NotEncodable, Pixels, decode_extended_jpeg, encode_lossless, resolutions

_NATIVE = "1.2.840.10008.1.2.1"
_BIG_ENDIAN = "1.2.840.10008.1.2.2"
_NATIVE_SOURCES = frozenset({"1.2.840.10008.1.2", _NATIVE, "1.2.840.10008.1.2.1.99", _BIG_ENDIAN})
_JPEG_EXTENDED = "1.2.840.10008.1.2.4.51"
_JPEG_2000_SOURCES = frozenset(f"1.2.840.10008.1.2.4.{number}" for number in ("90", "92", "93", "201", "202"))
_JP2_SIGNATURE = b"\0\0\0\x0cjP  "

_OCTETS = "application/octet-stream"
_KEPT_FRAMES = {"50": "image/jpeg", "91": "image/j2c", "112": "image/jxl", "203": "image/jphc"}
_KEPT_VIDEO = {
    **dict.fromkeys(("100", "101"), "video/mpeg"),
    **dict.fromkeys(("102", "103", "104", "105", "106"), "video/mp4"),
    **dict.fromkeys(("107", "108"), "video/H256"),  # so spelled by AHI
}


def _kept(by_suffix: Mapping[str, str], *endings: str) -> Mapping[str, str]:
    return {f"1.2.840.10008.1.2.4.{number}{end}": kind for number, kind in by_suffix.items() for end in endings}


KEPT_FRAMES = _kept(_KEPT_FRAMES, "")
"""Encodings whose frames are kept as imported, and their Content-Type."""

KEPT_VIDEO = _kept(_KEPT_VIDEO, "", ".1")
"""Encodings of which the whole stream is kept as one frame, and its Content-Type."""

_TRANSCODED = _NATIVE_SOURCES | {
    f"1.2.840.10008.1.2.{end}"
    for end in ("4.51", "4.57", "4.70", "4.80", "4.81", "4.90", "4.92", "4.93", "4.201", "4.202", "5")
}

T = TypeVar("T")


class TruncatedPixelData(Exception):
    """The file ends before its pixel data does."""


class NoFrames(Exception):
    """The pixel data cannot be taken apart or decoded: the instance is imported without frames, with a warning."""


@dataclass(frozen=True)
class Options:
    """How pixels are stored. `ybr_as_rgb`: YBR_FULL sources become RGB, with the component transform, as AHI was seen
    to do while the metadata keeps its label; else components stay as labelled. `all_resolutions`: sum each of them."""

    lossless: LosslessFormat
    ybr_as_rgb: bool = True
    all_resolutions: bool = False


@dataclass(frozen=True)
class Checksum:
    """CRC-32 of a frame at one resolution."""

    width: int
    height: int
    crc32: int


@dataclass(frozen=True)
class EncodedFrame:
    """One frame to store. Extremes are None where they are not known; `decoded_bytes` is the size of native pixels."""

    stored: bytes
    checksums: tuple[Checksum, ...]
    minimum: int | None
    maximum: int | None
    decoded_bytes: int


@dataclass(frozen=True)
class Encoding:
    """How the frames of an instance are stored; `transcoded` frames are summed over their decoded pixels."""

    transfer_syntax_uid: str
    content_type: str
    transcoded: bool


def has_pixels(data_set: Dataset) -> bool:
    """Whether there is anything to store; float pixels too, though they become no frames."""
    return any(name in data_set for name in ("PixelData", "FloatPixelData", "DoubleFloatPixelData"))


def check_complete(data_set: Dataset) -> None:
    """TruncatedPixelData if a file with native pixel data ends too early."""
    if _source_syntax(data_set) not in _NATIVE_SOURCES or "PixelData" not in data_set:
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


def _source_syntax(data_set: Dataset) -> str:
    meta = getattr(data_set, "file_meta", None) or Dataset()
    return str(meta.get("TransferSyntaxUID") or "")


class FrameEncoder:
    """Encodes the frames of one instance after another on all cores. Safe to share between threads."""

    def __init__(self, options: Options, workers: int | None = None) -> None:
        self._options = options
        self._workers = workers or os.cpu_count() or 1
        self._pool = ThreadPoolExecutor(self._workers, thread_name_prefix="encode")

    def close(self) -> None:
        """End the threads."""
        self._pool.shutdown(cancel_futures=True)

    def encode(self, data_set: Dataset, store: Callable[[int, EncodedFrame, str], T]) -> tuple[Encoding, list[T]]:
        """Hand each frame to `store` with its number, from 0, and its Content-Type; NoFrames if there are none.

        What was handed over before NoFrames, or in an encoding other than the one returned, is void.
        """
        try:
            return self._encode(data_set, _source_syntax(data_set), store)
        except (NoFrames, OSError):  # of the file system the import has to hear
            raise
        except Exception as error:  # noqa: BLE001 - hostile descriptions end in any kind of error
            raise NoFrames(f"the pixels are not described as they are ({type(error).__name__})") from error

    def _encode(
        self, data_set: Dataset, syntax: str, store: Callable[[int, EncodedFrame, str], T]
    ) -> tuple[Encoding, list[T]]:
        if "PixelData" not in data_set:
            raise NoFrames("floating-point pixels cannot be stored as frames")
        if syntax in KEPT_VIDEO:
            kept = Encoding(syntax, KEPT_VIDEO[syntax], transcoded=False)
            return kept, _stored([_as_is(_stream(data_set), data_set)], kept, store)
        if syntax in KEPT_FRAMES:
            kept = Encoding(syntax, KEPT_FRAMES[syntax], transcoded=False)
            return kept, _stored((_as_is(frame, data_set) for frame in _frames(data_set)), kept, store)
        if syntax not in _TRANSCODED:
            raise NoFrames("the transfer syntax is not supported")
        if data_set.get("BitsAllocated") == 1:
            packed = Encoding(_NATIVE, _OCTETS, transcoded=False)
            return packed, _stored(map(partial(_packed, data_set), _binary(data_set)), packed, store)
        return self._transcode(data_set, store)

    def _transcode(self, data_set: Dataset, store: Callable[[int, EncodedFrame, str], T]) -> tuple[Encoding, list[T]]:
        lossless = self._options.lossless
        encoding = Encoding(lossless.transfer_syntax_uid, lossless.content_type, transcoded=True)
        try:
            transform = self._is_rgb_when_decoded(str(data_set.get("PhotometricInterpretation")))
            encode = partial(_lossless, options=self._options, transform=transform)
            return encoding, _stored(self._each(encode, data_set), encoding, store)
        except NotEncodable:
            native = Encoding(_NATIVE, _OCTETS, transcoded=True)
            return native, _stored(self._each(_native, data_set), native, store)

    def _is_rgb_when_decoded(self, photometric_interpretation: str) -> bool:
        if photometric_interpretation in ("YBR_FULL", "YBR_FULL_422"):
            return self._options.ybr_as_rgb
        return not photometric_interpretation.startswith("YBR_PARTIAL")

    def _each(self, encode: Callable[[Pixels], EncodedFrame], data_set: Dataset) -> Iterator[EncodedFrame]:
        """The decoded frames, encoded on all cores, in order; only a few at a time are in memory."""
        waiting: deque[Future[EncodedFrame]] = deque()
        try:
            for pixels in _decoded(data_set, as_rgb=self._options.ybr_as_rgb):
                waiting.append(self._pool.submit(encode, pixels))
                if len(waiting) > self._workers:
                    yield waiting.popleft().result()
            while waiting:
                yield waiting.popleft().result()
        finally:
            for future in waiting:
                future.cancel()


def _stored(
    frames: Iterable[EncodedFrame], encoding: Encoding, store: Callable[[int, EncodedFrame, str], T]
) -> list[T]:
    return [store(number, frame, encoding.content_type) for number, frame in enumerate(frames)]


def _decoded(data_set: Dataset, *, as_rgb: bool) -> Iterator[Pixels]:
    """The frames as pydicom decodes them: stored values, interleaved, full sampling; in a byte order of their own."""
    expected, count = frame_count(data_set), 0
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


def _binary(data_set: Dataset) -> Iterator[Pixels]:
    """The frames of pixels of one bit; native ones follow each other without a gap (PS3.5 Section 8.1.1)."""
    syntax = _source_syntax(data_set)
    if syntax not in _NATIVE_SOURCES:
        yield from _decoded(data_set, as_rgb=False)
        return
    content = np.frombuffer(data_set.PixelData, np.uint8)
    if syntax == _BIG_ENDIAN and data_set["PixelData"].VR == "OW":
        content = content[: content.size // 2 * 2].view(">u2").astype("<u2").view(np.uint8)
    samples = _samples(data_set)
    for start in range(0, samples * frame_count(data_set), samples):
        bits = np.unpackbits(content[start // 8 : (start + samples + 7) // 8], bitorder="little")
        yield bits[start % 8 : start % 8 + samples]


def _arrays(data_set: Dataset, as_rgb: bool) -> Iterator[Pixels]:
    syntax = _source_syntax(data_set)
    if syntax in _JPEG_2000_SOURCES and any(map(_has_empty_box, _frames(data_set))):
        raise NoFrames("a JP2 box has no length")
    arrays = (pixels for pixels, _ in get_decoder(syntax).iter_array(data_set, as_rgb=as_rgb))
    if syntax != _JPEG_EXTENDED:
        return arrays
    try:
        return chain([next(arrays)], arrays)
    except RuntimeError:
        return map(decode_extended_jpeg, _frames(data_set))


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


def _frames(data_set: Dataset) -> Iterator[bytes]:
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


def _stream(data_set: Dataset) -> bytes:
    """All fragments but the offset table, as one."""
    try:
        _offset_table, *fragments = [*generate_fragments(data_set.PixelData)]
    except Exception as error:  # noqa: BLE001 - as above
        raise NoFrames(f"the video cannot be taken apart ({type(error).__name__})") from error
    if not any(fragments):
        raise NoFrames("the video is empty")
    return b"".join(fragments)


def _as_is(stored: bytes, data_set: Dataset) -> EncodedFrame:
    width, height = int(data_set.get("Columns") or 0), int(data_set.get("Rows") or 0)
    native = width * height * int(data_set.get("SamplesPerPixel") or 1) * int(data_set.get("BitsAllocated") or 8) // 8
    return EncodedFrame(stored, (Checksum(width, height, zlib.crc32(stored)),), None, None, native)


def _packed(data_set: Dataset, pixels: Pixels) -> EncodedFrame:
    stored = np.packbits(pixels.astype(bool).ravel(), bitorder="little").tobytes()
    return _as_is(stored, data_set)


def _lossless(pixels: Pixels, *, options: Options, transform: bool) -> EncodedFrame:
    stored = encode_lossless(pixels, options.lossless, transform=transform)
    lower = resolutions(stored, options.lossless)[:-1] if options.all_resolutions else []
    checksums = tuple(map(_checksum, [*lower, pixels]))
    return EncodedFrame(stored, checksums, int(pixels.min()), int(pixels.max()), pixels.nbytes)


def _native(pixels: Pixels) -> EncodedFrame:
    return EncodedFrame(
        _little_endian(pixels), (_checksum(pixels),), int(pixels.min()), int(pixels.max()), pixels.nbytes
    )


def _checksum(pixels: Pixels) -> Checksum:
    """Over little-endian samples, interleaved by pixel."""
    return Checksum(pixels.shape[1], pixels.shape[0], zlib.crc32(_little_endian(pixels)))


def _little_endian(pixels: Pixels) -> bytes:
    little: Any = pixels.astype(pixels.dtype.newbyteorder("<"), copy=False)
    return bytes(np.ascontiguousarray(little).tobytes())
