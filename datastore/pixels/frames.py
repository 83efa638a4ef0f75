"""Pixel data → stored frames (AWS HealthImaging Developer Guide, "supported transfer syntaxes").

Some encodings are kept byte for byte; the others are decoded and stored in the lossless format of the data store.
Floating-point samples and, in JPEG 2000, samples of 32 bits do not fit that format, and are stored as native Explicit
VR Little Endian. Binary pixels are stored packed, first pixel in the lowest bit, and each frame begins on a byte.
"""

import os
import zlib
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, Generic, TypeVar

import numpy as np
from pydicom import Dataset

from datastore.calling_thread import CallingThread
from datastore.findings import FindingKind, Findings
from datastore.pixels.codecs import LosslessFormat, NotEncodable, Pixels, encode_lossless, resolutions
from datastore.pixels.decoders import DECODERS, NotDecodable, decode
from datastore.pixels.encapsulated import encapsulated_frames, video_stream
from datastore.pixels.kept import KeptFrame
from datastore.pixels.layout import FLOAT_PIXELS, FRAME_BYTES, Layout, NoFrames, declared_frames
from datastore.pixels.native import TruncatedPixelData
from datastore.pixels.pixel_data import NATIVE, SourceFrames, becomes_rgb, decoded_floats, source_frames, source_syntax

_OCTETS = "application/octet-stream"
_KEPT_FRAMES = {"50": "image/jpeg", "91": "image/j2c", "112": "image/jxl", "203": "image/jphc"}
_KEPT_VIDEO = {
    **dict.fromkeys(("100", "101"), "video/mpeg"),
    **dict.fromkeys(("102", "103", "104", "105", "106"), "video/mp4"),
    **dict.fromkeys(("107", "108"), "video/H256"),  # spelled so by AHI
}


def _kept(by_suffix: Mapping[str, str], *endings: str) -> Mapping[str, str]:
    return {f"1.2.840.10008.1.2.4.{number}{end}": kind for number, kind in by_suffix.items() for end in endings}


KEPT_FRAMES = _kept(_KEPT_FRAMES, "")
"""The transfer syntaxes whose frames are kept as imported, and their Content-Type."""

KEPT_VIDEO = _kept(_KEPT_VIDEO, "", ".1")
"""The transfer syntaxes whose whole stream is kept as one frame, and its Content-Type."""

T = TypeVar("T")
Store = Callable[[int, "EncodedFrame", str], T]


@dataclass(frozen=True)
class Options:
    """Options for storing pixels.

    `ybr_as_rgb`: YBR_FULL becomes RGB, with the component transform, while the metadata keeps its label, as AHI was
    observed to do; else components stay as labelled. `all_resolutions`: each resolution gets a checksum. `frame_bytes`:
    the largest frame in bytes that is decoded. `encode_later`: frames are kept as pixels where `KeptFrame` allows it.
    """

    lossless: LosslessFormat
    ybr_as_rgb: bool = True
    all_resolutions: bool = False
    frame_bytes: int = FRAME_BYTES
    encode_later: bool = False


@dataclass(frozen=True)
class Checksum:
    """The CRC-32 of a frame at one resolution."""

    width: int
    height: int
    crc32: int


@dataclass(frozen=True)
class EncodedFrame:
    """One frame to store. Extremes are None if they are unknown; `decoded_bytes` is the size of native pixels.

    `source` is what the stored bytes follow from: a frame of an equal source is the same frame. With `is_kept` the
    stored bytes are those of a `KeptFrame`.
    """

    stored: bytes
    checksums: tuple[Checksum, ...]
    minimum: int | None
    maximum: int | None
    decoded_bytes: int
    source: bytes
    is_kept: bool = False


@dataclass(frozen=True)
class Encoding:
    """The encoding of the frames of an instance; checksums of `transcoded` frames are over decoded pixels."""

    transfer_syntax_uid: str
    content_type: str
    transcoded: bool


@dataclass(frozen=True)
class EncodedInstance(Generic[T]):
    """The frames of an instance: their encoding, the result of `store` for each, and corrected attributes."""

    encoding: Encoding
    frames: list[T]
    replaced: Mapping[str, str | int]


