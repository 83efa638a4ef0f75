"""Segmentations in their recommended colours, on black (PS3.3 Section C.8.20)."""

from collections.abc import Mapping

import numpy as np
import numpy.typing as npt
from pydicom import Dataset
from pydicom.uid import SegmentationStorage

from wado.rendering.functional_groups import of_frame
from wado.rendering.values import integer, items, numbers, quietly, text

_LABEL_MAP_SEGMENTATION_STORAGE = "1.2.840.10008.5.1.4.1.1.66.7"  # newer than the dictionary of pydicom
SOP_CLASSES = frozenset({SegmentationStorage, _LABEL_MAP_SEGMENTATION_STORAGE})

Colour = tuple[int, int, int]
Rgb = npt.NDArray[np.uint8]
_MAX_SEGMENTS = 65_536
_DISTINCT: tuple[Colour, ...] = (  # for segments without a recommended colour; neighbours differ in hue and lightness
    (230, 80, 70),
    (80, 180, 90),
    (80, 130, 230),
    (240, 200, 60),
    (180, 100, 200),
    (80, 200, 210),
    (240, 140, 60),
    (230, 130, 180),
    (160, 200, 70),
    (150, 110, 80),
    (150, 160, 250),
    (200, 200, 200),
)
_D50 = np.array([0.96422, 1.0, 0.82521])
_XYZ_D50_TO_LINEAR_SRGB = np.array(  # Bradford-adapted to D65
    [
        [3.1338561, -1.6168667, -0.4906146],
        [-0.9787684, 1.9161415, 0.0334540],
        [0.0719453, -0.2289914, 1.4052427],
    ]
)


def srgb_from_cielab(scaled: tuple[float, ...]) -> Colour:
    """The sRGB colour of L*, a* and b* as 16-bit numbers (PS3.3 Section C.10.7.1.1)."""
    lightness, a, b = np.array(scaled[:3]) / 65535 * (100, 255, 255) - (0, 128, 128)
    y = (lightness + 16) / 116
    roots = np.array([y + a / 500, y, y - b / 200])
    xyz = _D50 * np.where(roots > 6 / 29, roots**3, 3 * (6 / 29) ** 2 * (roots - 4 / 29))
    linear = np.clip(_XYZ_D50_TO_LINEAR_SRGB @ xyz, 0, 1)
    encoded = np.where(linear <= 0.0031308, 12.92 * linear, 1.055 * linear ** (1 / 2.4) - 0.055)
    red, green, blue = np.rint(encoded * 255).astype(int).tolist()
    return red, green, blue


def default_colour(segment_number: int) -> Colour:
    """The colour of a segment without a recommended one; `segment_number` counts from 1."""
    return _DISTINCT[(segment_number - 1) % len(_DISTINCT)]


def colours(data_set: Dataset) -> Mapping[int, Colour]:
    """The colour of each segment by its number."""
    with quietly():
        return {
            integer(segment, "SegmentNumber"): _colour(segment)
            for segment in items(data_set, "SegmentSequence", _MAX_SEGMENTS)
        }


def _colour(segment: Dataset) -> Colour:
    recommended = numbers(segment, "RecommendedDisplayCIELabValue")
    if len(recommended) != 3 or not all(0 <= one <= 65535 for one in recommended):
        return default_colour(integer(segment, "SegmentNumber", 1))
    return srgb_from_cielab(recommended)


def segment_of_frame(data_set: Dataset, frame_number: int) -> int:
    """The segment of a frame, counted from 1 (PS3.3 Section C.8.20.3.1); 1 if it is not stated."""
    with quietly():
        return max(integer(of_frame(data_set, frame_number), "ReferencedSegmentNumber"), 0) or 1


def draw_segments(array: npt.NDArray[np.integer], data_set: Dataset, frame_number: int) -> Rgb:
    """RGB of shape (rows, columns, 3) for samples of shape (rows, columns).

    A binary segment is solid, the brightness of a fractional one follows its value, and labels have a colour each.
    """
    chosen = colours(data_set)
    with quietly():
        kind, most = text(data_set, "SegmentationType"), integer(data_set, "MaximumFractionalValue", 255)
    if kind == "LABELMAP":
        return _labels(array, chosen)
    number = segment_of_frame(data_set, frame_number)
    colour = np.array(chosen.get(number, default_colour(number)))
    strength = array.astype(np.float64) / (max(1, most) if kind == "FRACTIONAL" else 1)
    drawn: Rgb = np.rint(np.clip(strength, 0, 1)[..., None] * colour).astype(np.uint8)
    return drawn


def _labels(array: npt.NDArray[np.integer], chosen: Mapping[int, Colour]) -> Rgb:
    """The colours of labels; 0 is black unless it is described as a segment."""
    labels, where = np.unique(array, return_inverse=True)
    table = [chosen.get(label) or (default_colour(label) if label else (0, 0, 0)) for label in labels.tolist()]
    drawn: Rgb = np.array(table, np.uint8).reshape(-1, 3)[where.reshape(array.shape)]
    return drawn
