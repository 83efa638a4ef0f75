"""Grey images: modality LUT → VOI LUT → presentation LUT (PS3.4 Section N.2, PS3.3 Section C.11).

What an image says of them is read once. A window, or a range, over whole numbers is a ramp between two of them: a few
operations on all samples. For every other way there is a table for the values from the least to the greatest that
occurs, for a CT some thousands; floating-point ones, and what is further apart, are computed one by one.
"""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from pydicom import Dataset

from wado.rendering.lut import Lut
from wado.rendering.modality import Rescale, modality_of, modality_span, stored_span
from wado.rendering.parameters import Rendering
from wado.rendering.sample_format import SampleFormat, Samples, is_signed
from wado.rendering.values import integer, item, items, text, value
from wado.rendering.voi import Ramp, Table, Voi, of_window, own_windows

Grey = npt.NDArray[np.uint8]
Present = Callable[[], npt.NDArray[np.bool_]]

_MOST_TABLE_ENTRIES = 2**16
_BLOCK = 2**15  # samples that are worked on at once: what is made of them stays in the processor's cache
_MOST_LEVELS = 2**17  # up to here, single precision has levels to within a sixtieth


@dataclass(frozen=True)
class Greyscale:
    """How an image, or a frame of it, says that its samples become levels.

    `own` are its VOI LUTs and then its windows; `whole` is the range of modality values that it is shown in without
    one, None for what occurs without `paddings`, by the type of its samples ("" for whole numbers).
    """

    stored: SampleFormat
    modality: Rescale | Lut
    own: tuple[Voi, ...]
    whole: Ramp | None
    paddings: Mapping[str, tuple[float, float]]
    presentation: Lut | None
    inverted: bool

    @classmethod
    def of(cls, data_set: Dataset) -> "Greyscale":
        """As a data set says, which has what the functional groups say of the frame."""
        modality = modality_of(data_set)
        span = modality_span(data_set, modality)
        tables = filter(None, (Lut.from_item(one, span) for one in items(data_set, "VOILUTSequence", 1000)))
        bits, rescale = integer(data_set, "BitsStored") or 16, modality if isinstance(modality, Rescale) else None
        as_it_is = rescale and rescale.slope == 1 and 1 <= bits <= 8 and not is_signed(data_set)
        return cls(
            SampleFormat.described(data_set),
            modality,
            (*map(Table, tables), *map(of_window, own_windows(data_set))),
            Ramp(rescale.intercept, rescale.intercept + 2**bits - 1) if rescale and as_it_is else None,
            {of: padding for of in _PADDED if (padding := _padding(data_set, of))},
            Lut.from_item(item(data_set, "PresentationLUTSequence"), (0, 65_535)),
            _is_inverted(data_set),
        )

    def levels(self, samples: Samples, rendering: Rendering) -> Grey:
        """Levels from 0 to 255 for samples of shape (rows, columns)."""
        levels = self._upright(samples, rendering)
        return np.invert(levels, out=levels) if self.inverted else levels

    def _upright(self, samples: Samples, rendering: Rendering) -> Grey:
        """The same, but low values are black."""
        voi = self._voi(rendering)
        if samples.dtype.kind == "f":
            return self._computed(samples, voi or self._occurring(samples))
        stored, voi = self.stored.within(samples), voi or self.whole
        values = stored.values_of(samples)
        ramp = self._of_stored(voi, stored) if voi else None
        return _along(values, ramp) if ramp else self._tabulated(values, voi)

    def _tabulated(self, values: Samples, voi: Voi | None) -> Grey:
        """The same by way of a table, if the values are not too far apart."""
        lowest, highest = int(values.min()), int(values.max())
        if highest - lowest >= _MOST_TABLE_ENTRIES:
            return self._computed(values, voi or self._occurring(values))
        every = np.arange(lowest, highest + 1)
        if voi is None:
            voi = self._occurring(every, lambda: _occurs(values, lowest, len(every)))
        return _looked_up(values, lowest, self._computed(every, voi))

    def _voi(self, rendering: Rendering) -> Voi | None:
        """The window of the client, else the VOI LUT or window of the image that is asked for."""
        if rendering.window:
            return of_window(rendering.window)
        return self.own[min(rendering.window_index, len(self.own) - 1)] if self.own else None

    def _occurring(self, stored: Samples, present: Present | None = None) -> Ramp:
        """From the least to the greatest modality value that occurs, without padding (PS3.3 Section C.7.5.1.1.2).

        `present` tells which of the stored values occur, the first and the last if not all.
        """
        values = self.modality.of(stored)
        shown = np.isfinite(values)
        padding = self.paddings.get(stored.dtype.str if stored.dtype.kind == "f" else "")
        if padding is not None:
            shown &= True if present is None else present()
            rest = shown & ~((stored >= padding[0]) & (stored <= padding[1]))
            shown = rest if rest.any() else shown
        chosen = values[shown]
        return Ramp(float(chosen.min()), float(chosen.max())) if chosen.size else Ramp(0.0, 1.0)

    def _of_stored(self, voi: Voi, stored: SampleFormat) -> Ramp | None:
        """The ramp over stored values that gives the same levels, downwards for a negative slope.

        None where there is none, or single precision is not exact enough for it.
        """
        if not isinstance(voi, Ramp) or not isinstance(self.modality, Rescale) or self.presentation:
            return None
        slope, intercept = self.modality.slope, self.modality.intercept
        rise = (voi.white - voi.black) / 255
        beside = max(abs(voi.black - intercept), abs(slope) * (max(stored.ends) + 1))
        if not slope or not 0 < beside <= _MOST_LEVELS * rise < math.inf:
            return None
        return Ramp((voi.black - intercept) / slope, (voi.white - intercept) / slope)

    def _computed(self, stored: Samples, voi: Voi) -> Grey:
        """The same for stored values, one by one."""
        levels = voi.of(self.modality.of(stored).astype(np.float64, copy=False))
        table = self.presentation
        if table:  # its input is all that the VOI LUT can give (PS3.3 Section C.11.6)
            levels = table.of(levels / 255 * (len(table.entries) - 1) + table.first) / (2**table.bits - 1) * 255
        grey: Grey = np.rint(levels).astype(np.uint8)
        return grey


