"""The texts of a state (PS3.3 Section C.10.5.1.1), drawn upright, legible, and inside the picture."""

from functools import lru_cache

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from wado.rendering.presentation.placement import Placement, Points
from wado.rendering.presentation.state import TextObject
from wado.rendering.segmentation import Colour

_LEAST_FONT, _MOST_FONT, _MOST_IN_BOX = 9, 28, 64  # pixels: without a box, and to fill one
_MARGIN = 2
_SPACING = 2
_FARTHEST = 1e6
_ALIGN = {"LEFT": "left", "RIGHT": "right"}

Font = ImageFont.FreeTypeFont | ImageFont.ImageFont
Ink = int | Colour
Extent = tuple[float, float, float, float]
"""The edges of a text relative to its origin: left, upper, right, lower."""


def write(picture: Image.Image, words: TextObject, ink: Ink, edge: Ink, placement: Placement) -> None:
    """Write a text with an edge into the picture, and a line to its anchor if that is visible."""
    drawing = ImageDraw.Draw(picture)
    box = placement.of_units(words.box, words.box_on_display) if words.box else None
    anchor = placement.of_units([words.anchor], words.anchor_on_display)[0] if words.anchor else None
    font = _fitting(drawing, words.text, picture.size, box)
    extent = _extent(drawing, words.text, font)
    width, height = extent[2] - extent[0], extent[3] - extent[1]
    x, y = _place(words.justification, box, anchor, width, height)
    x = min(max(x, _MARGIN), max(picture.width - width - _MARGIN, _MARGIN))
    y = min(max(y, _MARGIN), max(picture.height - height - _MARGIN, _MARGIN))
    if anchor is not None and words.anchor_visible:
        start = np.clip(anchor, -_FARTHEST, _FARTHEST).tolist()
        end = (min(max(start[0], x), x + width), min(max(start[1], y), y + height))
        drawing.line((*start, *end), ink, max(1, round(min(picture.size) / 400)))
    drawing.multiline_text(
        (x - extent[0], y - extent[1]),
        words.text,
        ink,
        font,
        spacing=_SPACING,
        align=_ALIGN.get(words.justification, "center"),
        stroke_width=1,
        stroke_fill=edge,
    )


def _place(
    justification: str, box: Points | None, anchor: Points | None, width: float, height: float
) -> tuple[float, float]:
    """The upper left corner of a text of this size."""
    if box is not None:
        (left, upper), (right, _) = box.min(axis=0).tolist(), box.max(axis=0).tolist()
        return {"LEFT": left, "RIGHT": right - width}.get(justification, (left + right - width) / 2), upper
    if anchor is not None:
        return float(anchor[0]) + _MARGIN, float(anchor[1]) - height - _MARGIN
    return 0.0, 0.0


def _fitting(drawing: ImageDraw.ImageDraw, text: str, size: tuple[int, int], box: Points | None) -> Font:
    """The usual font for the size of the picture, or one that fits the box if it is legible then."""
    usual = min(max(round(min(size) / 28), _LEAST_FONT), _MOST_FONT)
    if box is None:
        return _font(usual)
    room = box.max(axis=0) - box.min(axis=0)
    left, upper, right, lower = _extent(drawing, text, _font(usual))
    fitting = usual * min(room[0] / max(right - left, 1), room[1] / max(lower - upper, 1))
    return _font(int(min(max(fitting, _LEAST_FONT, usual * 2 / 3), _MOST_IN_BOX)))


@lru_cache(maxsize=_MOST_IN_BOX)
def _font(size: int) -> Font:
    return ImageFont.load_default(size)


def _extent(drawing: ImageDraw.ImageDraw, text: str, font: Font) -> Extent:
    return drawing.multiline_textbbox((0, 0), text, font, spacing=_SPACING, stroke_width=1)
