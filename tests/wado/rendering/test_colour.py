"""Colours are those of PS3.3 Sections C.7.6.3.1.2 and C.7.9, computed here one pixel at a time."""

from io import BytesIO
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image, ImageCms
from pydicom import Dataset

from dicomweb.errors import NotAcceptable
from tests.wado.rendering.made import made, through
from wado.rendering.colour import icc_profile, in_colour_space, rgb


def image(photometric: str, bits: int = 8, **attributes: Any) -> Dataset:
    """The description of a colour image; its pixels are interleaved, as all are here."""
    described = {"PhotometricInterpretation": photometric, "BitsStored": bits, "HighBit": bits - 1}
    return through(made(PixelRepresentation=0, **described, **attributes))


PIXELS = [(0, 0, 0), (255, 255, 255), (255, 0, 0), (0, 128, 64), (10, 200, 250), (90, 240, 100), (130, 20, 200)]


@pytest.mark.parametrize("photometric", ["RGB", "YBR_RCT", "YBR_ICT"])
def test_what_was_decoded_as_rgb_is_left_alone(photometric: str) -> None:
    drawn = rgb(np.array([PIXELS], np.uint8), image("RGB"))
    assert list(map(tuple, drawn[0].tolist())) == PIXELS


def from_ybr(y: int, cb: int, cr: int) -> list[float]:
    """The inverse of PS3.3 Section C.7.6.3.1.2, YBR_FULL."""
    red, blue = y + 1.402 * (cr - 128), y + 1.772 * (cb - 128)
    green = (y - 0.299 * red - 0.114 * blue) / 0.587
    return [min(max(one, 0), 255) for one in (red, green, blue)]


@pytest.mark.parametrize("photometric", ["YBR_FULL", "YBR_FULL_422"])
def test_luminance_and_chrominance_become_rgb(photometric: str) -> None:
    drawn = rgb(np.array([PIXELS], np.uint8), image(photometric))
    for found, pixel in zip(drawn[0].tolist(), PIXELS, strict=True):
        assert found == pytest.approx(from_ybr(*pixel), abs=1)


