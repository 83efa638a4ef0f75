"""What the samples of an image may be: which of their bits count, and how they are read (PS3.5 Section 8.1.1)."""

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from pydicom import Dataset

from wado.rendering.values import integer

Samples = npt.NDArray[Any]


def is_signed(data_set: Dataset) -> bool:
    """Whether stored values are in two's complement."""
    return integer(data_set, "PixelRepresentation") == 1


@dataclass(frozen=True)
class SampleFormat:
    """What the samples of an image may be: `bits` of them count, the others are something else; `signed` or not."""

    bits: int
    high_bit: int
    signed: bool

    @classmethod
    def described(cls, data_set: Dataset) -> "SampleFormat":
        """As the data set says, which may be more or less than there can be; 0 bits where it does not say."""
        return cls(integer(data_set, "BitsStored"), integer(data_set, "HighBit"), is_signed(data_set))

    @classmethod
    def of(cls, data_set: Dataset, samples: Samples) -> "SampleFormat":
        """As the data set says, as far as the type of the samples has room for it."""
        return cls.described(data_set).within(samples)

    def within(self, samples: Samples) -> "SampleFormat":
        """The same, as far as the type of the samples has room for it."""
        room = samples.dtype.itemsize * 8
        bits = min(max(self.bits or room, 1), room)
        return SampleFormat(bits, min(max(self.high_bit, bits - 1), room - 1), self.signed)

    @property
    def all_values(self) -> npt.NDArray[np.int64]:
        """Every value, at the place of its bits."""
        indexes = np.arange(2**self.bits, dtype=np.int64)
        return np.where(indexes >= 2 ** (self.bits - 1), indexes - 2**self.bits, indexes) if self.signed else indexes

    @property
    def ends(self) -> tuple[int, int]:
        """The least and the greatest value."""
        half = 2 ** (self.bits - 1)
        return (-half, half - 1) if self.signed else (0, 2 * half - 1)

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
        values: Samples = samples.view(f"<{'i' if self.signed else 'u'}{size}")
        if above == beside and (not beside or self._has_all(values)):
            return values  # there are no other bits, or nothing is in them but copies of the sign
        places: Samples = samples.view(f"<u{size}")
        places = places << above if above else places
        values = places.view(f"<i{size}") if self.signed else places
        return values >> beside if beside else values  # of a signed one that copies the sign

    def _has_all(self, values: Samples) -> bool:
        """Whether all of these are values that there may be."""
        lowest, highest = self.ends
        return bool(values.max() <= highest and (not self.signed or values.min() >= lowest))