class FrameEncoder:
    """Encodes the frames of one instance after another on all cores. Safe to share between threads."""

    def __init__(self, options: Options, workers: int | None = None) -> None:
        self._options = options
        self._workers = workers or os.cpu_count() or 1
        self._pool = ThreadPoolExecutor(self._workers, thread_name_prefix="encode")

    def close(self) -> None:
        """End the threads."""
        self._pool.shutdown(cancel_futures=True)

    def encode(self, data_set: Dataset, store: Store[T], findings: Findings) -> EncodedInstance[T]:
        """Call `store` for each frame with its index from 0 and its Content-Type; NoFrames if there are none.

        Calls before NoFrames, or with another encoding than the one returned, are void. Losses are added to `findings`.
        """
        try:
            encoded = self._encode(data_set, source_syntax(data_set), store, findings)
        except (NoFrames, OSError):  # errors of the file system stop the import
            raise
        except TruncatedPixelData as error:
            raise NoFrames("the pixel data ends before its first frame does") from error
        except Exception as error:  # noqa: BLE001 - hostile descriptions end in any kind of error
            raise NoFrames(f"the pixels are not described as they are ({type(error).__name__})") from error
        count = len(encoded.frames)
        if encoded.encoding.transfer_syntax_uid in KEPT_VIDEO or declared_frames(data_set) == count:
            return encoded
        findings.add(FindingKind.VALUE_REPLACED, "NumberOfFrames", f"it is {count} now")
        return replace(encoded, replaced={**encoded.replaced, "NumberOfFrames": str(count)})

    def _encode(self, data_set: Dataset, syntax: str, store: Store[T], findings: Findings) -> EncodedInstance[T]:
        if any(name in data_set for name in FLOAT_PIXELS):
            native = Encoding(NATIVE, _OCTETS, transcoded=True)
            return EncodedInstance(
                native,
                _stored(map(_native, decoded_floats(data_set, findings, self._options.frame_bytes)), native, store),
                {},
            )
        if syntax in KEPT_VIDEO:
            kept = Encoding(syntax, KEPT_VIDEO[syntax], transcoded=False)
            return EncodedInstance(kept, _stored([_as_is(video_stream(data_set), data_set)], kept, store), {})
        if syntax in KEPT_FRAMES:
            kept = Encoding(syntax, KEPT_FRAMES[syntax], transcoded=False)
            return EncodedInstance(kept, _stored(self._kept(data_set, syntax, findings), kept, store), {})
        frames = source_frames(data_set, findings, as_rgb=self._options.ybr_as_rgb, max_bytes=self._options.frame_bytes)
        if frames.layout.bits_allocated == 1:
            packed = Encoding(NATIVE, _OCTETS, transcoded=False)
            each = self._each(partial(_packed, data_set), frames, data_set, findings)
            return EncodedInstance(packed, _stored(each, packed, store), frames.layout.replaced)
        return self._transcode(frames, data_set, store, findings)

    def _kept(self, data_set: Dataset, syntax: str, findings: Findings) -> Iterator[EncodedFrame]:
        """The frames as they are; those that cannot be decoded become findings."""
        frames = encapsulated_frames(data_set, findings)
        check = partial(_why_not_decodable, data_set, syntax, self._options.frame_bytes)
        for number, (frame, why) in enumerate(zip(frames, self._pool.map(check, frames), strict=True), 1):
            if why is not None:
                findings.add(FindingKind.FRAME_UNREADABLE, f"frame {number}", why)
            yield _as_is(frame, data_set)

    def _transcode(
        self, frames: SourceFrames, data_set: Dataset, store: Store[T], findings: Findings
    ) -> EncodedInstance[T]:
        lossless = self._options.lossless
        encoding = Encoding(lossless.transfer_syntax_uid, lossless.content_type, transcoded=True)
        transform = becomes_rgb(frames, as_rgb=self._options.ybr_as_rgb)
        encode = partial(_lossless, options=self._options, transform=transform)
        of_attempt = Findings()
        try:
            stored = _stored(self._each(encode, frames, data_set, of_attempt), encoding, store)
        except NotEncodable:
            of_attempt, encoding = Findings(), Encoding(NATIVE, _OCTETS, transcoded=True)
            stored = _stored(self._each(_native, frames, data_set, of_attempt), encoding, store)
        findings.extend(of_attempt)
        return EncodedInstance(encoding, stored, frames.layout.replaced)

    def _each(
        self, encode: Callable[[Pixels], EncodedFrame], frames: SourceFrames, data_set: Dataset, findings: Findings
    ) -> Iterator[EncodedFrame]:
        """The frames, decoded and encoded on all cores, in order; only a few are in memory at a time.

        A single frame is encoded by the caller's thread, which would only wait for another one.

        A frame that cannot be decoded is kept as it is if another one can be decoded, else NoFrames.
        """
        pool = self._pool if frames.count > 1 else CallingThread()
        waiting: deque[tuple[int, Future[EncodedFrame]]] = deque()
        reasons: dict[int, str] = {}

        def finished() -> EncodedFrame:
            index, future = waiting.popleft()
            try:
                return future.result()
            except NotDecodable as error:
                reasons[index] = str(error)
                if len(reasons) == frames.count:
                    raise NoFrames(reasons[0]) from error
                return _as_is(frames.stored(index), data_set)

        try:
            for index in range(frames.count):
                waiting.append((index, pool.submit(_encoded, encode, frames, index)))
                if len(waiting) > self._workers:
                    yield finished()
            while waiting:
                yield finished()
        finally:
            for _, future in waiting:
                future.cancel()
        for index, reason in reasons.items():
            findings.add(FindingKind.FRAME_UNREADABLE, f"frame {index + 1}", reason)


