"""Whatever the pixels are and however they are encoded: what is served is the source, or the report names the loss."""

import io
import zlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import imagecodecs
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pydicom import Dataset, dcmread
from pydicom.pixels import convert_color_space, pixel_array
from pydicom.uid import UID

from datastore.importing.scan import Unreadable, quiet
from tests.datastore.made import encapsulated, with_pixels
from tests.datastore.through import assert_served, served

SLOW: dict[str, Any] = {
    "deadline": None,
    "derandomize": True,
    "suppress_health_check": [HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
}
PREFIX = "1.2.840.10008.1.2."
NATIVE = ("", "1", "1.99", "2")


@dataclass(frozen=True)
class Codec:
    """What an encoding can hold: bits of a sample, signed ones, how many samples."""

    bits: tuple[int, ...]
    signs: bool = False
    colour: bool = True


CODECS = {
    **dict.fromkeys(NATIVE, Codec((1, 8, 16, 32), signs=True)),
    "5": Codec((1, 8, 16, 32), signs=True),
    "8.1": Codec((1, 8, 16, 32), signs=True),
    "4.57": Codec((8, 16)),
    "4.70": Codec((8, 16)),
    "4.80": Codec((8, 16)),
    "4.90": Codec((8, 16), signs=True),
    "4.91": Codec((8, 16), signs=True),
    "4.110": Codec((8, 16)),
    "4.201": Codec((8, 16), signs=True),
    "4.202": Codec((8, 16), signs=True),
    "4.203": Codec((8, 16), signs=True),
}


@dataclass(frozen=True)
class Picture:
    """A source and the frames that it has, frames x rows x columns (x samples), in the type of BitsAllocated."""

    data_set: Dataset
    frames: np.ndarray


def _codestream(syntax: str, frame: np.ndarray) -> bytes:
    colour = frame.ndim == 3
    if syntax in ("4.57", "4.70"):
        bits = 8 * frame.dtype.itemsize
        spaces: dict[str, Any] = {"colorspace": "RGB", "outcolorspace": "RGB"} if colour else {}
        return bytes(imagecodecs.jpeg8_encode(frame, lossless=True, predictor=1, bitspersample=bits, **spaces))
    if syntax == "4.80":
        return bytes(imagecodecs.jpegls_encode(frame))
    if syntax == "4.110":
        return bytes(imagecodecs.jpegxl_encode(frame, lossless=True))
    if syntax in ("4.90", "4.91"):
        return bytes(imagecodecs.jpeg2k_encode(frame, level=0, codecformat="J2K", reversible=True))
    return bytes(imagecodecs.htj2k_encode(frame, reversible=True))


def _deflated(content: bytes) -> bytes:
    packer = zlib.compressobj(wbits=-zlib.MAX_WBITS)
    return packer.compress(content) + packer.flush()


def _rle(planes: list[bytes]) -> bytes:
    """A segment for each plane of bytes (PS3.5 Annex G)."""
    segments = [bytes(imagecodecs.packbits_encode(plane)) for plane in planes]
    segments = [segment + b"\0" * (len(segment) % 2) for segment in segments]
    starts = np.cumsum([64, *map(len, segments[:-1])])
    return np.array([len(segments), *starts] + [0] * (15 - len(segments)), "<u4").tobytes() + b"".join(segments)


def _planes(frame: np.ndarray) -> list[bytes]:
    """The bytes of each sample, the highest of all pixels first."""
    samples = frame.reshape(-1, frame.shape[2] if frame.ndim == 3 else 1).T
    return [
        np.ascontiguousarray(plane).view(np.uint8)[at :: frame.dtype.itemsize].tobytes()
        for plane in samples
        for at in range(frame.dtype.itemsize - 1, -1, -1)
    ]


@st.composite
def pictures(draw: st.DrawFn) -> Picture:
    """Valid images: transfer syntax x bits x signs x colours x layout x frames, with pixels of all values."""
    syntax = draw(st.sampled_from([*CODECS]))
    codec = CODECS[syntax]
    bits = draw(st.sampled_from(codec.bits))
    samples = draw(st.sampled_from([1, 1, 3])) if bits > 1 and codec.colour else 1
    signed = bits > 1 and samples == 1 and draw(st.booleans())
    shape = tuple(draw(st.integers(1, top)) for top in (3, 17, 17)) + ((3,) if samples == 3 else ())
    if syntax.startswith("4.") and bits > 1:
        shape = (shape[0], max(shape[1], 2), max(shape[2], 2), *shape[3:])
    generator = np.random.default_rng(draw(st.integers(0, 2**32)))
    if bits == 1:
        return _of_bits(syntax, generator.integers(0, 2, shape).astype(np.uint8))
    room = draw(st.sampled_from([each for each in (8, 16, 32) if each >= bits])) if syntax.startswith("4.") else bits
    if signed and not codec.signs and room == bits:
        stored = bits
    else:
        stored = draw(st.integers(max(1, bits - 7), bits)) if not signed and samples == 1 else bits
    high = draw(st.integers(stored - 1, bits - 1)) if room == bits else stored - 1
    pixels = generator.integers(0, 2**bits, shape, np.uint64).astype(f"u{bits // 8}")
    pixels = pixels.view(f"i{bits // 8}") if signed else pixels
    frames = pixels.astype(f"{'i' if signed else 'u'}{room // 8}")
    photometric = (
        draw(st.sampled_from(["RGB", "YBR_FULL"]))
        if samples == 3 and room == 8 and syntax in (*NATIVE, "5", "8.1")
        else "RGB"
    )
    described: dict[str, Any] = {"BitsAllocated": room, "BitsStored": stored, "HighBit": high}
    label = photometric if samples == 3 else draw(st.sampled_from(["MONOCHROME1", "MONOCHROME2"]))
    data_set = with_pixels(frames, label, **described)
    data_set.file_meta.TransferSyntaxUID = UID(PREFIX.removesuffix(".") if syntax == "" else PREFIX + syntax)
    if samples == 3:
        data_set.PlanarConfiguration = planar = draw(st.sampled_from([0, 1])) if syntax in (*NATIVE, "8.1") else 0
    if syntax in NATIVE or syntax == "8.1":
        laid = frames.transpose(0, 3, 1, 2) if samples == 3 and planar else frames
        order = ">" if syntax == "2" else "<"
        contents = [np.ascontiguousarray(frame).astype(frame.dtype.newbyteorder(order)).tobytes() for frame in laid]
        if syntax == "8.1":
            data_set = _encapsulated(data_set, [_deflated(content) for content in contents])
        else:
            whole = b"".join(contents)
            data_set["PixelData"].VR = "OW" if bits > 8 or syntax == "" else "OB"
            data_set.PixelData = whole + b"\0" * (len(whole) % 2)
    elif syntax == "5":
        data_set = _encapsulated(data_set, [_rle(_planes(frame)) for frame in frames])
    else:
        flat = pixels if codec.signs or not signed else pixels.view(f"u{bits // 8}")
        data_set = _encapsulated(data_set, [_codestream(syntax, frame) for frame in flat])
    expected = convert_color_space(frames, "YBR_FULL", "RGB", per_frame=True) if photometric == "YBR_FULL" else frames
    return Picture(data_set, expected)


def _of_bits(syntax: str, pixels: np.ndarray) -> Picture:
    data_set = with_pixels(pixels.astype(bool))
    data_set.file_meta.TransferSyntaxUID = UID(PREFIX.removesuffix(".") if syntax == "" else PREFIX + syntax)
    if syntax not in NATIVE:
        packed = [np.packbits(frame, bitorder="little").tobytes() for frame in pixels]
        data_set = _encapsulated(data_set, [_rle([one]) if syntax == "5" else _deflated(one) for one in packed])
    return Picture(data_set, pixels.reshape(len(pixels), -1))


def _encapsulated(described: Dataset, frames: list[bytes]) -> Dataset:
    """The same data set with encoded frames."""
    data_set = encapsulated(described.file_meta.TransferSyntaxUID, frames)
    for element in described:
        if element.keyword != "PixelData":
            data_set[element.tag] = element
    return data_set


@settings(max_examples=250, **SLOW)
@given(picture=pictures(), lossless=st.sampled_from(["HTJ2K", "HTJ2K", "JPEG_2000_LOSSLESS"]))
@pytest.mark.slow
def test_what_is_served_is_what_was_imported(tmp_path: Path, picture: Picture, lossless: str) -> None:
    folder = tmp_path / lossless
    folder.mkdir(exist_ok=True)
    found = served(picture.data_set, folder, lossless)
    assert [*map(str, found.findings)] == []
    assert_served(found, picture.frames)


CHANGES: dict[str, list[Any]] = {
    "NumberOfFrames": ["1", "2", "7", "100000", None],
    "Rows": [0, 1, 5, 60, None],
    "Columns": [0, 1, 5, 60, None],
    "SamplesPerPixel": [0, 1, 2, 3, 4, None],
    "BitsAllocated": [1, 8, 12, 16, 32, 64, None],
    "BitsStored": [0, 1, 8, 12, 16, 99, None],
    "HighBit": [0, 7, 15, None],
    "PixelRepresentation": [0, 1, 7, None],
    "PhotometricInterpretation": ["RGB", "YBR_FULL", "YBR_FULL_422", "MONOCHROME2", "YBR_RCT", "X", None],
    "PlanarConfiguration": [0, 1, 9, None],
}


@settings(max_examples=250, **SLOW)
@given(
    picture=pictures(),
    changes=st.lists(
        st.sampled_from([*CHANGES]).flatmap(lambda name: st.tuples(st.just(name), st.sampled_from(CHANGES[name]))),
        min_size=1,
        max_size=2,
    ),
    cut=st.sampled_from([0, 0, 0, 2, 30, 200]),
)
@pytest.mark.slow
def test_what_is_described_wrongly_is_served_as_pydicom_reads_it_or_named(
    tmp_path: Path, picture: Picture, changes: list[tuple[str, Any]], cut: int
) -> None:
    data_set = picture.data_set
    for name, content in changes:
        if content is None:
            data_set.pop(name, None)
        else:
            setattr(data_set, name, content)
    if cut and _is_native(data_set):
        data_set.PixelData = data_set.PixelData[:-cut]
    try:
        found = served(data_set, tmp_path)
    except Unreadable:
        return  # which the report names
    if found.kinds:
        return
    assert found.frames, "an image without frames is named"
    assert all(frame.size for frame in found.frames), "a frame that cannot be decoded is named"
    expected = _by_pydicom(data_set)
    if expected is not None and expected.size == sum(frame.size for frame in found.frames):
        for frame, pixels in zip(found.frames, expected.reshape(len(found.frames), -1), strict=True):
            np.testing.assert_array_equal(frame.ravel().astype(pixels.dtype), pixels)
    elif expected is not None:
        raise AssertionError(f"{len(found.frames)} frames of {expected.shape}")


def _is_native(data_set: Dataset) -> bool:
    return data_set.file_meta.TransferSyntaxUID.removeprefix(PREFIX.removesuffix(".")).removeprefix(".") in NATIVE


def _by_pydicom(data_set: Dataset) -> np.ndarray | None:
    """The frames as pydicom has them, with all their bits; None where it has none, or has no decoder."""
    file = io.BytesIO()
    try:
        with quiet():
            data_set.save_as(file, enforce_file_format=True)
            file.seek(0)
            read = dcmread(file)
            if not _is_native(read) and read.get("SamplesPerPixel") == 3:
                read.PlanarConfiguration = 0  # decoders give samples by pixel, which pydicom does not know
                if read.get("PixelRepresentation"):
                    return None  # colours have no signs
            syntax = read.file_meta.TransferSyntaxUID.removeprefix(PREFIX)
            if syntax in ("4.57", "4.70") and read.BitsAllocated == 32:
                return None  # it takes the bytes of a smaller codestream for words
            if syntax in ("4.90", "4.91", "4.201", "4.202", "4.203") and read.PhotometricInterpretation != "RGB":
                return None if read.get("SamplesPerPixel") == 3 else pixel_array(read)  # it converts RGB to RGB
            return pixel_array(read, correct_unused_bits=False)
    except Exception:  # noqa: BLE001 - it is stricter than we are
        return None