_PADDED: Mapping[str, tuple[str, type[int] | type[float]]] = {
    "": ("PixelPadding", int),
    "<f4": ("FloatPixelPadding", float),
    "<f8": ("DoubleFloatPixelPadding", float),
}


def _padding(data_set: Dataset, of: str) -> tuple[float, float] | None:
    """The range of stored values that stand for no pixel at all; None if the image knows no such value."""
    keyword, kind = _PADDED[of]
    padding, limit = value(data_set, f"{keyword}Value"), value(data_set, f"{keyword}RangeLimit")
    if not isinstance(padding, kind):
        return None
    ends = [padding, limit if isinstance(limit, kind) else padding]
    ends = [_as_stored(end, data_set) if isinstance(end, int) else end for end in ends]
    return min(ends), max(ends)


def _as_stored(padding: int, data_set: Dataset) -> int:
    """A padding value with the sign that stored values have, whatever its own VR is."""
    lowest, highest = stored_span(data_set)
    turned = padding + (-65_536 if padding > 0 else 65_536)
    return turned if not lowest <= padding <= highest and lowest <= turned <= highest else padding


def _is_inverted(data_set: Dataset) -> bool:
    """Whether low values are white: by the photometric interpretation or the shape of the presentation LUT, once."""
    photometric, shape = (text(data_set, name) for name in ("PhotometricInterpretation", "PresentationLUTShape"))
    return photometric == "MONOCHROME1" or shape == "INVERSE"


def _places(values: Samples, lowest: int) -> Samples:
    """How far above the lowest each value is, whatever their sign."""
    unsigned = f"<u{values.dtype.itemsize}"
    places: Samples = values.view(unsigned) - np.array(lowest, values.dtype).view(unsigned)
    return places


def _occurs(values: Samples, lowest: int, count: int) -> npt.NDArray[np.bool_]:
    """Which of so many values from the lowest on occur."""
    return np.bincount(_places(values.ravel(), lowest), minlength=count) > 0


def _blocks(values: Samples, make: Callable[[Samples], Any]) -> Grey:
    """What is made of all values, some of them at once."""
    flat, levels = values.ravel(), np.empty(values.size, np.uint8)
    for at in range(0, flat.size, _BLOCK):
        levels[at : at + _BLOCK] = make(flat[at : at + _BLOCK])
    return levels.reshape(values.shape)


def _looked_up(values: Samples, lowest: int, table: Grey) -> Grey:
    """The levels of values in a table that begins with the lowest."""
    return _blocks(values, lambda some: np.take(table, _places(some, lowest), mode="clip"))


def _along(values: Samples, ramp: Ramp) -> Grey:
    """The levels of whole numbers on a ramp, which may lead downwards."""
    step = 255 / (ramp.white - ramp.black)
    start = 0.5 - ramp.black * step  # what is cut off afterwards is rounded by that

    def make(some: Samples) -> Samples:
        levels: Samples = some.astype(np.float32)
        levels *= step
        levels += start
        return np.clip(levels, 0, 255, out=levels)

    return _blocks(values, make)
