"""Trees of vessels that branch by chance, the same ones each time."""

import math
from random import Random

from datastore.samples.section import Tube

_THINNEST = 0.5  # mm
_NARROWING = 0.78

Point = tuple[float, float, float]


def tree(root: Point, towards: list[Point], radius: float, hu: float, *, seed: int, reach: float = 5.0) -> list[Tube]:
    """A trunk from `root` towards each point, with branches; `reach` is the length of a vessel in its radii."""
    chance = Random(seed)  # noqa: S311 - chance, not a secret
    tubes: list[Tube] = []
    for point in towards:
        direction = _unit(tuple(to - of for of, to in zip(root, point, strict=True)))
        _grow(tubes, chance, root, direction, radius, hu, reach)
    return tubes


def _grow(
    tubes: list[Tube], chance: Random, start: Point, direction: Point, radius: float, hu: float, reach: float
) -> None:
    """A vessel and, at its end, two narrower ones that turn away from each other."""
    length = radius * reach * chance.uniform(0.7, 1.1) + 5
    end = tuple(at + length * way for at, way in zip(start, direction, strict=True))
    tubes.append(Tube(start, end, radius, hu))  # type: ignore[arg-type]
    narrower = radius * _NARROWING
    if narrower < _THINNEST:
        return
    turn = _across(direction, _unit(tuple(chance.gauss(0, 1) for _ in range(3))))
    for sign in (1, -1):
        spread = chance.uniform(0.3, 0.6) * sign
        way = _unit(tuple(one + spread * other for one, other in zip(direction, turn, strict=True)))
        _grow(tubes, chance, end, way, narrower * chance.uniform(0.85, 1), hu, reach)  # type: ignore[arg-type]


def _across(direction: Point, other: Point) -> Point:
    """The part of another direction that is at right angles to this one."""
    along = sum(one * part for one, part in zip(direction, other, strict=True))
    return _unit(tuple(part - along * one for one, part in zip(direction, other, strict=True)))


def _unit(vector: tuple[float, ...]) -> Point:
    size = math.sqrt(sum(part * part for part in vector)) or 1.0
    x, y, z = (part / size for part in vector)
    return x, y, z
