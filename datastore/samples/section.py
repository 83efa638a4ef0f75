"""An axial section of a CT as an array of CT numbers, and the shapes that are painted into it.

Lengths are millimetres: x grows to the patient's left, y to the back, z to the head. CT numbers are in HU.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

Field = npt.NDArray[np.floating[Any]]
"""A value for each pixel of a section, rows x columns."""

Box = tuple[slice, slice]
"""The rows and columns of a part of a section."""

SIDE = 512
"""Rows and columns of a section."""

ROWS, COLUMNS = slice(108, 416), slice(28, 484)
"""The part of a section that the body lies in. Only there shapes are painted, which takes half the time."""

SPACING = 0.78
"""The distance of neighbouring pixels, in millimetres."""

AIR = -1000.0

MOST_MOVED = 6.0
"""How far a place of a grid may be moved, in millimetres."""


class Ellipsoid(NamedTuple):
    """An ellipsoid with axes along x, y and z, filled with one CT number."""

    centre: tuple[float, float, float]
    radii: tuple[float, float, float]
    hu: float


class Tube(NamedTuple):
    """A line from one point to another with a radius, filled with one CT number."""

    start: tuple[float, float, float]
    end: tuple[float, float, float]
    radius: float
    hu: float


@dataclass(frozen=True)
class Grid:
    """The places of pixels. They may be moved a little, so that shapes painted there look grown."""

    x: Field
    y: Field

    def part(self, box: Box) -> "Grid":
        """The places of a part of the section."""
        return Grid(self.x[box], self.y[box])

    def reach(self, centre: tuple[float, float], radii: tuple[float, float], power: float = 2.0) -> Field:
        """The distance from the centre of an ellipse, 1 at its edge; a higher `power` makes it more of a rectangle."""
        across, along = (self.x - centre[0]) / radii[0], (self.y - centre[1]) / radii[1]
        if power == 2.0:
            reach: Field = np.sqrt(across * across + along * along)
        else:
            reach = (np.abs(across) ** power + np.abs(along) ** power) ** np.float32(1 / power)
        return reach

    def ellipse(self, centre: tuple[float, float], radii: tuple[float, float], power: float = 2.0) -> Field:
        """The part of each pixel, 0 to 1, that lies in an ellipse."""
        return soft((1 - self.reach(centre, radii, power)) * min(radii))


@lru_cache(1)
def all_places() -> Grid:
    """The places of all pixels of a section; the origin is in the middle."""
    places = ((np.arange(SIDE) - (SIDE - 1) / 2) * SPACING).astype(np.float32)
    return Grid(*np.meshgrid(places, places))


def even_grid() -> Grid:
    """The places of the part that the body lies in."""
    places = all_places()
    return Grid(places.x[ROWS, COLUMNS], places.y[ROWS, COLUMNS])


def soft(depth: Field, edge: float = SPACING) -> Field:
    """The part of each pixel that is inside, from the depth below the surface; the edge is as wide as a pixel."""
    part: Field = np.clip(depth / np.float32(edge) + np.float32(0.5), 0, 1)
    return part


class Section:
    """The part of a section, at the height `z`, that the body lies in: air at first, with the places of its pixels."""

    def __init__(self, z: float, grid: Grid) -> None:
        self.z = z
        self.grid = grid
        self.hu: Field = np.full(grid.x.shape, AIR, np.float32)

    def fill(self, part: Field, hu: float | Field) -> None:
        """Paint all pixels by the part of each that the shape covers."""
        self.hu += part * (hu - self.hu)

    def disc(
        self,
        centre: tuple[float, float],
        radii: tuple[float, float],
        hu: float | Field,
        within: Field | None = None,
        power: float = 2.0,
    ) -> None:
        """Paint an ellipse, `within` another shape."""
        box = _box(centre, radii)
        self._paint(box, self.grid.part(box).ellipse(centre, radii, power), hu, within)

    def ellipsoids(self, shapes: Iterable[Ellipsoid], within: Field | None = None) -> None:
        """Paint the cuts through ellipsoids, one over the other."""
        for shape in shapes:
            height = 1 - ((self.z - shape.centre[2]) / shape.radii[2]) ** 2
            if height > 0.01:
                scale = height**0.5
                radii = (shape.radii[0] * scale, shape.radii[1] * scale)
                self.disc(shape.centre[:2], radii, shape.hu, within)

    def tubes(self, shapes: "Tubes", within: Field | None = None) -> None:
        """Paint the cuts through tubes."""
        for shape in shapes.near(self.z):
            self._tube(shape, within)

    def _tube(self, shape: Tube, within: Field | None) -> None:
        start, end = np.array(shape.start, np.float32), np.array(shape.end, np.float32)
        centre, reach = (start + end) / 2, np.abs(end - start) / 2 + shape.radius
        box = _box((centre[0], centre[1]), (reach[0], reach[1]))
        places = self.grid.part(box)
        x, y = places.x - start[0], places.y - start[1]
        z, line = np.float32(self.z - start[2]), end - start
        along = np.clip((x * line[0] + y * line[1] + z * line[2]) / max(float(line @ line), 1e-6), 0, 1)
        far = np.sqrt((x - along * line[0]) ** 2 + (y - along * line[1]) ** 2 + (z - along * line[2]) ** 2)
        self._paint(box, soft(shape.radius - far), shape.hu, within)

    def _paint(self, box: Box, part: Field, hu: float | Field, within: Field | None) -> None:
        if within is not None:
            part *= within[box]
        below = self.hu[box]
        below += part * ((hu if isinstance(hu, float) else hu[box]) - below)


class Tubes:
    """Many tubes, found by height."""

    def __init__(self, shapes: Sequence[Tube]) -> None:
        self._shapes = shapes
        heights = np.array([(shape.start[2], shape.end[2]) for shape in shapes]).reshape(-1, 2)
        radii = np.array([shape.radius for shape in shapes])
        self._low, self._high = heights.min(1) - radii, heights.max(1) + radii

    def near(self, z: float) -> list[Tube]:
        """The tubes that reach this height."""
        return [self._shapes[int(index)] for index in np.flatnonzero((self._low < z) & (z < self._high))]


def _box(centre: tuple[float, float], radii: tuple[float, float]) -> Box:
    """The rows and columns that a shape reaches, with a margin for its soft edge and for places that are moved."""
    middle = (SIDE - 1) / 2
    across, along = (
        slice(
            max(0, int((at - reach - MOST_MOVED) / SPACING + middle) - part.start),
            max(0, int((at + reach + MOST_MOVED) / SPACING + middle) + 2 - part.start),
        )
        for at, reach, part in zip(centre, radii, (COLUMNS, ROWS), strict=True)
    )
    return along, across
