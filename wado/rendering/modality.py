"""From stored values to modality values, by a rescale or a table (PS3.3 Section C.11.1)."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from pydicom import Dataset

from wado.rendering.lut import Lut, Span
from wado.rendering.sample_format import Samples, is_signed
from wado.rendering.values import integer, item, number

Values = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Rescale:
    """Modality values by slope and intercept (PS3.3 Section C.11.1.1.2)."""

    slope: float = 1.0
    intercept: float = 0.0

    @classmethod
    def of_data_set(cls, data_set: Dataset) -> "Rescale":
        """From the data set; a slope of 0 is ignored."""
        return cls(number(data_set, "RescaleSlope") or 1.0, number(data_set, "RescaleIntercept") or 0.0)

    def of(self, stored: Samples) -> Values:
        """The modality values of stored values."""
        return stored.astype(np.float64) * self.slope + self.intercept


def modality_of(data_set: Dataset) -> Rescale | Lut:
    """The modality LUT of the data set, else its rescale."""
    table = Lut.from_item(item(data_set, "ModalityLUTSequence"), stored_span(data_set))
    return table or Rescale.of_data_set(data_set)


def stored_span(data_set: Dataset) -> Span:
    """The least and the greatest possible stored value."""
    bits = min(max(integer(data_set, "BitsStored") or integer(data_set, "BitsAllocated", 16), 1), 64)
    return (-(2 ** (bits - 1)), 2 ** (bits - 1) - 1) if is_signed(data_set) else (0, 2**bits - 1)


def modality_span(data_set: Dataset, modality: Rescale | Lut) -> Span:
    """The least and the greatest possible modality value."""
    if isinstance(modality, Lut):
        return 0, 2**modality.bits - 1
    ends = [modality.slope * end + modality.intercept for end in stored_span(data_set)]
    return min(ends), max(ends)