@pytest.mark.parametrize(("bits", "dtype"), [(4, "<u1"), (8, "<u1"), (10, "<u2"), (16, "<u2"), (32, "<u4")])
def test_samples_of_any_depth_become_eight_bits(bits: int, dtype: str) -> None:
    most = 2**bits - 1
    drawn = rgb(np.array([[[0, most // 2, most]]], dtype), image("RGB", bits))
    assert drawn[0, 0].tolist() == pytest.approx([0, most // 2 / most * 255, 255], abs=1)


def palette(bits: int, first: int = 0, width_bytes: int = 2, stated: int | None = None, **tables: list[int]) -> Dataset:
    """An image of palette indexes; `tables` are the entries by colour."""
    attributes: dict[str, Any] = {}
    for colour, entries in tables.items():
        attributes[f"{colour}PaletteColorLookupTableDescriptor"] = [stated or len(entries), first, bits]
        attributes[f"{colour}PaletteColorLookupTableData"] = np.array(entries, f"<u{width_bytes}").tobytes()
    return image("PALETTE COLOR", **attributes)


def as_numbers(data_set: Dataset) -> Dataset:
    """The same with the words of its tables as numbers, as some files have them."""
    for colour in ("Red", "Green", "Blue"):
        element = data_set[f"{colour}PaletteColorLookupTableData"]
        words = np.frombuffer(element.value, "<u2").tolist()
        element.VR, element.value = "US", words
    return data_set


RAMPS: dict[str, Any] = {"Red": [0, 100, 200, 255], "Green": [255, 5, 6, 7], "Blue": [1, 2, 3, 4]}
WIDE_RAMPS: dict[str, Any] = {name: [one * 257 for one in ramp] for name, ramp in RAMPS.items()}


@pytest.mark.parametrize(
    ("data_set", "first"),
    [
        pytest.param(palette(8, width_bytes=1, **RAMPS), 0, id="8 bits in bytes"),
        pytest.param(palette(8, **RAMPS), 0, id="8 bits in words"),
        pytest.param(palette(16, **WIDE_RAMPS), 0, id="16"),
        pytest.param(palette(16, **RAMPS), 0, id="8 bits that are said to be 16"),
        pytest.param(palette(8, first=10, **RAMPS), 10, id="from a first value on"),
        pytest.param(palette(16, width_bytes=1, **RAMPS), 0, id="bytes that are said to be 16 bits"),
        pytest.param(
            as_numbers(palette(16, **WIDE_RAMPS)),
            0,
            id="16 bits as US",
        ),
        pytest.param(as_numbers(palette(8, width_bytes=1, **RAMPS)), 0, id="bytes in US"),
    ],
)
def test_indexes_are_looked_up(data_set: Dataset, first: int) -> None:
    indexes = [0, *range(first, first + 4), 250]
    drawn = rgb(np.array([indexes], np.uint8), data_set)
    places = [min(max(index - first, 0), 3) for index in indexes]
    assert drawn[0].tolist() == [[RAMPS[colour][place] for colour in ("Red", "Green", "Blue")] for place in places]


def test_a_palette_of_sixteen_bit_indexes_is_looked_up() -> None:
    ramp = list(range(65536))
    drawn = rgb(np.array([[0, 300, 65535]], "<u2"), _sixteen(ramp))
    assert drawn[0, :, 0].tolist() == [0, 1, 255]


def _sixteen(ramp: list[int]) -> Dataset:
    data_set = made(PhotometricInterpretation="PALETTE COLOR", BitsStored=16, HighBit=15, PixelRepresentation=0)
    for colour in RAMPS:
        setattr(data_set, f"{colour}PaletteColorLookupTableDescriptor", [0, 0, 16])
        setattr(data_set, f"{colour}PaletteColorLookupTableData", np.array(ramp, "<u2").tobytes())
    return through(data_set)


def segmented(bits: int, words: list[int], count: int) -> Dataset:
    """An image of palette indexes whose tables are the same segments."""
    attributes: dict[str, Any] = {}
    for colour in RAMPS:
        attributes[f"{colour}PaletteColorLookupTableDescriptor"] = [count, 0, bits]
        data = np.array(words, "<u1" if bits == 8 else "<u2").tobytes()
        attributes[f"Segmented{colour}PaletteColorLookupTableData"] = data
    return image("PALETTE COLOR", **attributes)


@pytest.mark.parametrize(
    ("data_set", "expected"),
    [
        pytest.param(segmented(8, [0, 2, 10, 20, 1, 4, 100, 0], 6), [10, 20, 40, 60, 80, 100], id="8 bits"),
        pytest.param(
            segmented(16, [0, 1, 0, 1, 3, 0xFF00, 2, 1, 6, 0], 5), [0, 85, 170, 255, 255, 255], id="16 bits, indirect"
        ),
        pytest.param(
            segmented(8, [0, 1, 8, 1, 2, 80, 2, 2, 0, 0, 0, 0], 6), [8, 44, 80, 8, 44, 80], id="8 bits, indirect"
        ),
    ],
)
def test_segmented_palettes_are_expanded(data_set: Dataset, expected: list[int]) -> None:
    drawn = rgb(np.arange(len(expected), dtype=np.uint8).reshape(1, -1), data_set)
    assert drawn[0, :, 0].tolist() == pytest.approx(expected, abs=1)


@given(st.sampled_from([8, 16]), st.lists(st.integers(0, 255), max_size=40), st.integers(0, 65535))
def test_any_segments_give_a_picture_or_a_refusal(bits: int, words: list[int], count: int) -> None:
    try:
        assert rgb(np.zeros((1, 2), np.uint8), segmented(bits, words, count)).shape == (1, 2, 3)
    except NotAcceptable as error:
        assert "palette" in str(error)


@pytest.mark.parametrize(
    "data_set",
    [
        pytest.param(image("PALETTE COLOR"), id="no tables"),
        pytest.param(palette(8, Red=[1, 2], Green=[1, 2]), id="a table is missing"),
        pytest.param(palette(8, Red=[], Green=[], Blue=[]), id="empty tables"),
        pytest.param(image("PALETTE COLOR", RedPaletteColorLookupTableDescriptor=[1]), id="a short descriptor"),
    ],
)
def test_a_palette_that_cannot_be_used_is_refused(data_set: Dataset) -> None:
    with pytest.raises(NotAcceptable, match="palette"):
        rgb(np.zeros((2, 2), np.uint8), data_set)


def test_a_table_that_is_shorter_than_it_says_ends_with_its_last_entry() -> None:
    drawn = rgb(np.array([[0, 1, 200]], np.uint8), palette(8, stated=256, width_bytes=2, **RAMPS))
    assert drawn.shape == (1, 3, 3)


@pytest.mark.parametrize("samples", [1, 2, 4])
def test_pixels_of_other_samples_are_refused(samples: int) -> None:
    with pytest.raises(NotAcceptable, match="samples"):
        rgb(np.zeros((2, 2, samples), np.uint8), image("RGB"))


SRGB = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
LAB = ImageCms.ImageCmsProfile(ImageCms.createProfile("LAB")).tobytes()


def swapped() -> bytes:
    """sRGB with the primaries of red and green exchanged."""
    red, green = (SRGB.index(name, 128) for name in (b"rXYZ", b"gXYZ"))  # entries of the tag table
    changed = bytearray(SRGB)
    changed[red + 4 : red + 12], changed[green + 4 : green + 12] = (
        SRGB[green + 4 : green + 12],
        SRGB[red + 4 : red + 12],
    )
    return bytes(changed)


def red() -> Image.Image:
    return Image.new("RGB", (2, 2), (255, 0, 0))


@pytest.mark.parametrize(
    ("wanted", "profile", "pixel", "embedded"),
    [
        pytest.param("no", SRGB, (255, 0, 0), None, id="no"),
        pytest.param("yes", b"own", (255, 0, 0), b"own", id="the own one"),
        pytest.param("yes", None, (255, 0, 0), "sRGB", id="without an own one"),
        pytest.param("srgb", None, (255, 0, 0), "sRGB", id="sRGB as it is"),
        pytest.param("srgb", b"garbage", (255, 0, 0), "sRGB", id="an unusable one"),
        pytest.param("srgb", LAB, (255, 0, 0), "sRGB", id="one of another space"),
        pytest.param("srgb", "swapped", (0, 255, 0), "sRGB", id="converted"),
    ],
)
def test_colour_spaces(wanted: str, profile: Any, pixel: tuple[int, ...], embedded: Any) -> None:
    source = swapped() if profile == "swapped" else profile
    converted, found = in_colour_space(red(), source, wanted)
    assert np.abs(np.subtract(np.asarray(converted.getpixel((0, 0))), pixel)).max() <= 3
    if embedded == "sRGB":
        assert found is not None
        assert "sRGB" in ImageCms.getProfileDescription(ImageCms.ImageCmsProfile(BytesIO(found)))
    else:
        assert found == embedded


# To XYZ under D50, as they are published; sRGB's own curve is the one of Display P3.
TO_XYZ = {
    "srgb": [[0.4360747, 0.3850649, 0.1430804], [0.2225045, 0.7168786, 0.0606169], [0.0139322, 0.0971045, 0.7141733]],
    "adobergb": [[0.6097559, 0.205240, 0.149224], [0.3111242, 0.625656, 0.0632197], [0.0194811, 0.0608902, 0.7448387]],
    "rommrgb": [[0.7976749, 0.1351917, 0.0313534], [0.2880402, 0.7118741, 0.0000857], [0, 0, 0.82521]],
    "displayp3": [
        [0.5151187, 0.2919778, 0.1571035],
        [0.2411892, 0.6922441, 0.0665668],
        [-0.00105, 0.0418791, 0.7840713],
    ],
}


def from_intensity(space: str, linear: float) -> float:
    """The sample from 0 to 1 for an intensity."""
    if space == "adobergb":
        return float(linear ** (256 / 563))
    if space == "rommrgb":
        return float(16 * linear if linear < 1 / 512 else linear ** (1 / 1.8))
    return float(12.92 * linear if linear <= 0.0031308 else 1.055 * linear ** (1 / 2.4) - 0.055)


@pytest.mark.parametrize("space", ["adobergb", "rommrgb", "displayp3"])
@pytest.mark.parametrize("pixel", [(255, 0, 0), (0, 255, 0), (30, 60, 200), (128, 128, 128), (255, 255, 255)])
def test_colours_are_converted_by_the_definition_of_the_space(space: str, pixel: tuple[int, int, int]) -> None:
    intensities = [((s / 255 + 0.055) / 1.055) ** 2.4 if s > 10 else s / 255 / 12.92 for s in pixel]
    linear = np.linalg.solve(np.array(TO_XYZ[space]), np.array(TO_XYZ["srgb"]) @ intensities).clip(0, 1)
    expected = [round(255 * from_intensity(space, one)) for one in linear]
    image, embedded = in_colour_space(Image.new("RGB", (2, 2), pixel), None, space)
    assert image.getpixel((0, 0)) == pytest.approx(expected, abs=2)
    assert embedded is not None
    back, _ = in_colour_space(image, embedded, "srgb")
    assert back.getpixel((0, 0)) == pytest.approx(pixel, abs=3)


@pytest.mark.parametrize(
    ("space", "name"),
    [("adobergb", "Adobe RGB (1998) compatible"), ("rommrgb", "ROMM RGB"), ("displayp3", "Display P3")],
)
def test_the_profile_of_a_space_is_embedded(space: str, name: str) -> None:
    for mode in ("L", "RGB"):
        image, embedded = in_colour_space(Image.new(mode, (1, 1), "white"), None, space)
        assert (image.mode, image.getpixel((0, 0))) == ("RGB", (255, 255, 255))
        profile = ImageCms.ImageCmsProfile(BytesIO(embedded or b""))
        assert ImageCms.getProfileDescription(profile).strip() == name


def test_grey_becomes_rgb_for_a_profile_of_colours() -> None:
    assert in_colour_space(Image.new("L", (1, 1), 7), None, "yes")[0].getpixel((0, 0)) == (7, 7, 7)


def test_the_profile_of_an_optical_path_counts() -> None:
    assert icc_profile(through(made(OpticalPathSequence=[made(ICCProfile=b"ab")]))) == b"ab"
    assert icc_profile(through(made(ICCProfile=b"cd", OpticalPathSequence=[]))) == b"cd"
    assert icc_profile(Dataset()) is None
