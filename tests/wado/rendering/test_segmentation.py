"""Segments have the colours that they recommend (PS3.3 Sections C.8.20 and C.10.7.1.1)."""

import numpy as np
import pytest
from pydicom import Dataset

from tests.pydicom_files import pydicom_file
from tests.wado.rendering.made import made, through
from wado.rendering.segmentation import colours, default_colour, draw_segments, segment_of_frame, srgb_from_cielab


def scaled(lightness: float, a: float, b: float) -> list[int]:
    """L*, a*, b* as DICOM writes them."""
    return [round(lightness / 100 * 65535), round((a + 128) / 255 * 65535), round((b + 128) / 255 * 65535)]


@pytest.mark.parametrize(
    ("lab", "rgb"),
    [  # the sRGB primaries in CIELab under D50, as colour management systems state them
        pytest.param((0, 0, 0), (0, 0, 0), id="black"),
        pytest.param((100, 0, 0), (255, 255, 255), id="white"),
        pytest.param((53.39, 0, 0), (127, 127, 127), id="middle grey"),
        pytest.param((54.29, 80.81, 69.89), (255, 0, 0), id="red"),
        pytest.param((87.82, -79.29, 80.99), (0, 255, 0), id="green"),
        pytest.param((29.57, 68.30, -112.03), (0, 0, 255), id="blue"),
    ],
)
def test_recommended_colours_become_srgb(lab: tuple[float, ...], rgb: tuple[int, ...]) -> None:
    assert srgb_from_cielab(tuple(scaled(*lab))) == pytest.approx(rgb, abs=2)


RED = scaled(54.29, 80.81, 69.89)


def segmentation(kind: str, **attributes: object) -> Dataset:
    """Two segments, of which the first recommends red; the first frame belongs to the second."""
    segments = [made(SegmentNumber=1, RecommendedDisplayCIELabValue=RED), made(SegmentNumber=2)]
    frames = [made(SegmentIdentificationSequence=[made(ReferencedSegmentNumber=number)]) for number in (2, 1)]
    fields = {"SegmentSequence": segments, "PerFrameFunctionalGroupsSequence": frames, **attributes}
    return through(made(SegmentationType=kind, **fields))


def near(pixel: np.ndarray, colour: tuple[int, ...]) -> bool:
    return bool(np.abs(pixel.astype(int) - colour).max() <= 2)


def test_a_frame_has_the_colour_of_its_segment_on_black() -> None:
    array = np.array([[0, 1]], np.uint8)
    first, second = (draw_segments(array, segmentation("BINARY"), number) for number in (1, 2))
    assert near(first[0, 1], default_colour(2)) and near(second[0, 1], (255, 0, 0))
    assert not first[0, 0].any()


def test_a_shared_segment_is_that_of_all_frames() -> None:
    shared = made(SegmentIdentificationSequence=[made(ReferencedSegmentNumber=7)])
    assert segment_of_frame(made(SharedFunctionalGroupsSequence=[shared]), 5) == 7


def test_a_fraction_is_as_strong_as_it_is() -> None:
    drawn = draw_segments(np.array([[0, 50, 100]]), segmentation("FRACTIONAL", MaximumFractionalValue=100), 2)
    assert [pixel[0] for pixel in drawn[0]] == pytest.approx([0, 128, 255], abs=2)


def test_labels_are_each_in_their_colour() -> None:
    drawn = draw_segments(np.array([[0, 1], [2, 9]], np.uint16), segmentation("LABELMAP"), 1)
    assert not drawn[0, 0].any() and near(drawn[0, 1], (255, 0, 0))
    assert near(drawn[1, 0], default_colour(2)) and near(drawn[1, 1], default_colour(9))


@pytest.mark.parametrize(
    "value", [pytest.param([1, 2], id="two numbers"), pytest.param([], id="none"), pytest.param([9], id="one")]
)
def test_a_colour_that_is_none_is_a_default_one(value: list[int]) -> None:
    assert colours(made(SegmentSequence=[made(SegmentNumber=3, RecommendedDisplayCIELabValue=value)])) == {
        3: default_colour(3)
    }


def test_neighbouring_segments_without_colours_can_be_told_apart() -> None:
    assert all(default_colour(number) != default_colour(number + 1) for number in range(1, 40))


def test_the_sample_of_pydicom_is_drawn_in_its_colours() -> None:
    data_set = pydicom_file("liver_1frame.dcm")
    array = data_set.pixel_array
    drawn = draw_segments(array, data_set, 1)
    (colour,) = np.unique(drawn[array == 1], axis=0)
    assert colour.tolist() == list(colours(data_set)[1]) and not drawn[array == 0].any()


@pytest.mark.parametrize("data_set", [Dataset(), made(SegmentSequence=[Dataset()]), segmentation("FRACTIONAL")])
def test_what_is_missing_is_harmless(data_set: Dataset) -> None:
    assert draw_segments(np.ones((2, 2), np.uint8), data_set, 9999).shape == (2, 2, 3)