def _encoded(encode: Callable[[Pixels], EncodedFrame], frames: SourceFrames, index: int) -> EncodedFrame:
    return encode(frames.decoded(index))


def _why_not_decodable(data_set: Dataset, syntax: str, max_bytes: int, frame: bytes) -> str | None:
    """The reason why a kept frame cannot be decoded; None if it can, or if there is no decoder to try."""
    if syntax not in DECODERS:
        return None
    try:
        decode(frame, syntax, Layout.from_data_set(data_set, Findings(), max_bytes), as_rgb=False)
    except (NotDecodable, NoFrames) as error:
        return str(error)
    return None


def _stored(frames: Iterable[EncodedFrame], encoding: Encoding, store: Store[T]) -> list[T]:
    return [store(number, frame, encoding.content_type) for number, frame in enumerate(frames)]


def _as_is(stored: bytes, data_set: Dataset) -> EncodedFrame:
    width, height = int(data_set.get("Columns") or 0), int(data_set.get("Rows") or 0)
    native = width * height * int(data_set.get("SamplesPerPixel") or 1) * int(data_set.get("BitsAllocated") or 8) // 8
    return EncodedFrame(stored, (Checksum(width, height, zlib.crc32(stored)),), None, None, native, stored)


def _packed(data_set: Dataset, pixels: Pixels) -> EncodedFrame:
    stored = np.packbits(pixels.astype(bool).ravel(), bitorder="little").tobytes()
    return _as_is(stored, data_set)


def _lossless(pixels: Pixels, *, options: Options, transform: bool) -> EncodedFrame:
    frame = KeptFrame(pixels, transform)
    source = frame.to_bytes()
    is_kept = options.encode_later and not options.all_resolutions and frame.can_wait
    stored = source if is_kept else encode_lossless(pixels, options.lossless, transform=transform)
    lower = resolutions(stored, options.lossless)[:-1] if options.all_resolutions else []
    checksums = tuple(map(_checksum, [*lower, pixels]))
    least, greatest = int(pixels.min()), int(pixels.max())
    return EncodedFrame(stored, checksums, least, greatest, pixels.nbytes, source, is_kept)


def _native(pixels: Pixels) -> EncodedFrame:
    whole = pixels.dtype.kind in "iu"  # AHI states the extremes as integers
    least, greatest = (int(pixels.min()), int(pixels.max())) if whole else (None, None)
    stored = _little_endian(pixels)
    return EncodedFrame(stored, (_checksum(pixels),), least, greatest, pixels.nbytes, stored)


def _checksum(pixels: Pixels) -> Checksum:
    """The checksum over little-endian samples, interleaved by pixel."""
    return Checksum(pixels.shape[1], pixels.shape[0], zlib.crc32(_little_endian(pixels)))


def _little_endian(pixels: Pixels) -> bytes:
    little: Any = pixels.astype(pixels.dtype.newbyteorder("<"), copy=False)
    return bytes(np.ascontiguousarray(little).tobytes())
