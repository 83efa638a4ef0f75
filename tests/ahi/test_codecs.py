"""Stored frames of every kind decode to the native pixels that pydicom gives."""

import imagecodecs
import numpy as np
import pytest

from ahi.codecs import PixelFormat, decode, delivered_photometric
from dicomweb.errors import NotAcceptable, UpstreamFailed

GREY = PixelFormat(64, 48, 1, 16, 0, "MONOCHROME2")
RNG = np.random.default_rng(7)


def _array(dtype: str, shape: tuple[int, ...]) -> np.ndarray:
    info = np.iinfo(dtype)
    return RNG.integers(info.min, info.max, shape, dtype=np.int64, endpoint=True).astype(dtype)


@pytest.mark.parametrize(("dtype", "bits", "signed"), [("u1", 8, 0), ("<u2", 16, 0), ("<i2", 16, 1), ("i1", 8, 1)])
@pytest.mark.parametrize("samples", [1, 3])
def test_lossless_frames_come_back_to_the_bit(dtype: str, bits: int, signed: int, samples: int) -> None:
    shape = (64, 48, 3) if samples == 3 else (64, 48)
    array = _array(dtype, shape)
    pixels = PixelFormat(64, 48, samples, bits, signed, "RGB" if samples == 3 else "MONOCHROME2")
    stored = imagecodecs.htj2k_encode(array, reversible=True, tlm=True, tilepart=1)
    assert decode(stored, "1.2.840.10008.1.2.4.202", pixels) == array.tobytes()
    stored = imagecodecs.jpeg2k_encode(array, codecformat="J2K", reversible=True, level=0)
    assert decode(stored, "1.2.840.10008.1.2.4.90", pixels) == array.tobytes()


@pytest.mark.parametrize("transformed", [True, False])
def test_colour_comes_back_interleaved_whether_it_was_transformed_or_not(transformed: bool) -> None:
    array = _array("u1", (64, 48, 3))
    stored = imagecodecs.htj2k_encode(array, reversible=True, rgb=transformed)
    pixels = PixelFormat(64, 48, 3, 8, 0, "RGB")
    assert decode(stored, "1.2.840.10008.1.2.4.202", pixels) == array.tobytes()


def test_native_bytes_pass_and_their_size_is_checked() -> None:
    native = bytes(64 * 48 * 2)
    assert decode(native, "1.2.840.10008.1.2.1", GREY) == native
    with pytest.raises(UpstreamFailed):
        decode(native[:-1], "1.2.840.10008.1.2.1", GREY)


@pytest.mark.parametrize("uid", ["1.2.840.10008.1.2.4.202", "1.2.840.10008.1.2.4.90", "1.2.840.10008.1.2.4.50"])
def test_bytes_that_are_no_image_are_the_upstreams_failure(uid: str) -> None:
    with pytest.raises(UpstreamFailed):
        decode(b"not an image", uid, GREY)


def test_a_video_has_no_native_frames() -> None:
    with pytest.raises(NotAcceptable, match="transfer-syntax"):
        decode(b"", "1.2.840.10008.1.2.4.102", GREY)


@pytest.mark.parametrize(
    ("label", "transformed", "expected"),
    [
        ("RGB", True, "RGB"),
        ("YBR_FULL_422", True, "RGB"),
        ("YBR_FULL_422", False, "YBR_FULL"),
        ("YBR_RCT", True, "RGB"),
    ],
)
def test_the_label_of_decoded_colour_is_that_of_the_codestream(label: str, transformed: bool, expected: str) -> None:
    stored = imagecodecs.htj2k_encode(_array("u1", (64, 48, 3)), reversible=True, rgb=transformed)
    pixels = PixelFormat(64, 48, 3, 8, 0, label)
    assert delivered_photometric(stored, "1.2.840.10008.1.2.4.202", pixels) == expected
