"""Shutters, overlays, shapes and texts are where a state puts them, in the colours and the order that it gives them."""

from typing import Any

import numpy as np
import pytest
from PIL import Image
from pydicom import Dataset
from pydicom.uid import CTImageStorage

from tests.wado.rendering.made import made, through
from tests.wado.rendering.states import annotation, graphic, layer, reference, state_for, words
from wado.rendering.parameters import Viewport
from wado.rendering.presentation.present import Presentation
from wado.rendering.segmentation import srgb_from_cielab
from wado.rendering.values import quietly

SIDE = 40
GREY = 100
RED, BLUE = [34890, 53485, 50157], [21199, 52961, 5147]  # CIELab
Y, X = np.mgrid[0:SIDE, 0:SIDE] + 0.5


def image(**attributes: Any) -> Dataset:
    uids = {"StudyInstanceUID": "1.1", "SeriesInstanceUID": "1.2", "SOPInstanceUID": "1.2.3"}
    return made(SOPClassUID=CTImageStorage, Rows=SIDE, Columns=SIDE, **{**uids, **attributes})


def presented(source: Dataset | None = None, viewport: Viewport | None = None, **attributes: Any) -> np.ndarray:
    """The picture of an evenly grey image by a state of these attributes."""
    source = source or image()
    with quietly():
        presentation = Presentation(through(state_for(source, **attributes)), through(source), 1)
        placement = presentation.placement(SIDE, SIDE, viewport or Viewport())
        drawn = Image.new("L", (SIDE, SIDE), GREY)
        return np.asarray(presentation.picture(drawn, np.zeros((SIDE, SIDE), "<u2"), placement))


def with_overlay(data_set: Dataset, bits: np.ndarray, group: int = 0x6000, layer_name: str = "") -> Dataset:
    rows, columns = bits.shape
    for element, vr, value in (
        (0x10, "US", rows),
        (0x11, "US", columns),
        (0x40, "CS", "G"),
        (0x50, "SS", [1, 1]),
        (0x100, "US", 1),
        (0x102, "US", 0),
        (0x3000, "OW", np.packbits(bits, bitorder="little").tobytes()),
    ):
        data_set.add_new((group, element), vr, value)
    if layer_name:
        data_set.add_new((group, 0x1001), "CS", layer_name)
    return data_set


RECTANGLE: dict[str, Any] = {
    "ShutterShape": "RECTANGULAR",
    "ShutterLeftVerticalEdge": 11,
    "ShutterRightVerticalEdge": 30,
    "ShutterUpperHorizontalEdge": 6,
    "ShutterLowerHorizontalEdge": 35,
}
IN_RECTANGLE = (X > 10) & (X < 30) & (Y > 5) & (Y < 35)
CIRCLE: dict[str, Any] = {
    "ShutterShape": "CIRCULAR",
    "CenterOfCircularShutter": [20, 16],
    "RadiusOfCircularShutter": 12,
}
IN_CIRCLE = (X - 15.5) ** 2 + (Y - 19.5) ** 2 <= 12**2
TRIANGLE = {"ShutterShape": "POLYGONAL", "VerticesOfThePolygonalShutter": [1, 1, 40, 1, 40, 40]}
IN_TRIANGLE = X <= Y


@pytest.mark.parametrize(
    ("shutter", "expected", "tolerated"),
    [
        pytest.param(RECTANGLE, IN_RECTANGLE, 0, id="rectangular"),
        pytest.param(CIRCLE, IN_CIRCLE, 0, id="circular"),
        pytest.param(TRIANGLE, IN_TRIANGLE, SIDE, id="polygonal"),
        pytest.param(
            {**CIRCLE, **RECTANGLE, "ShutterShape": ["RECTANGULAR", "CIRCULAR"]}, IN_RECTANGLE & IN_CIRCLE, 0, id="both"
        ),
        pytest.param({"ShutterShape": "CIRCULAR"}, np.ones_like(IN_CIRCLE), 0, id="without a center"),
    ],
)
def test_only_what_is_in_all_shapes_of_the_shutter_is_seen(
    shutter: dict[str, Any], expected: np.ndarray, tolerated: int
) -> None:
    found = presented(**shutter, ShutterPresentationValue=0x8080)
    assert set(np.unique(found)) <= {GREY, 0x80}
    assert ((found == GREY) != expected).sum() <= tolerated
    assert presented(**shutter).min() == (0 if not expected.all() else GREY)


