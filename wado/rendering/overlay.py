"""Overlays (PS3.3 Section C.9.2): bitmaps of groups 6000 to 601E, which are burnt in white."""

from typing import Any

import numpy as np
import numpy.typing as npt
from pydicom import Dataset

from wado.rendering.values import integer, numbers, value

Mask = npt.NDArray[np.bool_]

GROUPS = range(0x6000, 0x601F, 2)
"""The groups of overlay planes."""

_ROWS, _COLUMNS, _FRAMES, _ORIGIN, _FIRST_FRAME = 0x0010, 0x0011, 0x0015, 0x0050, 0x0051
_BITS_ALLOCATED, _BIT_POSITION, _DATA = 0x0100, 0x0102, 0x3000


def overlay_groups(data_set: Dataset) -> list[int]:
    """The groups of overlay planes that the data set has elements of."""
    return sorted({tag >> 16 for tag in data_set.keys()}.intersection(GROUPS))  # noqa: SIM118 - iteration would parse elements


def overlay_mask(data_set: Dataset, samples: npt.NDArray[Any], frame_number: int) -> Mask | None:
    """The mask of all overlays of a frame, in the shape of the image; None if there are none.

    `samples` has the stored values (rows, columns): overlays of older images are in their unused bits.
    """
    mask: Mask | None = None
    for group in overlay_groups(data_set):
        plane = overlay_plane(data_set, group, samples, frame_number)
        if plane is not None:
            mask = plane if mask is None else mask | plane
    return mask


def overlay_plane(data_set: Dataset, group: int, samples: npt.NDArray[Any], frame_number: int) -> Mask | None:
    """The mask of the overlay of one group; arguments and result as for `overlay_mask`."""
    rows, columns = (_integer(data_set, group, element) for element in (_ROWS, _COLUMNS))
    if rows <= 0 or columns <= 0:
        return None
    data = value(data_set, (group, _DATA))
    if isinstance(data, bytes):
        bits = _bits(data, rows * columns, frame_number - _integer(data_set, group, _FIRST_FRAME, 1),
                     _integer(data_set, group, _FRAMES, 1))  # fmt: skip
        return None if bits is None else _placed(bits.reshape(rows, columns), data_set, group, samples.shape[:2])
    position = _integer(data_set, group, _BIT_POSITION)
    inside = 0 < position < samples.dtype.itemsize * 8 and samples.ndim == 2 and samples.dtype.kind != "f"
    if data is None and inside and _integer(data_set, group, _BITS_ALLOCATED) > 1:
        unsigned = samples.view(f"<u{samples.dtype.itemsize}")
        return (unsigned >> position & 1).astype(bool)
    return None


def _bits(data: bytes, count: int, index: int, frames: int) -> Mask | None:
    """The bits of one frame of the overlay by its index from 0; None beyond its frames."""
    if not 0 <= index < frames:
        return None
    start = index * count
    packed = np.frombuffer(data[start // 8 : (start + count + 7) // 8], np.uint8)
    bits = np.unpackbits(packed, bitorder="little")[start % 8 : start % 8 + count]
    return bits.astype(bool) if len(bits) == count else None


def _placed(plane: Mask, data_set: Dataset, group: int, shape: tuple[int, ...]) -> Mask:
    """The plane at its origin, which counts from 1, cut to the image of this shape."""
    origin = numbers(data_set, (group, _ORIGIN))
    top, left = (int(number) - 1 for number in origin) if len(origin) == 2 else (0, 0)
    placed = np.zeros(shape, bool)
    inside = plane[max(0, -top) : shape[0] - top if top < shape[0] else 0,
                   max(0, -left) : shape[1] - left if left < shape[1] else 0]  # fmt: skip
    y, x = max(0, top), max(0, left)
    placed[y : y + inside.shape[0], x : x + inside.shape[1]] = inside
    return placed


def _integer(data_set: Dataset, group: int, element: int, default: int = 0) -> int:
    return integer(data_set, (group, element), default)
