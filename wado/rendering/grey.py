"""Grey images: modality LUT → VOI LUT → presentation LUT (PS3.4 Section N.2, PS3.3 Section C.11).

The attributes of an image are read once. A window or range over whole numbers is a linear ramp: a few operations on
all samples. For any other VOI there is a table from the least to the greatest value that occurs, for a CT some
thousands of entries. Floating-point values, and values too far apart for a table, are computed one by one.
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
Presence = Callable[[], npt.NDArray[np.bool_]]

_MOST_TABLE_ENTRIES = 2**16
_BLOCK = 2**15  # samples that are computed at once, so that they stay in the cache of the processor
_MOST_LEVELS = 2**17  # up to here, single precision is exact to a sixtieth of a level


@dataclass(frozen=True)
class Greyscale:
    """The grey transformations of an image or of one of its frames.

    `own` has its VOI LUTs and then its windows. Without these, the image is shown in the range `whole` of modality
    values, or, if that is None, in the range of the values that occur. `paddings` has the range of padding values by
    type of sample ("" for whole numbers).
    """

    sample_format: SampleFormat
    modality: Rescale | Lut
    own: tuple[Voi, ...]
    whole: Ramp | None
    paddings: Mapping[str, tuple[float, float]]
    presentation: Lut | None
    inverted: bool

    @classmethod
    def of(cls, data_set: Dataset) -> "Greyscale":
        """From the data set of a frame, with the attributes of its functional groups."""
        modality = modality_of(data_set)
        span = modality_span(data_set, modality)
        tables = filter(None, (Lut.from_item(one, span) for one in items(data_set, "VOILUTSequence", 1000)))
        bits, rescale = integer(data_set, "BitsStored") or 16, modality if isinstance(modality, Rescale) else None
        shown_whole = rescale and rescale.slope == 1 and 1 <= bits <= 8 and not is_signed(data_set)
        return cls(
            SampleFormat.from_data_set(data_set),
            modality,
            (*map(Table, tables), *map(of_window, own_windows(data_set))),
            Ramp(rescale.intercept, rescale.intercept + 2**bits - 1) if rescale and shown_whole else None,
            {dtype: padding for dtype in _PADDING_KEYWORDS if (padding := _padding(data_set, dtype))},
            Lut.from_item(item(data_set, "PresentationLUTSequence"), (0, 65_535)),
            _is_inverted(data_set),
        )

    def levels(self, samples: Samples, rendering: Rendering) -> Grey:
        """Levels from 0 to 255 for samples of shape (rows, columns)."""
        levels = self._before_inversion(samples, rendering)
        return np.invert(levels, out=levels) if self.inverted else levels

    def _before_inversion(self, samples: Samples, rendering: Rendering) -> Grey:
        """The levels if low values are black."""
        voi = self._voi(rendering)
        if samples.dtype.kind == "f":
            return self._computed(samples, voi or self._occurring(samples))
        sample_format, voi = self.sample_format.within(samples), voi or self.whole
        values = sample_format.values_of(samples)
        ramp = self._stored_ramp(voi, sample_format) if voi else None
        return _apply_ramp(values, ramp) if ramp else self._by_table(values, voi)

    def _by_table(self, values: Samples, voi: Voi | None) -> Grey:
        """The levels of stored values by a table, if the values are not too far apart."""
        lowest, highest = int(values.min()), int(values.max())
        if highest - lowest >= _MOST_TABLE_ENTRIES:
            return self._computed(values, voi or self._occurring(values))
        every = np.arange(lowest, highest + 1)
        if voi is None:
            voi = self._occurring(every, lambda: _occurs(values, lowest, len(every)))
        return _look_up(values, lowest, self._computed(every, voi))

    def _voi(self, rendering: Rendering) -> Voi | None:
        """The window of the client, else the VOI LUT or window of the image that it chooses."""
        if rendering.window:
            return of_window(rendering.window)
        return self.own[min(rendering.window_index, len(self.own) - 1)] if self.own else None

    def _occurring(self, stored: Samples, present: Presence | None = None) -> Ramp:
        """The range of the modality values that occur, without padding (PS3.3 Section C.7.5.1.1.2).

        `present` tells which of the stored values occur, if not all do; the first and the last always occur.
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

    def _stored_ramp(self, voi: Voi, sample_format: SampleFormat) -> Ramp | None:
        """The ramp over stored values that gives the levels of a VOI, falling for a negative slope.

        None where there is no such ramp, or single precision is not exact enough for it.
        """
        if not isinstance(voi, Ramp) or not isinstance(self.modality, Rescale) or self.presentation:
            return None
        slope, intercept = self.modality.slope, self.modality.intercept
        rise = (voi.white - voi.black) / 255
        largest = max(abs(voi.black - intercept), abs(slope) * (max(sample_format.ends) + 1))
        if not slope or not 0 < largest <= _MOST_LEVELS * rise < math.inf:
            return None
        return Ramp((voi.black - intercept) / slope, (voi.white - intercept) / slope)

    def _computed(self, stored: Samples, voi: Voi) -> Grey:
        """The levels of stored values, computed one by one."""
        levels = voi.of(self.modality.of(stored).astype(np.float64, copy=False))
        table = self.presentation
        if table:  # its input range is the output range of the VOI LUT (PS3.3 Section C.11.6)
            levels = table.of(levels / 255 * (len(table.entries) - 1) + table.first) / (2**table.bits - 1) * 255
        grey: Grey = np.rint(levels).astype(np.uint8)
        return grey


