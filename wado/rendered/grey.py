"""Grey images: modality LUT → VOI LUT → presentation LUT (PS3.4 Section N.2, PS3.3 Section C.11).

Samples of up to 16 bits go through one table that is made for all values they can have; wider ones and floating-point
ones are computed one by one.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from pydicom import Dataset
from pydicom.pixels.processing import apply_modality_lut, apply_voi

from wado.rendered.parameters import Rendering, Window
from wado.rendered.values import numbers, text, value

Values = npt.NDArray[np.float64]
Grey = npt.NDArray[np.uint8]
Samples = npt.NDArray[Any]

_MOST_TABLE_BITS = 16


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
        bits = min(max(int(value(data_set, "BitsStored") or room), 1), room)
        high_bit = min(max(int(value(data_set, "HighBit") or bits - 1), bits - 1), room - 1)
        return cls(bits, high_bit, value(data_set, "PixelRepresentation") == 1)

    @property
    def all_values(self) -> npt.NDArray[np.int64]:
        """Every value, at the place of its bits."""
        indexes = np.arange(2**self.bits, dtype=np.int64)
        return np.where(indexes >= 2 ** (self.bits - 1), indexes - 2**self.bits, indexes) if self.signed else indexes

    def bits_of(self, samples: Samples) -> Samples:
        """The bits that count of each sample, as an unsigned number: the place of its value in `all_values`."""
        unsigned = samples.view(f"<u{samples.dtype.itemsize}")
        places: Samples = (unsigned >> (self.high_bit + 1 - self.bits)) & (2**self.bits - 1)
        return places


def grey_levels(samples: Samples, data_set: Dataset, rendering: Rendering) -> Grey:
    """Levels from 0 to 255 for samples of shape (rows, columns); `data_set` with the functional groups of the frame."""
    if samples.dtype.kind == "f":
        return _levels(samples.astype(np.float64), samples, data_set, rendering)
    stored = Stored.of(data_set, samples)
    if stored.bits > _MOST_TABLE_BITS:
        return _levels(_modality(samples, data_set), samples, data_set, rendering)
    places, values = stored.bits_of(samples), stored.all_values
    if rendering.window is None and _own_transformation(data_set, rendering) is None:
        present = np.bincount(places.ravel(), minlength=2**stored.bits) > 0
    else:
        present = np.ones(len(values), bool)  # which values occur matters for the automatic window alone
    table = _levels(_modality(values, data_set), values, data_set, rendering, present)
    levels: Grey = table[places]
    return levels


def _modality(values: Samples, data_set: Dataset) -> Values:
    transformed: Values = np.asarray(apply_modality_lut(values, data_set), np.float64)
    return transformed


def _levels(
    values: Values,
    stored: Samples,
    data_set: Dataset,
    rendering: Rendering,
    present: npt.NDArray[np.bool_] | None = None,
) -> Grey:
    """VOI and presentation for modality values; `stored` are the values before, `present` says which of them occur."""
    own = _own_transformation(data_set, rendering)
    if rendering.window:
        levels = windowed(values, rendering.window)
    elif isinstance(own, Window):
        levels = windowed(values, own)
    elif own is not None:
        levels = _looked_up(values, own)
    else:
        levels = _stretched(values, *automatic_range(values, stored, data_set, present))
    return 255 - levels if _is_inverted(data_set) else levels


def _own_transformation(data_set: Dataset, rendering: Rendering) -> Window | Dataset | None:
    """The VOI LUT or window of the image that is asked for, the first if none is; a VOI LUT comes before a window."""
    tables = value(data_set, "VOILUTSequence") or []
    if rendering.window_index < len(tables):
        chosen = Dataset()
        chosen.VOILUTSequence = [tables[rendering.window_index]]
        return chosen
    windows = own_windows(data_set)
    return windows[min(rendering.window_index, len(windows) - 1)] if windows else None


def own_windows(data_set: Dataset) -> list[Window]:
    """The windows of the image; one that is narrower than its function allows is none (PS3.3 Section C.11.2.1.2)."""
    centers, widths = (numbers(data_set, name) for name in ("WindowCenter", "WindowWidth"))
    function = str(value(data_set, "VOILUTFunction") or "LINEAR")
    windows = [Window(center, width, function) for center, width in zip(centers, widths, strict=False)]
    return [one for one in windows if (one.width > 0 if one.function == "LINEAR_EXACT" else one.width >= 1)]


def windowed(values: Values, window: Window) -> Grey:
    """A window over modality values (PS3.3 Section C.11.2.1.2.1, C.11.2.1.3)."""
    match window.function:
        case "SIGMOID":
            with np.errstate(over="ignore"):
                return np.rint(255 / (1 + np.exp(-4 * (values - window.center) / window.width))).astype(np.uint8)
        case "LINEAR_EXACT":
            return _stretched(values, window.center - window.width / 2, window.center + window.width / 2)
        case _:
            half = (window.width - 1) / 2
            return _stretched(values, window.center - 0.5 - half, window.center - 0.5 + half)


def _looked_up(values: Values, own: Dataset) -> Grey:
    bits = int(own.VOILUTSequence[0].LUTDescriptor[2])
    looked_up = np.asarray(apply_voi(np.rint(values).astype(np.int64), own), np.float64)
    return _stretched(looked_up, 0, 2**bits - 1)


def automatic_range(
    values: Values, stored: Samples, data_set: Dataset, present: npt.NDArray[np.bool_] | None
) -> tuple[float, float]:
    """What is shown from black to white where the image does not say it.

    All that 8 bits can be for unsigned samples of 8 bits or fewer without a modality LUT, as pictures of other sources
    are; else from the least to the greatest value that occurs, without padding (PS3.3 Section C.7.5.1.1.2).
    """
    bits = int(value(data_set, "BitsStored") or 16)
    plain = value(data_set, "ModalityLUTSequence") is None and (value(data_set, "RescaleSlope") or 1) == 1
    if bits <= 8 and value(data_set, "PixelRepresentation") != 1 and plain and stored.dtype.kind != "f":
        intercept = float(value(data_set, "RescaleIntercept") or 0)
        return intercept, intercept + 2**bits - 1
    shown = np.isfinite(values) if present is None else present & np.isfinite(values)
    inside = shown & ~_padding(stored, data_set)
    chosen = values[inside] if inside.any() else values[shown]
    return (float(chosen.min()), float(chosen.max())) if chosen.size else (0.0, 1.0)


def _padding(stored: Samples, data_set: Dataset) -> npt.NDArray[np.bool_]:
    """Which stored values stand for no pixel at all."""
    padding = value(data_set, "PixelPaddingValue")
    if not isinstance(padding, int):
        return np.zeros(stored.shape, bool)
    limit = value(data_set, "PixelPaddingRangeLimit")
    low, high = sorted((padding, limit if isinstance(limit, int) else padding))
    return (stored >= low) & (stored <= high)


def _stretched(values: Values, lowest: float, highest: float) -> Grey:
    """Black up to `lowest`, white from `highest`; what is no number is black."""
    if highest <= lowest:
        return np.where(values > lowest, 255, 0).astype(np.uint8)
    scaled = (np.nan_to_num(values, nan=lowest) - lowest).clip(0, highest - lowest) * (255 / (highest - lowest))
    return np.rint(scaled).astype(np.uint8)


def _is_inverted(data_set: Dataset) -> bool:
    """Whether low values are white: by the photometric interpretation or the shape of the presentation LUT, once."""
    photometric, shape = (text(data_set, name) for name in ("PhotometricInterpretation", "PresentationLUTShape"))
    return photometric == "MONOCHROME1" or shape == "INVERSE"
