"""The format of the samples of an image: which bits hold the value, and how to read it (PS3.5 Section 8.1.1)."""

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from pydicom import Dataset

from wado.rendering.values import integer

Samples = npt.NDArray[Any]


def is_signed(data_set: Dataset) -> bool:
    """Whether stored values are in two's complement (PixelRepresentation)."""
    return integer(data_set, "PixelRepresentation") == 1


@dataclass(frozen=True)
class SampleFormat:
    """The bits of a sample that hold its value: so many `bits` up to `high_bit`, `signed` or not.

    Other bits may hold overlays.
    """

    bits: int
    high_bit: int
    signed: bool

    @classmethod
    def from_data_set(cls, data_set: Dataset) -> "SampleFormat":
        """As the data set states it, unchecked; 0 bits where it does not."""
        return cls(integer(data_set, "BitsStored"), integer(data_set, "HighBit"), is_signed(data_set))

    @classmethod
    def of(cls, data_set: Dataset, samples: Samples) -> "SampleFormat":
        """As the data set states it, within the type of the samples."""
        return cls.from_data_set(data_set).within(samples)

    def within(self, samples: Samples) -> "SampleFormat":
        """This format within the type of the samples."""
        room = samples.dtype.itemsize * 8
        bits = min(max(self.bits or room, 1), room)
        return SampleFormat(bits, min(max(self.high_bit, bits - 1), room - 1), self.signed)

    @property
    def all_values(self) -> npt.NDArray[np.int64]:
        """Every value; the index of a value is the number that its bits are."""
        indexes = np.arange(2**self.bits, dtype=np.int64)
        return np.where(indexes >= 2 ** (self.bits - 1), indexes - 2**self.bits, indexes) if self.signed else indexes

    @property
    def ends(self) -> tuple[int, int]:
        """The least and the greatest value."""
        half = 2 ** (self.bits - 1)
        return (-half, half - 1) if self.signed else (0, 2 * half - 1)

    def bits_of(self, samples: Samples) -> Samples:
        """The value bits of each sample as an unsigned number: the index of its value in `all_values`."""
        unsigned: Samples = samples.view(f"<u{samples.dtype.itemsize}")
        shift = self.high_bit + 1 - self.bits
        numbers: Samples = (unsigned >> shift if shift else unsigned) & (2**self.bits - 1)
        return numbers

    def values_of(self, samples: Samples) -> Samples:
        """The value of each sample, in its type or in the signed type of the same size."""
        size = samples.dtype.itemsize
        above, others = size * 8 - 1 - self.high_bit, size * 8 - self.bits
        values: Samples = samples.view(f"<{'i' if self.signed else 'u'}{size}")
        if above == others and (not others or self._are_in_range(values)):
            return values  # there are no other bits, or they only hold copies of the sign
        shifted: Samples = samples.view(f"<u{size}")
        shifted = shifted << above if above else shifted
        values = shifted.view(f"<i{size}") if self.signed else shifted
        return values >> others if others else values  # copies the sign of a signed value

    def _are_in_range(self, values: Samples) -> bool:
        """Whether all of these are values of the format."""
        lowest, highest = self.ends
        return bool(values.max() <= highest and (not self.signed or values.min() >= lowest))
