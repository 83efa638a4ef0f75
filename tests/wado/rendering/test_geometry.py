"""Pictures have square pixels, the part of the image that was asked for, and fit the viewport."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from dicomweb.errors import BadRequest
from tests.wado.rendering.made import made
from wado.rendering.geometry import fitted, needed_scale, picture_size, pixel_aspect
from wado.rendering.parameters import MOST_PIXELS, Region, Viewport


@pytest.mark.parametrize(
    ("attributes", "aspect"),
    [
        ({}, 1),
        ({"PixelAspectRatio": ["2", "1"]}, 2),
        ({"PixelAspectRatio": ["1", "2"], "PixelSpacing": ["1", "1"]}, 0.5),
        ({"PixelSpacing": ["0.5", "0.25"]}, 2),
        ({"ImagerPixelSpacing": ["0.2", "0.1"]}, 2),
        ({"NominalScannedPixelSpacing": ["0.1", "0.2"]}, 0.5),
        ({"PixelSpacing": ["0", "1"]}, 1),
        ({"PixelSpacing": ["-1", "1"]}, 1),
        ({"PixelSpacing": ["1000", "0.001"]}, 1),
        ({"PixelSpacing": "1"}, 1),
        ({"PixelAspectRatio": ["1", "0"]}, 1),
    ],
)
def test_the_aspect_of_a_pixel(attributes: dict[str, object], aspect: float) -> None:
    assert pixel_aspect(made(**attributes)) == aspect


@pytest.mark.parametrize(
    ("aspect", "viewport", "size"),
    [
        pytest.param(1, Viewport(), (100, 50), id="as it is"),
        pytest.param(2, Viewport(), (100, 100), id="high pixels"),
        pytest.param(0.5, Viewport(), (200, 50), id="wide pixels"),
        pytest.param(1, Viewport(20, 20), (20, 10), id="bound by the width"),
        pytest.param(1, Viewport(200, 10), (20, 10), id="bound by the height"),
        pytest.param(1, Viewport(None, 200), (400, 200), id="enlarged"),
        pytest.param(2, Viewport(50, 50), (50, 50), id="high pixels within a viewport"),
        pytest.param(1, Viewport(30, 30, Region(0, 0, 10, 30)), (10, 30), id="a region"),
        pytest.param(1.004, Viewport(), (100, 50), id="nearly square"),
        pytest.param(1, Viewport(1, 1), (1, 1), id="never nothing"),
    ],
)
def test_the_size_of_a_picture(aspect: float, viewport: Viewport, size: tuple[int, int]) -> None:
    image = Image.new("L", (100, 50))
    assert fitted(image, 100, 50, aspect, viewport).size == size
    assert fitted(image.resize((50, 25)), 100, 50, aspect, viewport).size == size, "decoded at a lower resolution"


NUMBERED = np.arange(48, dtype=np.uint8).reshape(6, 8)


@pytest.mark.parametrize(
    ("region", "expected"),
    [
        pytest.param(Region(), NUMBERED, id="all"),
        pytest.param(Region(1, 2, 3, 4), NUMBERED[2:6, 1:4], id="a part"),
        pytest.param(Region(6, 4), NUMBERED[4:, 6:], id="from a corner"),
        pytest.param(Region(6, 4, 99, 99), NUMBERED[4:, 6:], id="no more than there is"),
        pytest.param(Region(0, 0, 8, 6, flip_horizontally=True), NUMBERED[:, ::-1], id="mirrored"),
        pytest.param(Region(0, 0, 8, 6, flip_vertically=True), NUMBERED[::-1], id="upside down"),
        pytest.param(Region(1, 2, 3, 4, True, True), NUMBERED[2:6, 1:4][::-1, ::-1], id="a part, both"),
    ],
)
def test_a_region_has_exactly_its_pixels(region: Region, expected: np.ndarray) -> None:
    found = fitted(Image.fromarray(NUMBERED), 8, 6, 1, Viewport(region=region))
    assert np.array_equal(np.asarray(found), expected)


@pytest.mark.parametrize("region", [Region(8, 0), Region(0, 6), Region(1e308, 0), Region(9, 9, 1e308, 1)])
def test_a_region_outside_the_image_is_refused(region: Region) -> None:
    with pytest.raises(BadRequest, match="outside"):
        fitted(Image.fromarray(NUMBERED), 8, 6, 1, Viewport(region=region))


_EDGES = st.floats(0, 12)
_SIDES = st.integers(1, 60)


@given(_SIDES, _SIDES, st.builds(Region, _EDGES, _EDGES, _EDGES.filter(bool), _EDGES.filter(bool)), st.floats(0.04, 30))
def test_any_region_gives_a_picture_within_the_viewport_or_a_refusal(
    columns: int, rows: int, region: Region, aspect: float
) -> None:
    viewport = Viewport(columns, rows, region)
    try:
        assert needed_scale(8, 6, aspect, viewport) > 0
    except BadRequest:
        return
    for image in (Image.fromarray(NUMBERED), Image.fromarray(NUMBERED[::2, ::2].copy())):
        size = fitted(image, 8, 6, aspect, viewport).size
        assert 1 <= size[0] <= columns and 1 <= size[1] <= rows


@pytest.mark.parametrize("viewport", [Viewport(65_535), Viewport(None, 65_535), Viewport(65_535, 1024)])
def test_no_picture_is_too_large(viewport: Viewport) -> None:
    columns, rows = picture_size((0, 0, 100, 100), 31.0, viewport)
    assert columns * rows <= MOST_PIXELS * 1.01