def test_a_shutter_is_turned_with_the_image() -> None:
    found = presented(**RECTANGLE, ImageRotation=90, ImageHorizontalFlip="Y")
    assert np.array_equal(found == GREY, np.rot90(IN_RECTANGLE, -1)[:, ::-1])


def test_a_shutter_may_have_a_colour_and_ends_with_the_image() -> None:
    area = made(DisplayedAreaTopLeftHandCorner=[-9, 1], DisplayedAreaBottomRightHandCorner=[40, 40])
    found = presented(**CIRCLE, ShutterPresentationColorCIELabValue=RED, DisplayedAreaSelectionSequence=[area])
    assert not found[:, :10].any()
    assert np.array_equal((found[:, 10:] == GREY).all(axis=2), IN_CIRCLE)
    assert found[0, 10].tolist() == list(srgb_from_cielab(tuple(RED)))


def test_a_bitmap_shutter_shuts_where_its_bits_are_set() -> None:
    source = image()
    state: dict[str, Any] = {"ShutterShape": "BITMAP", "ShutterOverlayGroup": 0x6002}
    made_state = with_overlay(state_for(source, **state), IN_TRIANGLE, 0x6002)
    with quietly():
        presentation = Presentation(through(made_state), through(source), 1)
        placement = presentation.placement(SIDE, SIDE, Viewport())
        drawn = Image.new("L", (SIDE, SIDE), GREY)
        found = np.asarray(presentation.picture(drawn, np.zeros((SIDE, SIDE), "<u2"), placement))
    assert presentation.exact
    assert np.array_equal(found == 0, IN_TRIANGLE)


@pytest.mark.parametrize("activated", [True, False])
def test_an_overlay_of_the_image_is_seen_only_if_the_state_activates_it(activated: bool) -> None:
    source = with_overlay(image(), IN_CIRCLE)
    state = state_for(source, GraphicLayerSequence=[layer("L", 1, GraphicLayerRecommendedDisplayGrayscaleValue=65535)])
    if activated:
        state.add_new((0x6000, 0x1001), "CS", "L")
    with quietly():
        presentation = Presentation(through(state), through(source), 1)
        assert (0x6000, 0x0010) not in presentation.data_set
        placement = presentation.placement(SIDE, SIDE, Viewport())
        drawn = Image.new("L", (SIDE, SIDE), GREY)
        found = np.asarray(presentation.picture(drawn, np.zeros((SIDE, SIDE), "<u2"), placement))
    assert np.array_equal(found == 255, IN_CIRCLE & activated)


FILLED = [
    pytest.param(graphic("CIRCLE", 16, 20, 26, 20, filled=True), np.hypot(X - 16, Y - 20) <= 10, id="circle"),
    pytest.param(
        graphic("ELLIPSE", 5, 20, 35, 20, 20, 12, 20, 28, filled=True),
        ((X - 20) / 15) ** 2 + ((Y - 20) / 8) ** 2 <= 1,
        id="ellipse",
    ),
    pytest.param(
        graphic("POLYLINE", 10, 5, 30, 5, 30, 35, 10, 35, 10, 5, filled=True), IN_RECTANGLE, id="closed polyline"
    ),
    pytest.param(
        graphic(
            "POLYLINE", 0.25, 0.125, 0.75, 0.125, 0.75, 0.875, 0.25, 0.875, 0.25, 0.125, units="DISPLAY", filled=True
        ),
        IN_RECTANGLE,
        id="on the display",
    ),
]


@pytest.mark.parametrize(("drawn", "expected"), FILLED)
def test_a_filled_shape_covers_its_inside(drawn: Dataset, expected: np.ndarray) -> None:
    found = presented(GraphicAnnotationSequence=[annotation("L", drawn)])
    inked = found > (GREY + 255) / 2
    near = np.any([np.roll(expected, (y, x), (0, 1)) for y in range(-2, 3) for x in range(-2, 3)], axis=0)
    assert not (expected & ~inked).any()
    assert not (inked & ~near).any()


