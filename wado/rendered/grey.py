"""Grey images: modality LUT → VOI LUT → presentation LUT (PS3.4 Section N.2, PS3.3 Section C.11).

Whole numbers go through a table that is made for the values from the least to the greatest of them, for a CT some
thousands; floating-point ones, and what is further apart, are computed one by one.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from pydicom import Dataset

from wado.rendered.parameters import Rendering, Window
from wado.rendered.tables import Lut
from wado.rendered.values import integer, item, items, number, numbers, text, value

Values = npt.NDArray[np.float64]
Grey = npt.NDArray[np.uint8]
Samples = npt.NDArray[Any]
Present = Callable[[], npt.NDArray[np.bool_]]

_MOST_TABLE_ENTRIES = 2**16
_BLOCK = 2**14  # samples that are looked up at once: their places, of 8 bytes each, stay in the processor's cache


@dataclass(frozen=True)
class Stored:
    """What the samples of an image may be: `bits` of them count, the others are something else; `signed` or not."""

    bits: int
    high_bit: int
    signed: bool

    @classmethod
    def of(cls, data_set: Dataset, samples: Samples) -> "Stored":
        """As the data set says, as far as the type of the samples has room for it."""
        room = samples.dtype.itemsize * 8
        bits = min(max(integer(data_set, "BitsStored") or room, 1), room)
        high_bit = min(max(integer(data_set, "HighBit"), bits - 1), room - 1)
        return cls(bits, high_bit, is_signed(data_set))

    @property
    def all_values(self) -> npt.NDArray[np.int64]:
        """Every value, at the place of its bits."""
        indexes = np.arange(2**self.bits, dtype=np.int64)
        return np.where(indexes >= 2 ** (self.bits - 1), indexes - 2**self.bits, indexes) if self.signed else indexes

    def bits_of(self, samples: Samples) -> Samples:
        """The bits that count of each sample, as an unsigned number: the place of its value in `all_values`."""
        unsigned: Samples = samples.view(f"<u{samples.dtype.itemsize}")
        beside = self.high_bit + 1 - self.bits
        places: Samples = (unsigned >> beside if beside else unsigned) & (2**self.bits - 1)
        return places

    def values_of(self, samples: Samples) -> Samples:
        """The value of each sample, in its type or the signed one of the same size."""
        size = samples.dtype.itemsize
        above, beside = size * 8 - 1 - self.high_bit, size * 8 - self.bits
        places: Samples = samples.view(f"<u{size}")
        places = places << above if above else places
        values: Samples = places.view(f"<i{size}") if self.signed else places
        return values >> beside if beside else values  # of a signed one that copies the sign


def is_signed(data_set: Dataset) -> bool:
    """Whether stored values are in two's complement."""
    return integer(data_set, "PixelRepresentation") == 1


def grey_levels(samples: Samples, data_set: Dataset, rendering: Rendering) -> Grey:
    """Levels from 0 to 255 for samples of shape (rows, columns); `data_set` with the functional groups of the frame."""
    if samples.dtype.kind == "f":
        return _levels(samples, data_set, rendering)
    values = Stored.of(data_set, samples).values_of(samples)
    lowest, highest = int(values.min()), int(values.max())
    if highest - lowest >= _MOST_TABLE_ENTRIES:
        return _levels(values, data_set, rendering)
    unsigned = f"<u{values.dtype.itemsize}"
    places, first = values.view(unsigned).ravel(), np.array(lowest, values.dtype).view(unsigned)
    every = np.arange(lowest, highest + 1)
    table = _levels(every, data_set, rendering, lambda: np.bincount(places - first, minlength=len(every)) > 0)
    levels = np.empty(places.shape, np.uint8)
    for at in range(0, places.size, _BLOCK):
        block = slice(at, at + _BLOCK)
        np.take(table, places[block] - first, out=levels[block], mode="clip")
    return levels.reshape(values.shape)


def _modality(values: Samples, data_set: Dataset) -> Values:
    """Modality values of stored ones, by table or by slope and intercept (PS3.3 Section C.11.1)."""
    table = Lut.from_item(item(data_set, "ModalityLUTSequence"), signed=is_signed(data_set))
    if table:
        return table.of(values).astype(np.float64)
    slope, intercept = number(data_set, "RescaleSlope"), number(data_set, "RescaleIntercept") or 0.0
    return values.astype(np.float64) * (1.0 if slope is None else slope) + intercept


