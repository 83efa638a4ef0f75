"""Overlays are where PS3.3 Section C.9.2 says."""

from typing import Any

import numpy as np
import pytest
from pydicom import Dataset

from tests.wado.rendering.made import through
from wado.rendering.overlay import overlay_mask

ROWS, COLUMNS = 4, 5
SAMPLES = np.zeros((ROWS, COLUMNS), "<u2")
_ELEMENTS = {"rows": (0x10, "US"), "columns": (0x11, "US"), "frames": (0x15, "IS"), "origin": (0x50, "SS"),
             "first": (0x51, "US"), "bits": (0x100, "US"), "position": (0x102, "US"),
             "data": (0x3000, "OW")}  # fmt: skip


def overlaid(group: int = 0x6000, **given: Any) -> Dataset:
    """A data set with an overlay of 4 rows and 5 columns, but for what is given."""
    data_set = Dataset()
    plain = {"rows": ROWS, "columns": COLUMNS, "origin": [1, 1], "bits": 1, "position": 0}
    for name, value in {**plain, **given}.items():
        if value is not None:
            element, vr = _ELEMENTS[name]
            data_set.add_new((group, element), vr, value)
    return through(data_set)


def packed(*places: int, count: int = ROWS * COLUMNS) -> bytes:
    """Bits, of which those at these places are set."""
    bits = np.zeros((count + 15) // 16 * 16, np.uint8)
    bits[list(places)] = 1
    return np.packbits(bits, bitorder="little").tobytes()


def places(mask: np.ndarray | None) -> list[tuple[int, int]]:
    assert mask is not None
    assert mask.shape == (ROWS, COLUMNS)
    return [(int(row), int(column)) for row, column in np.argwhere(mask)]


def test_its_own_bits() -> None:
    assert places(overlay_mask(overlaid(data=packed(0, 7, 19)), SAMPLES, 1)) == [(0, 0), (1, 2), (3, 4)]


@pytest.mark.parametrize("position", [12, 15])
def test_bits_of_the_samples(position: int) -> None:
    samples = SAMPLES.copy()
    samples[2, 3] = 1 << position
    samples[1, 1] = 0x0FFF
    data_set = overlaid(bits=16, position=position, origin=None)
    assert places(overlay_mask(data_set, samples, 1)) == [(2, 3)]
    assert places(overlay_mask(data_set, samples.view("<i2"), 1)) == [(2, 3)]


@pytest.mark.parametrize(
    ("frame_number", "expected"),
    [(1, None), (2, [(0, 1)]), (3, [(0, 2)]), (4, None)],
)
def test_frames_of_an_overlay_begin_with_that_of_the_image_it_names(
    frame_number: int, expected: list[tuple[int, int]] | None
) -> None:
    data_set = overlaid(data=packed(1, 22, count=40), frames="2", first=2)
    mask = overlay_mask(data_set, SAMPLES, frame_number)
    assert (None if mask is None else places(mask)) == expected


@pytest.mark.parametrize(
    ("origin", "expected"),
    [
        ([1, 1], [(0, 0), (1, 2)]),
        ([3, 2], [(2, 1), (3, 3)]),
        ([0, 1], [(0, 2)]),
        ([-9, -9], []),
        ([5, 6], []),
        ([32767, -32768], []),
    ],
)
def test_it_is_placed_at_its_origin(origin: list[int], expected: list[tuple[int, int]]) -> None:
    assert places(overlay_mask(overlaid(data=packed(0, 7), origin=origin), SAMPLES, 1)) == expected


def test_several_are_one_mask() -> None:
    both = overlaid(data=packed(0))
    both.update(overlaid(0x601E, data=packed(1)))
    assert places(overlay_mask(both, SAMPLES, 1)) == [(0, 0), (0, 1)]


@pytest.mark.parametrize(
    "data_set",
    [
        pytest.param(Dataset(), id="none"),
        pytest.param(overlaid(rows=0, data=packed(0)), id="no rows"),
        pytest.param(overlaid(columns=None, data=packed(0)), id="no columns"),
        pytest.param(overlaid(data=b"\1\0"), id="too short"),
        pytest.param(overlaid(data=b""), id="empty"),
        pytest.param(overlaid(rows=65535, columns=65535, data=packed(0)), id="larger than its data"),
        pytest.param(overlaid(bits=16, position=16), id="bits beyond the sample"),
        pytest.param(overlaid(bits=16, position=65535), id="bits far beyond the sample"),
        pytest.param(overlaid(), id="no data"),
    ],
)
def test_what_cannot_be_an_overlay_is_none(data_set: Dataset) -> None:
    assert overlay_mask(data_set, SAMPLES, 1) is None


def test_an_ill_formed_origin_is_the_corner() -> None:
    assert places(overlay_mask(overlaid(data=packed(0), origin=[5]), SAMPLES, 1)) == [(0, 0)]
