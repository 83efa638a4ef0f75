"""A frame becomes a picture."""

import numpy as np
import pytest

from tests.wado.rendered.made import made
from wado.rendered.draw import frame_milliseconds, within_bits
from wado.rendered.grey import Stored


@pytest.mark.parametrize(
    ("stored", "dtype", "values", "expected"),
    [
        (Stored(12, 11, False), "<u2", [0, 4095, 4100, 65535], [0, 4095, 4095, 4095]),
        (Stored(12, 11, True), "<i2", [-3000, -2048, 2047, 2100], [-2048, -2048, 2047, 2047]),
        (Stored(16, 15, False), "<u2", [0, 65535], [0, 65535]),
        (Stored(12, 15, False), "<u2", [0, 0xFFF0], [0, 0xFFF0]),
    ],
)
def test_lower_resolutions_stay_within_the_bits_that_are_stored(
    stored: Stored, dtype: str, values: list[int], expected: list[int]
) -> None:
    found = within_bits(np.array([values], dtype), stored)
    assert found.dtype == dtype and found[0].tolist() == expected


@pytest.mark.parametrize(
    ("attributes", "milliseconds"),
    [
        ({}, 100),
        ({"FrameTime": "33.3"}, 33.3),
        ({"CineRate": "25", "FrameTime": "1000"}, 40),
        ({"RecommendedDisplayFrameRate": "10", "CineRate": "25"}, 100),
        ({"FrameTime": "0.001"}, 20),
        ({"FrameTime": "99999999"}, 60_000),
        ({"CineRate": "0"}, 100),
    ],
)
def test_frames_of_an_animation_are_shown_for_the_time_the_image_states(
    attributes: dict[str, str], milliseconds: float
) -> None:
    assert frame_milliseconds(made(**attributes)) == milliseconds
