"""Pixel data → stored frames (AWS HealthImaging Developer Guide, "supported transfer syntaxes").

Some encodings are kept byte for byte; the others are decoded and stored in the lossless format of the data store. What
that cannot hold exactly, floating-point samples and, in JPEG 2000, those of 32 bits, is stored as native Explicit VR
Little Endian. Binary pixels are stored packed, first pixel in the lowest bit, and each frame begins on a byte.
"""

import os
import zlib
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from typing import Any, TypeVar

import numpy as np
from pydicom import Dataset

from datastore.codecs import LosslessFormat, NotEncodable, Pixels, encode_lossless, resolutions
from datastore.pixels import (
    FLOAT_PIXELS,
    NATIVE,
    NATIVE_SOURCES,
    NoFrames,
    binary_frames,
    decoded_frames,
    encapsulated_frames,
    float_frames,
    source_syntax,
    video_stream,
)

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

_TRANSCODED = NATIVE_SOURCES | {
    f"1.2.840.10008.1.2.{end}"
    for end in ("4.51", "4.57", "4.70", "4.80", "4.81", "4.90", "4.92", "4.93", "4.201", "4.202", "5")
}

T = TypeVar("T")


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
            return self._encode(data_set, source_syntax(data_set), store)
        except (NoFrames, OSError):  # of the file system the import has to hear
            raise
        except Exception as error:  # noqa: BLE001 - hostile descriptions end in any kind of error
            raise NoFrames(f"the pixels are not described as they are ({type(error).__name__})") from error

    def _encode(
        self, data_set: Dataset, syntax: str, store: Callable[[int, EncodedFrame, str], T]
    ) -> tuple[Encoding, list[T]]:
        if any(name in data_set for name in FLOAT_PIXELS):
            native = Encoding(NATIVE, _OCTETS, transcoded=True)
            return native, _stored(map(_native, float_frames(data_set)), native, store)
        if syntax in KEPT_VIDEO:
            kept = Encoding(syntax, KEPT_VIDEO[syntax], transcoded=False)
            return kept, _stored([_as_is(video_stream(data_set), data_set)], kept, store)
        if syntax in KEPT_FRAMES:
            kept = Encoding(syntax, KEPT_FRAMES[syntax], transcoded=False)
            return kept, _stored((_as_is(frame, data_set) for frame in encapsulated_frames(data_set)), kept, store)
        if syntax not in _TRANSCODED:
            raise NoFrames("the transfer syntax is not supported")
        if data_set.get("BitsAllocated") == 1:
            packed = Encoding(NATIVE, _OCTETS, transcoded=False)
            return packed, _stored(map(partial(_packed, data_set), binary_frames(data_set)), packed, store)
        return self._transcode(data_set, store)

    def _transcode(self, data_set: Dataset, store: Callable[[int, EncodedFrame, str], T]) -> tuple[Encoding, list[T]]:
        lossless = self._options.lossless
        encoding = Encoding(lossless.transfer_syntax_uid, lossless.content_type, transcoded=True)
        try:
            transform = self._is_rgb_when_decoded(str(data_set.get("PhotometricInterpretation")))
            encode = partial(_lossless, options=self._options, transform=transform)
            return encoding, _stored(self._each(encode, data_set), encoding, store)
        except NotEncodable:
            native = Encoding(NATIVE, _OCTETS, transcoded=True)
            return native, _stored(self._each(_native, data_set), native, store)

    def _is_rgb_when_decoded(self, photometric_interpretation: str) -> bool:
        if photometric_interpretation in ("YBR_FULL", "YBR_FULL_422"):
            return self._options.ybr_as_rgb
        return not photometric_interpretation.startswith("YBR_PARTIAL")

    def _each(self, encode: Callable[[Pixels], EncodedFrame], data_set: Dataset) -> Iterator[EncodedFrame]:
        """The decoded frames, encoded on all cores, in order; only a few at a time are in memory."""
        waiting: deque[Future[EncodedFrame]] = deque()
        try:
            for pixels in decoded_frames(data_set, as_rgb=self._options.ybr_as_rgb):
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
    whole = pixels.dtype.kind in "iu"  # AHI has the extremes as integers
    least, greatest = (int(pixels.min()), int(pixels.max())) if whole else (None, None)
    return EncodedFrame(_little_endian(pixels), (_checksum(pixels),), least, greatest, pixels.nbytes)


def _checksum(pixels: Pixels) -> Checksum:
    """Over little-endian samples, interleaved by pixel."""
    return Checksum(pixels.shape[1], pixels.shape[0], zlib.crc32(_little_endian(pixels)))


def _little_endian(pixels: Pixels) -> bytes:
    little: Any = pixels.astype(pixels.dtype.newbyteorder("<"), copy=False)
    return bytes(np.ascontiguousarray(little).tobytes())
