"""Lower resolutions of HTJ2K frames, as thumbnails are made of them."""

import imagecodecs
import numpy as np
import pytest

from ahi.codecs.frames import HAS_OPENJPH
from ahi.codecs.pixel_format import PixelFormat
from ahi.codecs.resolutions import decode_reduced


def edges(dtype: str, low: int, high: int, samples: int) -> np.ndarray:
    """Letters of a sort: sharp edges between the least and the greatest value."""
    shape = (128, 96, samples) if samples > 1 else (128, 96)
    array = np.full(shape, low, dtype)
    array[20:60:3], array[70:100, 10:80], array[5:120, 40:44] = high, high, low
    return array


@pytest.mark.parametrize(
    ("dtype", "low", "high", "samples"),
    [
        ("u1", 0, 255, 1),
        ("u1", 0, 255, 3),
        ("<u2", 0, 264, 1),
        ("<u2", 0, 65535, 1),
        ("<i2", -32768, 32767, 1),
        ("<i2", -2000, 2500, 1),
        ("i1", -128, 127, 1),
    ],
)
@pytest.mark.parametrize("scale", [0.5, 0.25])
def test_a_lower_resolution_is_the_mean_of_its_pixels_and_never_wraps_around(
    dtype: str, low: int, high: int, samples: int, scale: float
) -> None:
    full = edges(dtype, low, high, samples)
    signed = int(full.dtype.kind == "i")
    pixels = PixelFormat(128, 96, samples, full.dtype.itemsize * 8, signed, "RGB" if samples > 1 else "MONOCHROME2")
    if not HAS_OPENJPH:
        assert decode_reduced(b"", pixels, scale) is None
        return
    stored = bytes(imagecodecs.htj2k_encode(full, reversible=True, rgb=samples > 1, planar=False))
    reduced = decode_reduced(stored, pixels, scale)
    assert reduced is not None
    native, smaller = reduced
    found = np.frombuffer(native, smaller.dtype).reshape(smaller.rows, smaller.columns, -1).astype(float)
    step = round(1 / scale)
    means = full.astype(float).reshape(128 // step, step, 96 // step, step, -1).mean(axis=(1, 3))
    assert found.shape == means.shape
    assert np.abs(found - means).mean() < 0.2 * (high - low)
    assert np.abs(found - means).max() < 0.85 * (high - low), "a wrapped value is off by the whole range"
