"""A drawing of lines and texts in millimetres, and its encodings as SVG and as a raster picture."""

from dataclasses import dataclass
from html import escape

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageDraw, ImageFont

Points = npt.NDArray[np.float64]
"""Shape (points, 2): x to the right and y downwards, in mm."""

_SVG_UNIT = 100  # path coordinates are whole hundredths of a millimetre
_SUPERSAMPLED = 2
_MAX_SIDE = 4096
_FAINT = 0.25  # pixels


@dataclass(frozen=True)
class Line:
    """A polyline, `width` mm wide; a `ruled` line is left out of pictures that are too small for it."""

    points: Points
    colour: str
    width: float
    ruled: bool = False


@dataclass(frozen=True)
class Text:
    """Text with its baseline at (x, y), its letters `size` mm high."""

    x: float
    y: float
    size: float
    text: str


@dataclass(frozen=True)
class VectorDrawing:
    """A sheet of `width` x `height` mm; later lines cover earlier ones."""

    width: float
    height: float
    lines: tuple[Line, ...]
    words: tuple[Text, ...]


def encode_svg(sheet: VectorDrawing) -> bytes:
    """An SVG document in true size, without scripts or outside resources."""
    head = (
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{sheet.width:g}mm" height="{sheet.height:g}mm" '
        f'viewBox="0 0 {sheet.width:g} {sheet.height:g}">\n<rect width="100%" height="100%" fill="#fff"/>\n'
    )
    lines = "".join(_path(line) for line in sheet.lines)
    words = "".join(
        f'<text x="{one.x:g}" y="{one.y:g}" font-size="{one.size:g}" '
        f'font-family="sans-serif" fill="#111">{escape(one.text)}</text>\n'
        for one in sheet.words
    )
    return f"{head}{lines}{words}</svg>\n".encode()


def _path(line: Line) -> str:
    points = np.rint(line.points * _SVG_UNIT).astype(int)
    steps = np.diff(points, axis=0)
    start = f"M{points[0, 0]} {points[0, 1]}l" + " ".join(f"{x} {y}" for x, y in steps.tolist())
    return (
        f'<path transform="scale({1 / _SVG_UNIT:g})" d="{start}" fill="none" stroke="{line.colour}" '
        f'stroke-width="{line.width * _SVG_UNIT:g}" stroke-linejoin="round"/>\n'
    )


def draw_raster(sheet: VectorDrawing, width: int, height: int) -> Image.Image:
    """An RGB picture that fits into `width` x `height` pixels."""
    scale = min(min(width, _MAX_SIDE) / sheet.width, min(height, _MAX_SIDE) / sheet.height)
    size = (max(1, round(sheet.width * scale)), max(1, round(sheet.height * scale)))
    fine = scale * _SUPERSAMPLED
    picture = Image.new("RGB", (size[0] * _SUPERSAMPLED, size[1] * _SUPERSAMPLED), "#fff")
    drawing = ImageDraw.Draw(picture)
    for line in sheet.lines:
        if line.ruled and line.width * fine < _FAINT:
            continue
        flat = (line.points * fine).ravel().tolist()
        drawing.line(flat, line.colour, max(1, round(line.width * fine)), joint="curve" if fine > 8 else None)
    for words in sheet.words:
        font = ImageFont.load_default(max(4.0, words.size * fine))
        drawing.text((words.x * fine, words.y * fine), words.text, "#111", font, anchor="ls")
    return picture.resize(size, Image.Resampling.LANCZOS)
