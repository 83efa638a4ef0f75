"""JPEG and JPEG-LS by imagecodecs: the pixels are those of libjpeg, which is under the GPL and is for tests only."""

import subprocess
import sys
from pathlib import Path

import imagecodecs
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays
from libjpeg.utils import decode as decode_by_libjpeg
from pydicom import Dataset, dcmread
from pydicom.encaps import generate_frames

from datastore.findings import Findings
from datastore.importing.samples import sample_files
from datastore.importing.scan import quiet
from datastore.pixels.decoders import NotDecodable, decode
from datastore.pixels.jpeg_plugin import DECODER_DEPENDENCIES, NAME
from datastore.pixels.layout import Layout

# A frame so small may be as long as its pixels by chance, at which pydicom wonders.
pytestmark = pytest.mark.filterwarnings("ignore:The number of bytes of compressed pixel data matches")

ROOT = Path(__file__).parents[3]
SYNTAX = "1.2.840.10008.1.2.4."
ROUNDING = {SYNTAX + "50": 3, SYNTAX + "51": 1}
"""By how many levels decoders of the lossy encodings differ: in the cosine transform, and where colours are halved."""
NOT_DECODED_BY_LIBJPEG = "JPEG-lossy.dcm"  # test_frames compares it with the same JPEG in another file


def samples() -> list[Path]:
    """The sample files whose pixels are JPEG or JPEG-LS."""
    found = []
    with quiet():
        for path in sample_files():
            try:
                header = dcmread(path, stop_before_pixels=True)
            except Exception:  # noqa: BLE001, S112 - what is no DICOM has no pixels
                continue
            has_pixels = "Rows" in header and path.name != NOT_DECODED_BY_LIBJPEG
            if has_pixels and header.file_meta.get("TransferSyntaxUID") in DECODER_DEPENDENCIES:
                found.append(path)
    return found


def reference(frame: bytes, data_set: Dataset) -> np.ndarray:
    """The samples as libjpeg gives them, without a colour transform, in the type of the data set."""
    pixels = decode_by_libjpeg(frame, 0)
    return pixels.view(f"i{pixels.dtype.itemsize}") if data_set.PixelRepresentation else pixels


@pytest.mark.parametrize("path", samples(), ids=lambda path: path.name)
def test_the_pixels_of_each_sample_are_those_of_libjpeg(path: Path) -> None:
    with quiet():
        data_set = dcmread(path)
        syntax = data_set.file_meta.TransferSyntaxUID
        layout = Layout.from_data_set(data_set, Findings(), 2**28)
        for frame in generate_frames(data_set.PixelData, number_of_frames=int(data_set.get("NumberOfFrames") or 1)):
            pixels = decode(frame, syntax, layout, as_rgb=False)
            expected = reference(frame, data_set)
            assert pixels.shape == expected.shape
            assert np.abs(pixels.astype(int) - expected).max() <= ROUNDING.get(syntax, 0)


def test_there_are_samples_of_each_kind() -> None:
    with quiet():
        found = {str(dcmread(path, stop_before_pixels=True).file_meta.TransferSyntaxUID) for path in samples()}
    assert found == {SYNTAX + end for end in ("50", "51", "70", "80", "81")}


@st.composite
def pictures(draw: st.DrawFn) -> tuple[np.ndarray, int]:
    """Random samples, one or three for each pixel, and how many bits they have."""
    bits = draw(st.integers(2, 16))
    shape = draw(array_shapes(min_dims=2, max_dims=2, max_side=20)) + draw(st.sampled_from([(), (3,)]))
    dtype = np.uint8 if bits <= 8 else np.uint16
    return draw(arrays(dtype, shape, elements=st.integers(0, 2**bits - 1))), bits


