"""Pictures are what their media types say, read by Pillow again."""

from io import BytesIO
from typing import Any

import numpy as np
import pytest
from PIL import Image, ImageCms

from dicomweb.errors import BadRequest
from dicomweb.media_types import GIF, JP2, JPEG, PNG
from wado.rendering.encode import encode

RAMP = np.add.outer(np.arange(40), np.arange(60)).astype(np.uint8) * 2
GREY = Image.fromarray(RAMP)
COLOUR = Image.fromarray(np.dstack([RAMP, RAMP[::-1], RAMP[:, ::-1]]))
SRGB = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()


def read(encoded: bytes) -> Any:
    return Image.open(BytesIO(encoded))


@pytest.mark.parametrize(("media_type", "most"), [(JPEG, 12), (PNG, 0), (JP2, 0)])
@pytest.mark.parametrize("image", [GREY, COLOUR], ids=["grey", "colour"])
def test_a_picture_comes_back(media_type: str, most: int, image: Image.Image) -> None:
    found = read(encode([image], media_type, None, None, 100))
    assert found.get_format_mimetype() == media_type
    assert (found.mode, found.size) == (image.mode, image.size)
    assert np.abs(np.asarray(found).astype(int) - np.asarray(image)).max() <= most


def test_a_grey_gif_is_exact() -> None:
    assert np.array_equal(np.asarray(read(encode([GREY], GIF, None, None, 100)).convert("L")), RAMP)


@pytest.mark.parametrize("media_type", [JPEG, JP2])
def test_a_lower_quality_is_smaller(media_type: str) -> None:
    noise = Image.fromarray(np.random.default_rng(1).integers(0, 255, (128, 128), np.uint8))
    sizes = [len(encode([noise], media_type, quality, None, 100)) for quality in (1, 50, 100)]
    assert sizes == sorted(set(sizes))


@pytest.mark.parametrize("media_type", [JPEG, PNG, GIF, JP2])
@pytest.mark.parametrize("size", [(1, 1), (1, 300), (300, 1), (5, 7), (33, 31)])
def test_the_smallest_pictures_can_be_encoded(media_type: str, size: tuple[int, int]) -> None:
    assert read(encode([Image.new("L", size, 9)], media_type, None, None, 100)).size == size


@pytest.mark.parametrize("media_type", [PNG, GIF, JP2])
def test_the_longest_pictures_can_be_encoded(media_type: str) -> None:
    assert read(encode([Image.new("L", (65_535, 1), 9)], media_type, None, None, 100)).size == (65_535, 1)


def test_a_picture_that_is_too_long_for_its_format_is_refused() -> None:
    assert read(encode([Image.new("L", (65_500, 1), 9)], JPEG, None, None, 100)).size == (65_500, 1)
    with pytest.raises(BadRequest, match="size"):
        encode([Image.new("L", (65_501, 1), 9)], JPEG, None, None, 100)


@pytest.mark.parametrize(("asked_ms", "told_ms"), [(20, 20), (33.3, 30), (100, 100), (1500.0, 1500)])
def test_an_animation_shows_each_frame_for_its_time(asked_ms: float, told_ms: int) -> None:
    frames = [Image.new("L", (8, 8), grey) for grey in (0, 100, 200)]
    found = read(encode(frames, GIF, None, None, asked_ms))
    assert (found.n_frames, found.info["loop"]) == (3, 0)
    for index, grey in enumerate((0, 100, 200)):
        found.seek(index)
        assert found.info["duration"] == told_ms
        assert found.convert("L").getpixel((0, 0)) == grey


@pytest.mark.parametrize("media_type", [JPEG, PNG])
def test_a_profile_is_embedded(media_type: str) -> None:
    assert read(encode([COLOUR], media_type, None, SRGB, 100)).info["icc_profile"] == SRGB


@pytest.mark.parametrize("media_type", [GIF, JP2])
def test_a_profile_that_cannot_be_carried_is_refused(media_type: str) -> None:
    with pytest.raises(BadRequest, match="iccprofile=no"):
        encode([COLOUR], media_type, None, SRGB, 100)
