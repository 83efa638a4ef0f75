"""What a state says becomes typed values, within bounds that nobody who draws by hand comes near."""

from typing import Any

import pytest
from pydicom import Dataset

from tests.wado.rendering.made import made, through
from tests.wado.rendering.states import annotation, graphic, layer, reference, state_for, words
from wado.rendering.presentation.references import ImageReference, referenced_images
from wado.rendering.presentation.state import PresentationState
from wado.rendering.values import quietly

IMAGE = made(SOPClassUID="1.2", StudyInstanceUID="1.1", SeriesInstanceUID="1.2", SOPInstanceUID="1.2.3", Rows=20,
             Columns=30, PixelSpacing=["1", "0.5"])  # fmt: skip


def parsed(**attributes: Any) -> PresentationState:
    with quietly():
        return PresentationState.from_data_set(through(state_for(IMAGE, **attributes)), IMAGE, 1)


def area(first: tuple[int, int], last: tuple[int, int], **attributes: Any) -> Dataset:
    corners = {"DisplayedAreaTopLeftHandCorner": list(first), "DisplayedAreaBottomRightHandCorner": list(last)}
    return made(**corners, **attributes)


@pytest.mark.parametrize(
    ("first", "last"), [((3, 5), (10, 12)), ((10, 12), (3, 5)), ((3, 12), (10, 5))], ids=["plain", "turned", "mirrored"]
)
def test_the_displayed_area_lies_between_its_corners(first: tuple[int, int], last: tuple[int, int]) -> None:
    """The corners are those that are seen at the upper left and lower right, however the image is turned."""
    assert parsed(DisplayedAreaSelectionSequence=[area(first, last)]).area.box == (2, 4, 10, 12)


def test_without_a_displayed_area_all_of_the_image_is_shown() -> None:
    elsewhere = area((1, 1), (2, 2), ReferencedImageSequence=[reference(IMAGE, 2)])
    for selections in ([], [elsewhere], [area((1, 1), (10**9, 2))]):
        assert parsed(DisplayedAreaSelectionSequence=selections).area.box == (0, 0, 30, 20)


@pytest.mark.parametrize(
    ("attributes", "aspect"),
    [
        ({}, 2.0),
        ({"PresentationPixelAspectRatio": [1, 1]}, 1.0),
        ({"PresentationPixelAspectRatio": [1, 4]}, 0.25),
        ({"PresentationPixelSpacing": ["3", "1"]}, 3.0),
    ],
)
def test_the_shape_of_pixels_is_that_of_the_state_or_of_the_image(attributes: dict[str, Any], aspect: float) -> None:
    assert parsed(DisplayedAreaSelectionSequence=[area((1, 1), (9, 9), **attributes)]).area.aspect == aspect


@pytest.mark.parametrize(
    ("mode", "magnification"), [("MAGNIFY", 2.5), ("SCALE TO FIT", 1.0), ("TRUE SIZE", 1.0), ("", 1.0)]
)
def test_only_a_magnified_state_has_a_ratio(mode: str, magnification: float) -> None:
    selection = area((1, 1), (9, 9), PresentationSizeMode=mode, PresentationPixelMagnificationRatio=2.5)
    assert parsed(DisplayedAreaSelectionSequence=[selection]).area.magnification == magnification


def test_layers_come_by_their_order_and_unknown_ones_last() -> None:
    point = graphic("POINT", 1, 1)
    state = parsed(
        GraphicLayerSequence=[layer("B", 7), layer("EMPTY", 1), layer("A", 2)],
        GraphicAnnotationSequence=[annotation(name, point) for name in ("NEW", "B", "A", "B")],
    )
    assert [(one.name, len(one.graphics)) for one in state.layers] == [("A", 1), ("B", 2), ("NEW", 1)]


@pytest.mark.parametrize(
    "item",
    [
        graphic("CIRCLE", 1, 1),
        graphic("ELLIPSE", 1, 1, 2, 2, 3, 3),
        graphic("POLYLINE", 1, 1),
        graphic("POLYLINE", 1, 1, 2, 2, units="MATRIX"),
        graphic("STAR", 1, 1, 2, 2),
        words("", (1, 1, 2, 2)),
        words("nowhere"),
    ],
)
def test_what_cannot_be_drawn_is_left_out(item: Dataset) -> None:
    assert parsed(GraphicAnnotationSequence=[annotation("L", item)]).layers == ()


def test_a_state_is_drawn_within_bounds() -> None:
    crowd = [annotation("L", *[graphic("POINT", 1, 1)] * 1500, *[words("x" * 1500, (1, 1, 9, 9))] * 15)] * 2
    (found,) = parsed(GraphicAnnotationSequence=crowd).layers
    assert len(found.graphics) == 2000
    assert [len(one.text) for one in found.words] == [1024] * 19
    many = [annotation(f"L{number}", graphic("POINT", 1, 1)) for number in range(99)]
    assert len(parsed(GraphicAnnotationSequence=many).layers) == 64
    styles = [made(PatternOnColorCIELabValue=[number * 600, 0, 0]) for number in range(99)]
    colourful = [annotation("L", *(graphic("POINT", 1, 1, LineStyleSequence=[style]) for style in styles))]
    (found,) = parsed(GraphicAnnotationSequence=colourful).layers
    assert len({one.colour for one in found.graphics}) <= 10


def test_references_are_read_series_by_series() -> None:
    other = made(SOPClassUID="1.2", SeriesInstanceUID="1.9", SOPInstanceUID="1.9.1")
    state = state_for(IMAGE, other)
    state.ReferencedSeriesSequence[1].ReferencedImageSequence[0].ReferencedFrameNumber = [2, 0, 7]
    assert referenced_images(through(state)) == (
        ImageReference("1.2", "1.2.3", ()),
        ImageReference("1.9", "1.9.1", (2, 7)),
    )
    assert referenced_images(through(made(SOPClassUID="1.2"))) == ()