_PADDING_KEYWORDS: Mapping[str, tuple[str, type[int] | type[float]]] = {
    "": ("PixelPadding", int),
    "<f4": ("FloatPixelPadding", float),
    "<f8": ("DoubleFloatPixelPadding", float),
}


def _padding(data_set: Dataset, dtype: str) -> tuple[float, float] | None:
    """The range of padding values; None if the image has none. `dtype` is a key of the table above."""
    keyword, kind = _PADDING_KEYWORDS[dtype]
    padding, limit = value(data_set, f"{keyword}Value"), value(data_set, f"{keyword}RangeLimit")
    if not isinstance(padding, kind):
        return None
    ends = [padding, limit if isinstance(limit, kind) else padding]
    ends = [_as_stored(end, data_set) if isinstance(end, int) else end for end in ends]
    return min(ends), max(ends)


def _as_stored(padding: int, data_set: Dataset) -> int:
    """A padding value with the sign of stored values, whatever its own VR is."""
    lowest, highest = stored_span(data_set)
    other = padding + (-65_536 if padding > 0 else 65_536)
    return other if not lowest <= padding <= highest and lowest <= other <= highest else padding


def _is_inverted(data_set: Dataset) -> bool:
    """Whether low values are white, by photometric interpretation or shape of the presentation LUT; both do not
    cancel."""
    photometric, shape = (text(data_set, name) for name in ("PhotometricInterpretation", "PresentationLUTShape"))
    return photometric == "MONOCHROME1" or shape == "INVERSE"


def _offsets(values: Samples, lowest: int) -> Samples:
    """The distance of each value from the lowest, as unsigned numbers."""
    unsigned = f"<u{values.dtype.itemsize}"
    offsets: Samples = values.view(unsigned) - np.array(lowest, values.dtype).view(unsigned)
    return offsets


def _occurs(values: Samples, lowest: int, count: int) -> npt.NDArray[np.bool_]:
    """Which of the `count` values from the lowest on occur."""
    return np.bincount(_offsets(values.ravel(), lowest), minlength=count) > 0


def _in_blocks(values: Samples, make: Callable[[Samples], Any]) -> Grey:
    """The levels that `make` computes of all values, block by block."""
    flat, levels = values.ravel(), np.empty(values.size, np.uint8)
    for at in range(0, flat.size, _BLOCK):
        levels[at : at + _BLOCK] = make(flat[at : at + _BLOCK])
    return levels.reshape(values.shape)


def _look_up(values: Samples, lowest: int, table: Grey) -> Grey:
    """The levels of values by a table that begins with the lowest value."""
    return _in_blocks(values, lambda some: np.take(table, _offsets(some, lowest), mode="clip"))


def _apply_ramp(values: Samples, ramp: Ramp) -> Grey:
    """The levels of whole numbers on a ramp, which may fall."""
    step = 255 / (ramp.white - ramp.black)
    start = 0.5 - ramp.black * step  # the conversion to whole numbers cuts, and 0.5 makes it round

    def make(some: Samples) -> Samples:
        levels: Samples = some.astype(np.float32)
        levels *= step
        levels += start
        return np.clip(levels, 0, 255, out=levels)

    return _in_blocks(values, make)