def _levels(stored: Samples, data_set: Dataset, rendering: Rendering, present: Present | None = None) -> Grey:
    """The levels of stored values; `present` tells which of them occur, the first and the last if not all."""
    values = _modality(stored, data_set)
    own = _own_transformation(data_set, rendering)
    if rendering.window:
        levels = windowed(values, rendering.window)
    elif isinstance(own, Window):
        levels = windowed(values, own)
    elif own is not None:
        levels = _stretched(own.of(values).astype(np.float64), 0, 2**own.bits - 1)
    else:
        levels = _stretched(values, *automatic_range(values, stored, data_set, present))
    table = Lut.from_item(item(data_set, "PresentationLUTSequence"), signed=False)
    if table:  # its input is all that the VOI LUT can give (PS3.3 Section C.11.6)
        levels = table.of(levels / 255 * (len(table.entries) - 1) + table.first) / (2**table.bits - 1) * 255
    grey: Grey = np.rint(levels).astype(np.uint8)
    return 255 - grey if _is_inverted(data_set) else grey


def _own_transformation(data_set: Dataset, rendering: Rendering) -> Window | Lut | None:
    """The VOI LUT or window of the image that is asked for, the first if none is; VOI LUTs come before windows."""
    signed = is_signed(data_set)
    tables = filter(None, (Lut.from_item(one, signed=signed) for one in items(data_set, "VOILUTSequence", 1000)))
    own: list[Window | Lut] = [*tables, *own_windows(data_set)]
    return own[min(rendering.window_index, len(own) - 1)] if own else None


def own_windows(data_set: Dataset) -> list[Window]:
    """The windows of the image; one that is narrower than its function allows is none (PS3.3 Section C.11.2.1.2)."""
    centers, widths = (numbers(data_set, name) for name in ("WindowCenter", "WindowWidth"))
    function = str(value(data_set, "VOILUTFunction") or "LINEAR")
    windows = [Window(center, width, function) for center, width in zip(centers, widths, strict=False)]
    return [one for one in windows if (one.width > 0 if one.function == "LINEAR_EXACT" else one.width >= 1)]


def windowed(values: Values, window: Window) -> Values:
    """A window over modality values, 0 to 255 (PS3.3 Section C.11.2.1.2.1, C.11.2.1.3)."""
    match window.function:
        case "SIGMOID":
            steepness = -4 * (np.nan_to_num(values) - window.center) / window.width
            levels: Values = 255 / (1 + np.exp(steepness.clip(-700, 700)))
            return levels
        case "LINEAR_EXACT":
            return _stretched(values, window.center - window.width / 2, window.center + window.width / 2)
        case _:
            half = (window.width - 1) / 2
            return _stretched(values, window.center - 0.5 - half, window.center - 0.5 + half)


def automatic_range(values: Values, stored: Samples, data_set: Dataset, present: Present | None) -> tuple[float, float]:
    """What is shown from black to white where the image does not say it.

    All that 8 bits can be for unsigned samples of 8 bits or fewer without a modality LUT, as pictures of other sources
    are; else from the least to the greatest value that occurs, without padding (PS3.3 Section C.7.5.1.1.2).
    """
    bits = integer(data_set, "BitsStored") or 16
    plain = value(data_set, "ModalityLUTSequence") is None and number(data_set, "RescaleSlope") in (None, 1)
    if 1 <= bits <= 8 and plain and stored.dtype.kind != "f" and not is_signed(data_set):
        intercept = number(data_set, "RescaleIntercept") or 0.0
        return intercept, intercept + 2**bits - 1
    shown = np.isfinite(values)
    padding = _padding(stored, data_set)
    if padding is not None:
        shown &= True if present is None else present()
        shown = shown & ~padding if (shown & ~padding).any() else shown
    chosen = values[shown]
    return (float(chosen.min()), float(chosen.max())) if chosen.size else (0.0, 1.0)


def _padding(stored: Samples, data_set: Dataset) -> npt.NDArray[np.bool_] | None:
    """Which stored values stand for no pixel at all; None if the image knows no such value."""
    of = {"<f4": "Float", "<f8": "DoubleFloat"}.get(stored.dtype.str, "")
    kind = float if of else int
    padding = value(data_set, f"{of}PixelPaddingValue")
    if not isinstance(padding, kind):
        return None
    limit = value(data_set, f"{of}PixelPaddingRangeLimit")
    low, high = sorted((padding, limit if isinstance(limit, kind) else padding))
    return (stored >= low) & (stored <= high)


def _stretched(values: Values, lowest: float, highest: float) -> Values:
    """Black, 0, up to `lowest`; white, 255, from `highest`; what is no number is black."""
    if highest <= lowest:
        return np.where(values > lowest, 255.0, 0.0)
    inside: Values = values.clip(lowest, highest)
    if (nothing := np.isnan(inside)).any():
        inside[nothing] = lowest
    half = highest / 2 - lowest / 2  # the whole may be more than a double can hold
    return (inside / 2 - lowest / 2) / half * 255


def _is_inverted(data_set: Dataset) -> bool:
    """Whether low values are white: by the photometric interpretation or the shape of the presentation LUT, once."""
    photometric, shape = (text(data_set, name) for name in ("PhotometricInterpretation", "PresentationLUTShape"))
    return photometric == "MONOCHROME1" or shape == "INVERSE"
