"""Noise in three dimensions: smooth for the shapes and the texture of organs, grainy as that of a scanner."""

from functools import lru_cache

import numpy as np
from PIL import Image

from datastore.samples.section import COLUMNS, ROWS, SIDE, Field

_HEIGHT_CELLS = 40
_SIZE = (COLUMNS.stop - COLUMNS.start, ROWS.stop - ROWS.start)
_NOISE = 9.0  # HU, the standard deviation
_NOISE_SIDE = 1024


def smooth(z: float, seed: int, cell: int, height: float) -> Field:
    """Noise around 0, mostly between -1 and 1, that changes over `cell` pixels and over `height` millimetres."""
    lattice = _lattice(seed, cell)
    place = z / height % (_HEIGHT_CELLS - 1)
    low, part = int(place), place % 1
    part = np.float32(part * part * (3 - 2 * part))  # without a bend at each layer
    layer = lattice[low] + part * (lattice[low + 1] - lattice[low])
    return np.asarray(Image.fromarray(layer).resize(_SIZE, Image.Resampling.BICUBIC))


def grain(z: float) -> Field:
    """The noise of a reconstruction, another one for each height."""
    place = int(z * 10) * 7919
    row, column = place % (_NOISE_SIDE - SIDE), place // 61 % (_NOISE_SIDE - SIDE)
    part = _grain()[row : row + SIDE, column : column + SIDE]
    return part[::-1] if place % 2 else part


@lru_cache(1)
def _grain() -> Field:
    chance = np.random.default_rng(22)
    white = chance.standard_normal((_NOISE_SIDE, _NOISE_SIDE), np.float32)
    for axis in (0, 1):
        white = white + np.float32(0.6) * (np.roll(white, 1, axis) + np.roll(white, -1, axis))
    made: Field = white * np.float32(_NOISE / white.std())
    return made


@lru_cache(32)
def _lattice(seed: int, cell: int) -> Field:
    columns, rows = (side // cell + 1 for side in _SIZE)
    made: Field = np.random.default_rng(seed).uniform(-1.4, 1.4, (_HEIGHT_CELLS, rows, columns)).astype(np.float32)
    return made