def layout_of(pixels: np.ndarray, bits: int) -> Layout:
    samples, room = pixels.shape[2] if pixels.ndim == 3 else 1, 8 * pixels.dtype.itemsize
    photometric = "RGB" if samples == 3 else "MONOCHROME2"
    rows, columns = pixels.shape[:2]
    return Layout(rows, columns, samples, room, bits, False, False, photometric, {}, 2**20, False)


@settings(max_examples=60, deadline=None)
@given(picture=pictures(), predictor=st.integers(1, 7))
def test_lossless_jpeg_of_any_precision_and_predictor(picture: tuple[np.ndarray, int], predictor: int) -> None:
    pixels, bits = picture
    space = "RGB" if pixels.ndim == 3 else None
    frame = imagecodecs.jpeg8_encode(  # all of it as RGB, so that nothing is transformed
        pixels, lossless=True, predictor=predictor, bitspersample=bits, colorspace=space, outcolorspace=space
    )
    decoded = decode(bytes(frame), SYNTAX + "57", layout_of(pixels, bits), as_rgb=True)
    np.testing.assert_array_equal(decoded, pixels)
    np.testing.assert_array_equal(decoded, decode_by_libjpeg(frame, 0).reshape(pixels.shape))


@settings(max_examples=60, deadline=None)
@given(picture=pictures(), near=st.integers(0, 3))
def test_jpeg_ls_lossless_and_near_lossless(picture: tuple[np.ndarray, int], near: int) -> None:
    pixels, bits = picture
    frame = bytes(imagecodecs.jpegls_encode(pixels, level=near))
    decoded = decode(frame, SYNTAX + "81", layout_of(pixels, bits), as_rgb=True)
    assert np.abs(decoded.astype(int) - pixels).max() <= near
    np.testing.assert_array_equal(decoded, decode_by_libjpeg(frame, 0).reshape(pixels.shape))


def test_jpeg_ls_with_a_scan_for_each_component() -> None:
    planes = [np.random.default_rng(seed).integers(0, 256, (6, 7), np.uint8) for seed in range(3)]
    components = b"".join(bytes([number, 0x11, 0]) for number in (1, 2, 3))
    frame = b"\xff\xd8\xff\xf7\0\x11\x08\0\x06\0\x07\x03" + components
    for number, plane in enumerate(planes, start=1):
        coded = imagecodecs.jpegls_encode(plane)
        frame += b"\xff\xda\0\x08\1" + bytes([number, 0, 0, 0, 0]) + coded[coded.index(b"\xff\xda") + 10 : -2]
    pixels = np.stack(planes, axis=-1)
    np.testing.assert_array_equal(decode(frame + b"\xff\xd9", SYNTAX + "80", layout_of(pixels, 8), as_rgb=True), pixels)


def test_what_is_no_jpeg_is_named() -> None:
    with pytest.raises(NotDecodable, match="cannot be decoded"):
        decode(b"no frame at all.", SYNTAX + "70", layout_of(np.zeros((4, 4), np.uint8), 8), as_rgb=True)


AVAILABLE = """
from datastore.pixels import decoders
from pydicom.pixels.decoders import JPEGLosslessDecoder
print(*JPEGLosslessDecoder.available_plugins)
"""


def test_the_library_under_the_gpl_is_not_needed(tmp_path: Path) -> None:
    """A Python whose libraries are all of ours but that one."""
    for path in Path(imagecodecs.__file__).parents[1].iterdir():
        if path.name != "libjpeg" and "libjpeg_libjpeg" not in path.name:
            (tmp_path / path.name).symlink_to(path)
    for name in ("libjpeg", "pylibjpeg"):
        assert (tmp_path / name).exists() == (name == "pylibjpeg")
    command = [sys.executable, "-S", "-W", "ignore", "-c", AVAILABLE]
    environment = {"PYTHONPATH": f"{ROOT}:{tmp_path}"}
    done = subprocess.run(command, cwd=tmp_path, env=environment, check=True, capture_output=True, text=True)
    assert done.stdout.split() == [NAME]
