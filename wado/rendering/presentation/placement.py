"""The geometry from an image to its picture: displayed area, rotation and flip of a state, and the viewport.

Coordinates of image and picture have their origin at the upper left corner of the first pixel, whose lower right corner
is (1, 1); x points right, y down (PS3.3 Section C.10.5.1.2).
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image

from wado.rendering.geometry import Box, picture_size, source_box
from wado.rendering.parameters import Viewport

Points = npt.NDArray[np.float64]
"""Shape (points, 2): x, y."""

Matrix = npt.NDArray[np.float64]
"""Shape (3, 3), for columns of x, y, 1."""

_MOST_SIDE = 65_535
_CLOCKWISE = (None, Image.Transpose.ROTATE_270, Image.Transpose.ROTATE_180, Image.Transpose.ROTATE_90)


@dataclass(frozen=True)
class Area:
    """The displayed area of an image (PS3.3 Section C.10.4): `box` in image coordinates may exceed the image.

    `aspect` is the height of a pixel divided by its width, `magnification` the pixels of a picture per pixel of the
    image.
    """

    box: Box
    aspect: float
    magnification: float = 1.0


@dataclass(frozen=True, eq=False)
class Placement:
    """The mapping of an image of `columns` x `rows` pixels to a picture of `size`.

    `matrix` combines clockwise quarter turns, mirroring and scaling. `displayed` maps fractions of the displayed area,
    0 to 1, into the picture.
    """

    columns: int
    rows: int
    size: tuple[int, int]
    matrix: Matrix
    displayed: Matrix
    quarter_turns: int
    mirrored: tuple[bool, bool]

    @classmethod
    def of(cls, columns: int, rows: int, area: Area, quarter_turns: int, flip: bool, viewport: Viewport) -> "Placement":
        """The placement of an area that is turned by quarters, then mirrored from left to right if `flip`.

        The viewport applies to the result. BadRequest if its source region is outside.
        """
        left, upper, right, lower = area.box
        width, height = (right - left, lower - upper)[:: -1 if quarter_turns % 2 else 1]
        aspect = 1 / area.aspect if quarter_turns % 2 else area.aspect
        box = source_box(viewport.region, width, height)
        size = picture_size(box, aspect, _magnified(viewport, box, aspect, area.magnification))
        scale = _scaled(size[0] / (box[2] - box[0]), size[1] / (box[3] - box[1]))
        mirrored = (viewport.region.flip_horizontally, viewport.region.flip_vertically)
        shown = _mirror(size, *mirrored) @ scale @ _moved(-box[0], -box[1])
        turned = _mirror((width, height), flip, False) @ _turn(quarter_turns, right - left, lower - upper)
        matrix = shown @ turned @ _moved(-left, -upper)
        mirrored = (mirrored[0] != flip, mirrored[1])
        return cls(columns, rows, size, matrix, shown @ _scaled(width, height), quarter_turns, mirrored)

    @property
    def scale(self) -> float:
        """The greater of the two scales from the image to the picture."""
        return float(np.abs(self.matrix[:2, :2]).max())

    @property
    def back(self) -> Matrix:
        """The matrix from the picture to the image."""
        inverse: Matrix = np.linalg.inv(self.matrix).astype(np.float64)
        return inverse

    @property
    def coordinates(self) -> tuple[Points, Points]:
        """Image coordinates x and y of the centres of the pixels of the picture; they broadcast to its shape."""
        back = self.back
        across, down = ((np.arange(side) + 0.5) for side in self.size)
        turned = self.quarter_turns % 2
        x, y = (back[0, 1] * down, back[1, 0] * across) if turned else (back[0, 0] * across, back[1, 1] * down)
        x, y = x + back[0, 2], y + back[1, 2]
        return (x[:, None], y[None, :]) if turned else (x[None, :], y[:, None])

    @property
    def inside(self) -> npt.NDArray[np.bool_]:
        """A mask (rows, columns) of the pixels of the picture that are inside the image."""
        x, y = self.coordinates
        inside: npt.NDArray[np.bool_] = (x > 0) & (x < self.columns) & (y > 0) & (y < self.rows)
        return inside

    def to_picture(self, points: Points) -> Points:
        """Points of the image in coordinates of the picture."""
        return _mapped(self.matrix, points)

    def from_display(self, points: Points) -> Points:
        """Points of the displayed area, from (0, 0) upper left to (1, 1) lower right, in coordinates of the picture."""
        return _mapped(self.displayed, points)

    def of_units(self, points: Sequence[tuple[float, float]], on_display: bool) -> Points:
        """Points in coordinates of the picture, from those of the displayed area if `on_display`, else of the image."""
        return (self.from_display if on_display else self.to_picture)(np.array(points, np.float64))

    def place(self, image: Image.Image) -> Image.Image:
        """The picture of an image, given at full or lower resolution; black outside the image."""
        corners = _mapped(self.back, np.array([(0.0, 0.0), self.size]))
        low = np.maximum(np.round(corners.min(axis=0), 6), 0)
        high = np.minimum(np.round(corners.max(axis=0), 6), (self.columns, self.rows))
        picture = Image.new(image.mode, self.size)
        if (high - low).min() <= 0:
            return picture
        ends = self.to_picture(np.array([low, high]))
        at, end = np.rint(ends.min(axis=0)).astype(int), np.rint(ends.max(axis=0)).astype(int)
        size = np.maximum(end - at, 1)[:: -1 if self.quarter_turns % 2 else 1]
        by = np.array([image.width / self.columns, image.height / self.rows])
        picture.paste(self._turned(_resized(image, (low * by, high * by), (int(size[0]), int(size[1])))), tuple(at))
        return picture

    def _turned(self, image: Image.Image) -> Image.Image:
        turn = _CLOCKWISE[self.quarter_turns]
        image = image.transpose(turn) if turn is not None else image
        flips = (Image.Transpose.FLIP_LEFT_RIGHT, Image.Transpose.FLIP_TOP_BOTTOM)
        for flip, wanted in zip(flips, self.mirrored, strict=True):
            image = image.transpose(flip) if wanted else image
        return image


def _resized(image: Image.Image, box: tuple[Points, Points], size: tuple[int, int]) -> Image.Image:
    (left, upper), (right, lower) = box[0].tolist(), np.minimum(box[1], image.size).tolist()
    if (right - left, lower - upper) != size or left % 1 or upper % 1:
        return image.resize(size, Image.Resampling.LANCZOS, (left, upper, right, lower), reducing_gap=3.0)
    return image.crop((int(left), int(upper), int(right), int(lower)))


def _magnified(viewport: Viewport, box: Box, aspect: float, magnification: float) -> Viewport:
    """The viewport, or if it has no bounds, one for the magnified region."""
    if viewport.columns or viewport.rows or magnification == 1:
        return viewport
    sides = [round(side * magnification) for side in picture_size(box, aspect, Viewport())]
    columns, rows = (min(max(side, 1), _MOST_SIDE) for side in sides)
    return Viewport(columns, rows, viewport.region)


def _mapped(matrix: Matrix, points: Points) -> Points:
    mapped: Points = points @ matrix[:2, :2].T + matrix[:2, 2]
    return mapped


def _matrix(*rows: tuple[float, float, float]) -> Matrix:
    whole: npt.NDArray[Any] = np.array([*rows, (0, 0, 1)], float)
    return whole


def _moved(x: float, y: float) -> Matrix:
    return _matrix((1, 0, x), (0, 1, y))


def _scaled(x: float, y: float) -> Matrix:
    return _matrix((x, 0, 0), (0, y, 0))


def _mirror(size: tuple[float, float], horizontally: bool, vertically: bool) -> Matrix:
    x = (-1.0, 0.0, size[0]) if horizontally else (1.0, 0.0, 0.0)
    y = (0.0, -1.0, size[1]) if vertically else (0.0, 1.0, 0.0)
    return _matrix(x, y)


def _turn(quarters: int, width: float, height: float) -> Matrix:
    """The matrix that turns an area of `width` x `height` clockwise; its new upper left corner becomes the origin."""
    return (
        _matrix((1, 0, 0), (0, 1, 0)),
        _matrix((0, -1, height), (1, 0, 0)),
        _matrix((-1, 0, width), (0, -1, height)),
        _matrix((0, 1, 0), (-1, 0, width)),
    )[quarters]
