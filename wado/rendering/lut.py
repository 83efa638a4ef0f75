"""Look-up tables of data sets, which may be damaged (PS3.3 Section C.11.1.1, C.11.2.1.1, C.7.6.3.1.5)."""

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from pydicom import Dataset

from wado.rendering.values import numbers, value

Span = tuple[float, float]
"""The least and the greatest value that can be looked up."""

_MOST_ENTRIES = 65_536
_DISCRETE, _LINEAR, _INDIRECT = 0, 1, 2


@dataclass(frozen=True)
class Lut:
    """A table of `entries` of `bits` bits: the first is for the value `first` and all below, the last for all above."""

    first: int
    bits: int
    entries: npt.NDArray[np.int64]

    @classmethod
    def from_item(cls, item: Dataset, span: Span) -> "Lut | None":
        """From an item of a modality, VOI or presentation LUT sequence; None if it has no table."""
        return cls._read(item, "LUTDescriptor", "LUTData", span)

    @classmethod
    def of_palette(cls, data_set: Dataset, colour: str, span: Span = (0, _MOST_ENTRIES - 1)) -> "Lut | None":
        """The palette of `Red`, `Green` or `Blue`, expanded if it is segmented (Section C.7.9.2); None without one."""
        names = (f"{colour}PaletteColorLookupTableDescriptor", f"{colour}PaletteColorLookupTableData")
        return cls._read(data_set, *names, span) or cls._read(
            data_set, names[0], f"Segmented{names[1]}", span, segmented=True
        )

    @classmethod
    def _read(cls, data_set: Dataset, descriptor: str, data: str, span: Span, segmented: bool = False) -> "Lut | None":
        stated = numbers(data_set, descriptor)
        if len(stated) != 3:
            return None
        count, first, bits = (int(number) for number in stated)
        count = count % _MOST_ENTRIES or _MOST_ENTRIES
        found = _bytes(value(data_set, data))
        if segmented:
            words = _words(found, one_byte=bits <= 8)
            words = np.array(_expanded(words.tolist(), 1 if bits <= 8 else 2, count), np.int64)
        else:
            words = _words(found, one_byte=len(found) < 2 * count and (bits <= 8 or len(found) <= count + 1))
        if not words.size:
            return None
        entries = words[:count]
        needed = max(int(entries.max()).bit_length(), 1)  # some entries need more bits than the descriptor states
        return cls(_within(first, span), max(bits if 1 <= bits <= 16 else 0, needed), entries)

    def of(self, values: npt.NDArray[Any]) -> npt.NDArray[np.int64]:
        """The entries for values, which are rounded to whole numbers."""
        indexes = np.rint(np.nan_to_num(values)) - self.first
        entries: npt.NDArray[np.int64] = self.entries[indexes.clip(0, len(self.entries) - 1).astype(np.int64)]
        return entries


def _within(first: int, span: Span) -> int:
    """The first value of a table, read as signed or unsigned, whichever is within the span."""
    lowest, highest = span
    if first > 32_767 and lowest < 0 and first > highest:
        return first - 65_536
    return first + 65_536 if first < 0 <= lowest and first + 65_536 <= highest else first


def _bytes(found: Any) -> bytes:
    """LUT data as little-endian words, from OW or from the numbers of US or SS."""
    if isinstance(found, bytes):
        return found
    try:
        numbers = np.atleast_1d(np.array([] if found is None else found, np.int64))
    except (TypeError, ValueError, OverflowError):
        return b""
    return (numbers & 0xFFFF).astype("<u2").tobytes()


def _words(found: bytes, one_byte: bool) -> npt.NDArray[np.int64]:
    """The entries, of one byte or two each."""
    size = 1 if one_byte else 2
    return np.frombuffer(found[: len(found) // size * size], f"<u{size}").astype(np.int64)


def _expanded(words: list[int], word_bytes: int, most: int) -> list[int]:
    """The entries of a segmented table, at most `most`."""
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
    """Append the discrete or linear segment at an offset; returns the offset of the next one, or the end."""
    opcode, length, *_ = [*words[offset : offset + 2], -1, 0]
    if opcode == _DISCRETE:
        entries += words[offset + 2 : offset + 2 + length]
        return offset + 2 + length
    if opcode == _LINEAR and entries and offset + 2 < len(words):
        line = np.linspace(entries[-1], words[offset + 2], length + 1)[1:]
        entries += np.rint(line).astype(int).tolist()
        return offset + 3
    return len(words)
