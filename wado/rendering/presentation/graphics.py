"""Graphic layers: overlay planes, shapes and texts in the colour of the layer (PS3.3 Sections C.10.5 and C.10.7)."""

from collections.abc import Callable, Sequence

import numpy as np
from PIL import Image, ImageDraw

from wado.rendering.overlay import Mask
from wado.rendering.presentation.lettering import write
from wado.rendering.presentation.placement import Placement, Points
from wado.rendering.presentation.state import Graphic, Layer, Point
from wado.rendering.segmentation import Colour

_FINE_PIXELS = 2**22  # of a picture; lines in larger ones need no smoothing
_ARC = np.linspace(0, 2 * np.pi, 181)
_DARK = 60
_LEAST_LINE = 1.5  # pixels, so that at least one is fully covered
_THICK, _MOST_JOINTS = 6, 200
_MOST_COVERED = 10  # times the area of the picture, by the lines of a layer; further lines are 1 pixel thick
_CURVE_STEPS, _CURVE_POINTS = 12, 2400  # between two points of a curve, and in a whole curve
_FARTHEST = 1e6  # pixels; Pillow takes no more


def draw_layer(picture: Image.Image, layer: Layer, planes: Sequence[Mask], placement: Placement) -> Image.Image:
    """The picture with a layer on it: first planes, which have the shape of the image, then shapes, then texts."""
    picture = in_colours_of(picture, layer)
    for plane in planes:
        bits = placement.place(Image.fromarray(plane.astype(np.uint8) * 255))
        picture.paste(_ink(picture, layer.colour), mask=bits)
    for colour in dict.fromkeys(graphic.colour for graphic in layer.graphics):
        same = [graphic for graphic in layer.graphics if graphic.colour == colour]
        picture.paste(_ink(picture, colour or layer.colour), mask=_shapes(same, placement))
    for words in layer.words:
        colour = words.colour or layer.colour
        write(picture, words, _ink(picture, colour), _ink(picture, _contrast(colour)), placement)
    return picture


def in_colours_of(picture: Image.Image, layer: Layer) -> Image.Image:
    """The picture as RGB if the layer has colours."""
    own = (*(one.colour for one in layer.graphics), *(one.colour for one in layer.words))
    grey = all(len(set(colour)) == 1 for colour in (layer.colour, *own) if colour)
    return picture if grey or picture.mode == "RGB" else picture.convert("RGB")


def _ink(picture: Image.Image, colour: Colour) -> int | Colour:
    return colour if picture.mode == "RGB" else colour[0]


def _contrast(colour: Colour) -> Colour:
    """The colour for the edge of letters: black, or white if the letters are nearly black."""
    red, green, blue = colour
    return (0, 0, 0) if 3 * red + 6 * green + blue > 10 * _DARK else (255, 255, 255)


def _shapes(graphics: Sequence[Graphic], placement: Placement) -> Image.Image:
    """The coverage of each pixel of the picture by the shapes, 0 to 255."""
    width, height = placement.size
    fine = 2 if width * height <= _FINE_PIXELS else 1
    mask = Image.new("L", (width * fine, height * fine))
    drawing = ImageDraw.Draw(mask)
    least = max(_LEAST_LINE, min(width, height) / 300)  # thinner lines cannot be seen in a large picture
    room = _MOST_COVERED * mask.width * mask.height
    for graphic in graphics:
        thickness = max(1, round(max(graphic.thickness, least) * fine))
        points = placement.of_units(graphic.points, graphic.on_display)
        outline = np.clip(_OUTLINES[graphic.kind](points), -_FARTHEST, _FARTHEST) * fine - 0.5
        corners = [(x, y) for x, y in outline.tolist()]
        room -= thickness * np.hypot(*np.diff(outline, axis=0).T).clip(max=mask.width + mask.height).sum()
        thickness = thickness if room >= 0 else 1
        if graphic.kind == "POINT":
            _cross(drawing, corners[0], 4 * thickness, thickness)
            continue
        if graphic.filled and (graphic.kind in _CLOSED or corners[0] == corners[-1]):
            drawing.polygon(corners, 255)
        rounded = thickness > _THICK and len(corners) <= _MOST_JOINTS  # the joints of thinner lines cannot be seen
        drawing.line(corners, 255, thickness, joint="curve" if rounded else None)
    return mask if fine == 1 else mask.reduce(fine)


def _cross(drawing: ImageDraw.ImageDraw, at: Point, arm: float, thickness: int) -> None:
    x, y = at
    drawing.line((x - arm, y, x + arm, y), 255, thickness)
    drawing.line((x, y - arm, x, y + arm), 255, thickness)


def _circle(points: Points) -> Points:
    """The outline of a circle from its centre and a point on it."""
    radius = np.hypot(*(points[1] - points[0]))
    outline: Points = points[0] + radius * np.column_stack([np.cos(_ARC), np.sin(_ARC)])
    return outline


def _ellipse(points: Points) -> Points:
    """The outline of an ellipse from the ends of its major and of its minor axis."""
    middle = (points[0] + points[1]) / 2
    major, minor = (points[1] - points[0]) / 2, (points[3] - points[2]) / 2
    outline: Points = middle + np.cos(_ARC)[:, None] * major + np.sin(_ARC)[:, None] * minor
    return outline


def _curve(points: Points) -> Points:
    """A smooth line through all points (Catmull-Rom), closed if the first point is the last."""
    closed = len(points) > 2 and np.allclose(points[0], points[-1])
    before, after = (points[-2], points[1]) if closed else (points[0], points[-1])
    p = np.vstack([before, points, after])
    steps = min(max(_CURVE_POINTS // len(points), 2), _CURVE_STEPS)
    t = np.linspace(0, 1, steps, endpoint=False)[None, :, None]
    p0, p1, p2, p3 = (p[index : len(p) - 3 + index, None, :] for index in range(4))
    pieces = 2 * p1 + (p2 - p0) * t + (2 * p0 - 5 * p1 + 4 * p2 - p3) * t**2 + (3 * p1 - p0 - 3 * p2 + p3) * t**3
    return np.vstack([pieces.reshape(-1, 2) / 2, points[-1]])


def _as_given(points: Points) -> Points:
    return points


_OUTLINES: dict[str, Callable[[Points], Points]] = {
    "POINT": _as_given,
    "POLYLINE": _as_given,
    "INTERPOLATED": _curve,
    "CIRCLE": _circle,
    "ELLIPSE": _ellipse,
}
_CLOSED = ("CIRCLE", "ELLIPSE")