@pytest.mark.parametrize(
    ("drawn", "on", "off"),
    [
        pytest.param(graphic("POLYLINE", 5, 10.5, 35, 10.5), [(10, 20)], [(8, 20), (13, 20)], id="line"),
        pytest.param(graphic("CIRCLE", 20, 20, 30, 20), [(20, 30), (10, 20), (30, 20)], [(20, 20)], id="circle"),
        pytest.param(graphic("POINT", 20.5, 20.5), [(20, 20), (18, 20), (20, 18)], [(18, 18)], id="point"),
        pytest.param(
            graphic("INTERPOLATED", 0, 20, 10, 20, 20, 10, 30, 20, 40, 20), [(10, 20)], [(20, 20)], id="curve"
        ),
        pytest.param(
            graphic("ELLIPSE", 5, 20, 35, 20, 20, 12, 20, 28), [(20, 35), (12, 20)], [(20, 20), (5, 20)], id="ellipse"
        ),
    ],
)
def test_a_shape_is_drawn_along_its_points(drawn: Dataset, on: list[Any], off: list[Any]) -> None:
    found = presented(GraphicAnnotationSequence=[annotation("L", drawn)])
    assert all(found[max(0, row - 1) : row + 2, column - 1 : column + 2].max() > 150 for row, column in on)
    assert all(found[row, column] == GREY for row, column in off)


def unlike(one: np.ndarray, other: np.ndarray) -> int:
    """How many pixels differ by more than smoothing makes them."""
    return int((abs(one.astype(int) - other) > 80).sum())


def test_image_points_turn_with_the_image_and_display_points_stay() -> None:
    box = (0.1, 0.1, 0.3, 0.1, 0.3, 0.3, 0.1, 0.1)
    on_image = graphic("POLYLINE", *(one * SIDE for one in box), filled=True)
    on_display = graphic("POLYLINE", *box, units="DISPLAY", filled=True)
    for drawn, turned in ((on_image, True), (on_display, False)):
        plain, rotated = (
            presented(GraphicAnnotationSequence=[annotation("L", drawn)], ImageRotation=degrees) for degrees in (0, 180)
        )
        assert unlike(rotated, np.rot90(plain, 2) if turned else plain) <= 12
        assert unlike(rotated, plain if turned else np.rot90(plain, 2)) > 12


def test_higher_layers_lie_above_in_their_colours() -> None:
    whole = (0, 0, SIDE, 0, SIDE, SIDE, 0, SIDE, 0, 0)
    left = (0, 0, 20, 0, 20, SIDE, 0, SIDE, 0, 0)
    layers = [
        layer("TOP", 2, GraphicLayerRecommendedDisplayCIELabValue=BLUE),
        layer(
            "BOTTOM", 1, GraphicLayerRecommendedDisplayCIELabValue=RED, GraphicLayerRecommendedDisplayGrayscaleValue=0
        ),
    ]
    found = presented(
        GraphicLayerSequence=layers,
        GraphicAnnotationSequence=[
            annotation("TOP", graphic("POLYLINE", *left, filled=True)),
            annotation("BOTTOM", graphic("POLYLINE", *whole, filled=True)),
        ],
    )
    assert found[20, 5].tolist() == list(srgb_from_cielab(tuple(BLUE)))
    assert found[20, 35].tolist() == list(srgb_from_cielab(tuple(RED)))


def test_a_grey_layer_leaves_the_picture_grey() -> None:
    layers = [layer("L", 1, GraphicLayerRecommendedDisplayGrayscaleValue=0x4040)]
    drawn = annotation("L", graphic("POLYLINE", 0, 0, 40, 0, 40, 40, 0, 40, 0, 0, filled=True))
    found = presented(GraphicLayerSequence=layers, GraphicAnnotationSequence=[drawn])
    assert found.ndim == 2 and found[20, 20] == 0x40


def test_a_style_counts_before_its_layer() -> None:
    style = made(PatternOnColorCIELabValue=RED, LineThickness=6.0)
    line = graphic("POLYLINE", 0, 20, 40, 20, LineStyleSequence=[style])
    found = presented(GraphicAnnotationSequence=[annotation("L", line)])
    inked = (found == srgb_from_cielab(tuple(RED))).all(axis=2)
    assert 5 <= inked[:, 20].sum() <= 7
    text = words("MMM", (5, 5, 35, 15), TextStyleSequence=[made(TextColorCIELabValue=BLUE)])
    found = presented(viewport=BIG, GraphicAnnotationSequence=[annotation("L", text)])
    assert (found == srgb_from_cielab(tuple(BLUE))).all(axis=2).sum() > 100


def test_what_is_for_another_image_is_not_drawn() -> None:
    other = image(SOPInstanceUID="1.2.4")
    for images, seen in (([reference(other)], False), ([reference(image())], True), ([reference(image(), 2)], False)):
        drawn = annotation("L", graphic("CIRCLE", 20, 20, 30, 20), ReferencedImageSequence=images)
        assert (presented(GraphicAnnotationSequence=[drawn]) != GREY).any() == seen


