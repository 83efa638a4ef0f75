"""A presentation state for one frame of one image, as typed values; without the grey transformations."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from itertools import islice

from pydicom import Dataset

from wado.rendering.geometry import Box, pixel_aspect
from wado.rendering.overlay import GROUPS
from wado.rendering.presentation.placement import Area
from wado.rendering.presentation.references import applies
from wado.rendering.segmentation import Colour, srgb_from_cielab
from wado.rendering.values import integer, item, items, number, numbers, text, values

_MOST_OBJECTS = 2_000  # items of a sequence
_MOST_POINTS, _MOST_LETTERS = 50_000, 20_000  # of all graphics and of all texts
_POINTS_OF_ARC = 25  # any graphic counts for at least so many points, so 2,000 are drawn at most
_MOST_LAYERS = 64
_MOST_COLOURS = 8  # of one layer, besides its own
_MOST_IN_TEXT = 1024  # letters, as ST has it
_MOST_SIDE = 65_535  # of a displayed area; a larger one is an error
_MOST_THICKNESS = 16.0  # pixels of the picture
_MOST = 65_535  # of a P-Value, and of each part of a CIELab value
_ACTIVATION_LAYER = 0x1001
_UNITS = ("PIXEL", "DISPLAY")
_LEAST_POINTS = {"POINT": 1, "POLYLINE": 2, "INTERPOLATED": 2, "CIRCLE": 2, "ELLIPSE": 4}
_WHITE: Colour = (255, 255, 255)
_BLACK: Colour = (0, 0, 0)

Point = tuple[float, float]
"""x, y: image coordinates (PIXEL), or fractions of the displayed area (DISPLAY)."""


@dataclass(frozen=True)
class Graphic:
    """A shape (PS3.3 Section C.10.5.1.2). `kind` is its Graphic Type; `on_display`: its points are in DISPLAY units."""

    kind: str
    points: tuple[Point, ...]
    on_display: bool
    filled: bool = False
    colour: Colour | None = None
    thickness: float = 1.0


@dataclass(frozen=True)
class TextObject:
    """A text object (PS3.3 Section C.10.5.1.1) in a box, or at an anchor that a line may lead to."""

    text: str
    box: tuple[Point, Point] | None
    box_on_display: bool
    justification: str
    anchor: Point | None
    anchor_on_display: bool
    anchor_visible: bool
    colour: Colour | None = None


@dataclass(frozen=True)
class Layer:
    """A graphic layer (PS3.3 Section C.10.7); `overlays` has groups of overlay planes."""

    name: str
    colour: Colour
    overlays: tuple[int, ...] = ()
    graphics: tuple[Graphic, ...] = ()
    words: tuple[TextObject, ...] = ()


@dataclass(frozen=True)
class Shutter:
    """A display shutter (PS3.3 Sections C.7.6.11 and C.7.6.15), in image coordinates; None for a shape it lacks.

    Pixels outside the shapes, and under the bits of the overlay of the group `overlay`, have the colour `colour`.
    """

    rectangle: Box | None
    circle: tuple[Point, float] | None
    polygon: tuple[Point, ...] | None
    overlay: int | None
    colour: Colour


@dataclass(frozen=True)
class PresentationState:
    """The presentation of one frame: clockwise `quarter_turns`, then `flip`, left to right.

    `layers` are in drawing order.
    """

    area: Area
    quarter_turns: int
    flip: bool
    shutter: Shutter | None
    layers: tuple[Layer, ...]

    @classmethod
    def from_data_set(cls, state: Dataset, image: Dataset, frame_number: int) -> "PresentationState":
        """From a state, for a frame of an image, counted from 1; `image` has the size of the image."""
        uid = text(image, "SOPInstanceUID")

        def applying(keyword: str) -> Iterator[Dataset]:
            return (one for one in items(state, keyword) if applies(one, uid, frame_number))

        return cls(
            _area(next(applying("DisplayedAreaSelectionSequence"), Dataset()), image),
            integer(state, "ImageRotation") % 360 // 90,
            text(state, "ImageHorizontalFlip") == "Y",
            _shutter(state),
            _layers(state, applying),
        )


def _area(selection: Dataset, image: Dataset) -> Area:
    """The displayed area, whatever the order of its corners; the whole image if there is no valid one."""
    columns, rows = integer(image, "Columns"), integer(image, "Rows")
    corners = (
        numbers(selection, "DisplayedAreaTopLeftHandCorner"),
        numbers(selection, "DisplayedAreaBottomRightHandCorner"),
    )
    box: Box = (0.0, 0.0, float(columns), float(rows))
    if all(len(corner) == 2 and max(map(abs, corner)) <= _MOST_SIDE for corner in corners):
        left, right = sorted(int(corner[0]) for corner in corners)
        upper, lower = sorted(int(corner[1]) for corner in corners)
        box = (left - 1.0, upper - 1.0, float(right), float(lower))
    shape = Dataset()
    for keyword, of_selection in (
        ("PixelAspectRatio", "PresentationPixelAspectRatio"),
        ("PixelSpacing", "PresentationPixelSpacing"),
    ):
        if numbers(selection, of_selection):
            setattr(shape, keyword, selection[of_selection].value)
    magnified = text(selection, "PresentationSizeMode") == "MAGNIFY"
    ratio = number(selection, "PresentationPixelMagnificationRatio") or 1.0
    return Area(box, pixel_aspect(shape or image), min(max(ratio, 1 / 64), 64.0) if magnified else 1.0)


def _shutter(state: Dataset) -> Shutter | None:
    shapes = values(state, "ShutterShape")
    left, right, upper, lower = (
        number(state, f"Shutter{edge}Edge")
        for edge in ("LeftVertical", "RightVertical", "UpperHorizontal", "LowerHorizontal")
    )
    rectangle = circle = polygon = overlay = None
    if "RECTANGULAR" in shapes and left is not None and right is not None and upper is not None and lower is not None:
        rectangle = (left - 1, upper - 1, right, lower)
    center, radius = numbers(state, "CenterOfCircularShutter"), number(state, "RadiusOfCircularShutter")
    if "CIRCULAR" in shapes and len(center) == 2 and radius is not None and radius > 0:
        circle = (_pixel(center[1], center[0]), radius)
    vertices = numbers(state, "VerticesOfThePolygonalShutter")[: 2 * _MOST_OBJECTS]
    if "POLYGONAL" in shapes and len(vertices) >= 6:
        polygon = tuple(_pixel(x, y) for y, x in zip(vertices[::2], vertices[1::2], strict=False))
    group = integer(state, "ShutterOverlayGroup")
    if "BITMAP" in shapes and group in GROUPS:
        overlay = group
    if not (rectangle or circle or polygon or overlay):
        return None
    colour = _colour(state, "ShutterPresentationColorCIELabValue", "ShutterPresentationValue") or _BLACK
    return Shutter(rectangle, circle, polygon, overlay, colour)


def _pixel(column: float, row: float) -> Point:
    """The centre of a pixel that is counted from 1."""
    return column - 0.5, row - 0.5


def _layers(state: Dataset, applying: Callable[[str], Iterator[Dataset]]) -> tuple[Layer, ...]:
    """The layers with content in their order; those that the layer sequence lacks come last."""
    sequence = items(state, "GraphicLayerSequence", _MOST_OBJECTS)
    layers = {text(one, "GraphicLayer"): _layer(one) for one in sorted(sequence, key=_order)}
    for group in GROUPS:
        name = "".join(str(one) for one in values(state, (group, _ACTIVATION_LAYER))[:1]).strip()
        if name:
            layer = layers.get(name, Layer(name, _WHITE))
            layers[name] = replace(layer, overlays=(*layer.overlays, group))
    points, letters = _Budget(_MOST_POINTS), _Budget(_MOST_LETTERS)
    for annotation in islice(applying("GraphicAnnotationSequence"), _MOST_OBJECTS):
        name = text(annotation, "GraphicLayer")
        drawn = map(_graphic, items(annotation, "GraphicObjectSequence", _MOST_OBJECTS))
        graphics = tuple(one for one in drawn if one and points.take(max(_POINTS_OF_ARC, len(one.points))))
        written = map(_words, items(annotation, "TextObjectSequence", _MOST_OBJECTS))
        words = tuple(one for one in written if one and letters.take(len(one.text)))
        layer = layers.get(name, Layer(name, _WHITE))
        layers[name] = replace(layer, graphics=layer.graphics + graphics, words=layer.words + words)
    filled = (layer for layer in layers.values() if layer.overlays or layer.graphics or layer.words)
    return tuple(_with_few_colours(layer) for layer in islice(filled, _MOST_LAYERS))


class _Budget:
    """A budget of points or letters."""

    def __init__(self, most: int) -> None:
        self._left = most

    def take(self, size: int) -> bool:
        """Whether `size` fits; if it does, it is taken from the budget."""
        fits = size <= self._left
        self._left -= size if fits else 0
        return fits


def _with_few_colours(layer: Layer) -> Layer:
    """The layer with few colours: further graphics get the colour of the layer."""
    few = list(dict.fromkeys(graphic.colour for graphic in layer.graphics))[: _MOST_COLOURS + 1]
    plain = (graphic if graphic.colour in few else replace(graphic, colour=None) for graphic in layer.graphics)
    return replace(layer, graphics=tuple(plain))


def _order(layer: Dataset) -> int:
    return integer(layer, "GraphicLayerOrder")


def _layer(described: Dataset) -> Layer:
    prefix = "GraphicLayerRecommendedDisplay"
    colour = _colour(described, f"{prefix}CIELabValue", f"{prefix}GrayscaleValue")
    return Layer(text(described, "GraphicLayer"), colour or _WHITE)


def _graphic(described: Dataset) -> Graphic | None:
    kind, units = text(described, "GraphicType"), text(described, "GraphicAnnotationUnits")
    flat = numbers(described, "GraphicData")[: 2 * _MOST_POINTS]
    points = tuple(zip(flat[::2], flat[1::2], strict=False))
    if len(points) < _LEAST_POINTS.get(kind, len(points) + 1) or units not in _UNITS:
        return None
    style = item(described, "LineStyleSequence")
    return Graphic(
        kind,
        points,
        on_display=units == "DISPLAY",
        filled=text(described, "GraphicFilled") == "Y",
        colour=_colour(style, "PatternOnColorCIELabValue"),
        thickness=min(max(number(style, "LineThickness") or 1.0, 1.0), _MOST_THICKNESS),
    )


def _words(described: Dataset) -> TextObject | None:
    corners = [numbers(described, f"BoundingBox{corner}HandCorner") for corner in ("TopLeft", "BottomRight")]
    anchor = numbers(described, "AnchorPoint")
    box_units, anchor_units = (text(described, f"{what}AnnotationUnits") for what in ("BoundingBox", "AnchorPoint"))
    box = (_point(corners[0]), _point(corners[1])) if box_units in _UNITS and all(map(_is_point, corners)) else None
    at = _point(anchor) if anchor_units in _UNITS and _is_point(anchor) else None
    written = text(described, "UnformattedTextValue")[:_MOST_IN_TEXT]
    if not written or not (box or at):
        return None
    return TextObject(
        written,
        box,
        box_on_display=box_units == "DISPLAY",
        justification=text(described, "BoundingBoxTextHorizontalJustification") or "LEFT",
        anchor=at,
        anchor_on_display=anchor_units == "DISPLAY",
        anchor_visible=text(described, "AnchorPointVisibility") == "Y",
        colour=_colour(item(described, "TextStyleSequence"), "TextColorCIELabValue"),
    )


def _is_point(coordinates: tuple[float, ...]) -> bool:
    return len(coordinates) == 2


def _point(coordinates: tuple[float, ...]) -> Point:
    return coordinates[0], coordinates[1]


def _colour(described: Dataset, cielab: str, grey: str = "") -> Colour | None:
    """The recommended colour, or else the recommended P-Value of 16 bits as grey."""
    recommended = numbers(described, cielab)
    if len(recommended) == 3 and all(0 <= one <= _MOST for one in recommended):
        return srgb_from_cielab(recommended)
    level = number(described, grey) if grey else None
    if level is None or not 0 <= level <= _MOST:
        return None
    eight = round(level / _MOST * 255)
    return eight, eight, eight
