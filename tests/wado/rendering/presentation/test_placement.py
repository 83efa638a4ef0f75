"""A state's displayed area, rotation and flip put each pixel where PS3.3 Sections C.10.4 and C.10.6 say."""

import numpy as np
import pytest
from PIL import Image

from dicomweb.errors import BadRequest
from wado.rendering.parameters import Region, Viewport
from wado.rendering.presentation.placement import Area, Placement

COLUMNS, ROWS = 4, 3
PIXELS = np.arange(1, 13, dtype=np.uint8).reshape(ROWS, COLUMNS)
WHOLE = Area((0, 0, COLUMNS, ROWS), 1.0)


def placed(
    area: Area = WHOLE, turns: int = 0, flip: bool = False, viewport: Viewport | None = None
) -> tuple[Placement, np.ndarray]:
    placement = Placement.of(COLUMNS, ROWS, area, turns, flip, viewport or Viewport())
    return placement, np.asarray(placement.place(Image.fromarray(PIXELS)))


@pytest.mark.parametrize("flip", [False, True])
@pytest.mark.parametrize("turns", [0, 1, 2, 3])
def test_rotation_is_clockwise_and_comes_before_the_flip(turns: int, flip: bool) -> None:
    expected = np.rot90(PIXELS, -turns)
    placement, found = placed(turns=turns, flip=flip)
    assert np.array_equal(found, expected[:, ::-1] if flip else expected)
    for row, column in np.ndindex(PIXELS.shape):
        x, y = placement.to_picture(np.array([(column + 0.5, row + 0.5)]))[0]
        assert found[int(y), int(x)] == PIXELS[row, column]
    x, y = placement.coordinates
    both = np.broadcast_arrays(x, y)
    assert np.array_equal(found, PIXELS[both[1].astype(int), both[0].astype(int)])


@pytest.mark.parametrize("turns", [0, 1, 2, 3])
def test_parts_of_the_displayed_area_are_those_of_the_picture(turns: int) -> None:
    placement, found = placed(turns=turns, flip=True)
    corners = placement.from_display(np.array([(0.0, 0.0), (1.0, 1.0), (0.5, 0.25)]))
    rows, columns = found.shape
    assert corners.tolist() == [[0, 0], [columns, rows], [columns / 2, rows / 4]]


def test_an_area_is_cut_out() -> None:
    assert placed(Area((1, 1, 3, 3), 1.0))[1].tolist() == [[6, 7], [10, 11]]
    assert placed(Area((1, 1, 3, 3), 1.0), turns=1)[1].tolist() == [[10, 6], [11, 7]]


def test_beyond_the_image_it_is_black() -> None:
    placement, found = placed(Area((-1, -2, 2, 2), 1.0))
    assert found.tolist() == [[0, 0, 0], [0, 0, 0], [0, 1, 2], [0, 5, 6]]
    assert np.array_equal(placement.inside, found > 0)
    assert not placed(Area((10, 10, 12, 12), 1.0))[1].any()


@pytest.mark.parametrize(
    ("area", "turns", "viewport", "size"),
    [
        pytest.param(WHOLE, 0, Viewport(8, 8), (8, 6), id="scaled to fit"),
        pytest.param(WHOLE, 1, Viewport(8, 8), (6, 8), id="turned"),
        pytest.param(Area((0, 0, 4, 3), 2.0), 0, Viewport(), (4, 6), id="high pixels"),
        pytest.param(Area((0, 0, 4, 3), 2.0), 1, Viewport(), (6, 4), id="high pixels, turned"),
        pytest.param(Area((0, 0, 4, 3), 1.0, 3.0), 0, Viewport(), (12, 9), id="magnified"),
        pytest.param(Area((0, 0, 4, 3), 1.0, 3.0), 0, Viewport(8, 8), (8, 6), id="magnified to fit"),
        pytest.param(WHOLE, 0, Viewport(None, None, Region(1, 0, 2, 3)), (2, 3), id="region"),
        pytest.param(WHOLE, 1, Viewport(None, None, Region(0, 1, 3, 2)), (3, 2), id="region of what is turned"),
    ],
)
def test_the_size_follows_from_area_and_viewport(
    area: Area, turns: int, viewport: Viewport, size: tuple[int, int]
) -> None:
    placement, found = placed(area, turns, viewport=viewport)
    assert placement.size == size == found.shape[::-1]


def test_a_region_is_of_what_the_state_shows() -> None:
    _, found = placed(turns=1, viewport=Viewport(None, None, Region(0, 1, 2, 2)))
    assert np.array_equal(found, np.rot90(PIXELS, -1)[1:3, 0:2])
    _, found = placed(turns=1, flip=True, viewport=Viewport(None, None, Region(flip_horizontally=True)))
    assert np.array_equal(found, np.rot90(PIXELS, -1))
    with pytest.raises(BadRequest):
        placed(turns=1, viewport=Viewport(None, None, Region(3.5, 0)))


def test_a_lower_resolution_takes_the_same_place() -> None:
    half = Image.fromarray(np.array([[10, 200], [30, 40]], np.uint8))
    placement = Placement.of(4, 4, Area((0, 0, 4, 4), 1.0), 1, False, Viewport(2, 2))
    assert np.asarray(placement.place(half)).tolist() == [[30, 10], [40, 200]]
    assert placement.scale == 0.5