BIG = Viewport(400, 400)


@pytest.mark.parametrize(
    ("text", "rows", "columns"),
    [
        pytest.param(words("MMM", (5, 5, 35, 15)), (50, 150), (50, 350), id="box"),
        pytest.param(
            words("MMM", (5, 5, 35, 15), BoundingBoxTextHorizontalJustification="RIGHT"),
            (50, 150),
            (50, 355),
            id="right",
        ),
        pytest.param(words("MMM", (), (20, 20), AnchorPointVisibility="N"), (150, 202), (200, 400), id="anchor"),
        pytest.param(words("MMM", (38, 38, 60, 60)), (300, 400), (100, 400), id="moved into the picture"),
    ],
)
def test_a_text_is_in_its_place_and_can_be_read(text: Dataset, rows: Any, columns: Any) -> None:
    found = presented(viewport=BIG, GraphicAnnotationSequence=[annotation("L", text)])
    inked = np.argwhere(found > 200)
    assert (inked.min(axis=0) >= (rows[0], columns[0])).all() and (inked.max(axis=0) <= (rows[1], columns[1])).all()
    assert 8 <= np.ptp(inked[:, 0]) <= 80, "the height of a capital in pixels"
    assert found.min() == 0, "the edge of the letters"


def test_a_text_stays_upright() -> None:
    text = annotation("L", words("MMM", (10, 10, 30, 30)))
    plain, turned = (
        presented(viewport=BIG, GraphicAnnotationSequence=[text], ImageRotation=degrees) for degrees in (0, 180)
    )
    extents = [np.ptp(np.argwhere(found > 200), axis=0).tolist() for found in (plain, turned)]
    assert extents[0] == extents[1]
    assert np.argwhere(plain > 200)[:, 0].min() == np.argwhere(turned > 200)[:, 0].min() == pytest.approx(100, abs=9)


def test_a_visible_anchor_has_a_line_to_the_text() -> None:
    text = annotation("L", words("MMM", (20, 2, 38, 8), (5, 35)))
    found = presented(viewport=BIG, GraphicAnnotationSequence=[text])
    assert found[345:352, 48:55].max() == 255


HOSTILE = [
    {"DisplayedAreaSelectionSequence": [made(DisplayedAreaTopLeftHandCorner=[-(2**31), 1],
                                             DisplayedAreaBottomRightHandCorner=[2**31 - 1, 1])]},
    {"DisplayedAreaSelectionSequence": [made(DisplayedAreaTopLeftHandCorner=[65000, 1],
                                             DisplayedAreaBottomRightHandCorner=[-65000, 1])]},
    {"DisplayedAreaSelectionSequence": [made(PresentationSizeMode="MAGNIFY",
                                             PresentationPixelMagnificationRatio=1e30)]},
    {"ImageRotation": 45, "ImageHorizontalFlip": "MAYBE"},
    {"ShutterShape": ["CIRCULAR", "POLYGONAL", "BITMAP"], "RadiusOfCircularShutter": 0, "ShutterOverlayGroup": 1,
     "VerticesOfThePolygonalShutter": [1, 2, 3], "CenterOfCircularShutter": [1]},
    {"ShutterShape": "POLYGONAL", "VerticesOfThePolygonalShutter": [10**9, 1, -(10**9), 1, 5, 10**9]},
    {"GraphicLayerSequence": [made()],
     "GraphicAnnotationSequence": [made(), annotation("", made(GraphicType="CIRCLE"))]},
    {"GraphicAnnotationSequence": [annotation("L", *(
        graphic(kind, *([x, -x] * count), **more)
        for kind in ("POINT", "POLYLINE", "INTERPOLATED", "CIRCLE", "ELLIPSE", "SPIRAL")
        for count in (0, 1, 2, 4, 5)
        for x in (0.0, 3e38, 1e-30)
        for more in ({}, {"units": "DISPLAY", "filled": True}, {"units": "MATRIX"})
    ))]},
    {"GraphicAnnotationSequence": [annotation("L", words("x" * 9000, (0, 0, 1, 1)), words("\x1b\0" * 9, (), (3e38, 0)),
                                              words("y", (3e38, -3e38, 0, 0), (1,)), words("", (1, 1, 2, 2)))]},
]  # fmt: skip


@pytest.mark.parametrize("attributes", HOSTILE)
def test_whatever_a_state_says_there_is_a_picture(attributes: dict[str, Any]) -> None:
    found = presented(**attributes)
    assert found.size and found.shape[0] * found.shape[1] <= 2**26
