"""Look-up tables of data sets (PS3.3 Section C.11.1.1, C.11.2.1.1, C.7.6.3.1.5), which may be wrong in any way."""

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from pydicom import Dataset

from wado.rendered.values import numbers, value

_MOST_ENTRIES = 65_536
_DISCRETE, _LINEAR, _INDIRECT = 0, 1, 2


@dataclass(frozen=True)
class Lut:
    """`entries`, each of so many `bits`; the first is for the value `first` and all below, the last for all above."""

    first: int
    bits: int
    entries: npt.NDArray[np.int64]

    @classmethod
    def from_item(cls, item: Dataset, *, signed: bool) -> "Lut | None":
        """From an item of a modality, VOI or presentation LUT sequence; None where it has no table."""
        return cls._read(item, "LUTDescriptor", "LUTData", signed)

    @classmethod
    def of_palette(cls, data_set: Dataset, colour: str) -> "Lut | None":
        """The table of `Red`, `Green` or `Blue`, expanded where it is segmented (Section C.7.9.2); None without one."""
        names = (f"{colour}PaletteColorLookupTableDescriptor", f"{colour}PaletteColorLookupTableData")
        return cls._read(data_set, *names, signed=False) or cls._read(
            data_set, names[0], f"Segmented{names[1]}", signed=False, segmented=True
        )

    @classmethod
    def _read(
        cls, data_set: Dataset, descriptor: str, data: str, signed: bool, segmented: bool = False
    ) -> "Lut | None":
        stated = numbers(data_set, descriptor)
        if len(stated) != 3:
            return None
        count, first, bits = (int(number) for number in stated)
        count = count % _MOST_ENTRIES or _MOST_ENTRIES
        found = value(data_set, data)
        if segmented:
            words = _words(found, one_byte=bits <= 8)
            words = np.array(_expanded(words.tolist(), 1 if bits <= 8 else 2, count), np.int64)
        else:
            words = _words(found, one_byte=isinstance(found, bytes) and len(found) < 2 * count and bits <= 8)
        if not words.size:
            return None
        entries = words[:count]
        needed = max(int(entries.max()).bit_length(), 1)  # some tables hold more than they say
        first = first - 65_536 if signed and first > 32_767 else first
        return cls(first, max(bits if 1 <= bits <= 16 else 0, needed), entries)

    def of(self, values: npt.NDArray[Any]) -> npt.NDArray[np.int64]:
        """The entries for values; those for fractions are of the nearest whole number."""
        places = np.rint(np.nan_to_num(values)) - self.first
        found: npt.NDArray[np.int64] = self.entries[places.clip(0, len(self.entries) - 1).astype(np.int64)]
        return found


def _words(found: Any, one_byte: bool) -> npt.NDArray[np.int64]:
    """The values of LUT data: words or bytes of OW, or the numbers of US or SS."""
    if isinstance(found, bytes):
        size = 1 if one_byte else 2
        return np.frombuffer(found[: len(found) // size * size], f"<u{size}").astype(np.int64)
    try:
        words: npt.NDArray[np.int64] = np.atleast_1d(np.array([] if found is None else found, np.int64)) & 0xFFFF
    except (TypeError, ValueError, OverflowError):
        return np.empty(0, np.int64)
    return words


def _expanded(words: list[int], word_bytes: int, most: int) -> list[int]:
    """The entries of a segmented table, `most` at most."""
    entries: list[int] = []
    offset_words = 4 // word_bytes  # an indirect segment has a byte offset of 32 bits
    offset = 0
    while offset + 2 < len(words) and len(entries) < most:
        opcode, length = words[offset : offset + 2]
        if opcode == _INDIRECT:
            parts = words[offset + 2 : offset + 2 + offset_words]
            where = sum(part << (8 * word_bytes * index) for index, part in enumerate(parts)) // word_bytes
            for _ in range(length):
                where = _segment(words, where, entries) if len(entries) < most else len(words)
            offset += 2 + offset_words
        else:
            offset = _segment(words, offset, entries)
    return entries


def _segment(words: list[int], offset: int, entries: list[int]) -> int:
    """Append what the discrete or linear segment at an offset says; the offset of the next, the end for any other."""
    opcode, length, *_ = [*words[offset : offset + 2], -1, 0]
    if opcode == _DISCRETE:
        entries += words[offset + 2 : offset + 2 + length]
        return offset + 2 + length
    if opcode == _LINEAR and entries and offset + 2 < len(words):
        line = np.linspace(entries[-1], words[offset + 2], length + 1)[1:]
        entries += np.rint(line).astype(int).tolist()
        return offset + 3
    return len(words)
