"""Attributes of data sets that may be damaged, as plain values: an unreadable value counts as absent."""

import struct
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from io import BytesIO
from itertools import islice
from typing import Any

from pydicom import Dataset
from pydicom.datadict import tag_for_keyword
from pydicom.errors import BytesLengthException
from pydicom.filereader import read_dataset
from pydicom.multival import MultiValue
from pydicom.valuerep import PersonName

_UNREADABLE = (
    *(ValueError, TypeError, AttributeError, LookupError, ArithmeticError, NotImplementedError),
    *(OSError, struct.error, BytesLengthException),
)


_EMPTY = Dataset()

Attribute = str | tuple[int, int]
"""A keyword, or group and element numbers."""


def parse_head(head: bytes) -> Dataset:
    """Parse a data set in Explicit VR Little Endian; sequences stay bytes until they are read."""
    return read_dataset(BytesIO(head), is_implicit_VR=False, is_little_endian=True)


@contextmanager
def quietly() -> Iterator[None]:
    """Suppress the warnings of pydicom, which quote values of the data set."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield


def value(data_set: Dataset, keyword: Attribute) -> Any:
    """The value as pydicom gives it; None if it is absent, empty or unreadable."""
    tag = tag_for_keyword(keyword) if isinstance(keyword, str) else keyword[0] << 16 | keyword[1]
    if tag is None or tag not in data_set.keys():  # noqa: SIM118 - pydicom is slow for absent ones, which most are
        return None
    try:
        found = data_set[tag].value
    except _UNREADABLE:
        return None
    return None if found is None or found == "" else found


def values(data_set: Dataset, keyword: Attribute) -> list[Any]:
    """All values of an attribute as a list."""
    found = value(data_set, keyword)
    return [] if found is None else list(found) if isinstance(found, MultiValue | list | tuple) else [found]


def text(data_set: Dataset, keyword: str) -> str:
    """The value as text without control characters; long texts may have several lines."""
    return "\\".join(clean(str(one)) for one in values(data_set, keyword)).strip()


def clean(words: str) -> str:
    """Text without control characters; line ends become one line feed each."""
    if words.isprintable():
        return words.strip()
    lines = words.replace("\r\n", "\n").replace("\r", "\n").replace("\f", "\n")
    return "".join(character if character == "\n" or character.isprintable() else " " for character in lines).strip()


def name(data_set: Dataset, keyword: str) -> str:
    """A person's name as `family, given middle`, with other scripts in brackets (PS3.5 Section 6.2.1)."""
    return ", ".join(_person(PersonName(one)) for one in values(data_set, keyword) if isinstance(one, PersonName | str))


def _person(person: PersonName) -> str:
    groups = [_written(str(group)) for group in str(person).split("=")[:3]]
    first, *others = [group for group in groups if group] or [""]
    return f"{first} ({', '.join(others)})" if others else first


def _written(group: str) -> str:
    parts = [clean(part) for part in group.split("^")] + [""] * 5
    family, given, middle, prefix, suffix = parts[:5]
    forenames = " ".join(filter(None, (prefix, given, middle)))
    return ", ".join(filter(None, (family, forenames, suffix)))


def date(data_set: Dataset, keyword: str) -> str:
    """A DA as 2024-01-31."""
    words = text(data_set, keyword)
    return f"{words[:4]}-{words[4:6]}-{words[6:]}" if len(words) == 8 and words.isdigit() else words


def time(data_set: Dataset, keyword: str) -> str:
    """A TM as 13:45:59.5."""
    words = text(data_set, keyword)
    return _clock(words) if words[:2].isdigit() else words


def date_time(data_set: Dataset, keyword: str) -> str:
    """A DT as 2024-01-31 13:45:59.5 +0100."""
    words = text(data_set, keyword)
    if len(words) < 8 or not words[:8].isdigit():
        return words
    rest = words[8:]
    at = next((index for index, character in enumerate(rest) if character in "+-"), len(rest))
    day = f"{words[:4]}-{words[4:6]}-{words[6:8]}"
    return " ".join(filter(None, (day, _clock(rest[:at]), rest[at:])))


def _clock(words: str) -> str:
    whole, point, fraction = words.replace(":", "").partition(".")
    seconds = ":".join(filter(None, (whole[:2], whole[2:4], whole[4:6])))
    return f"{seconds}{point}{fraction}" if fraction.strip("0") else seconds


def numbers(data_set: Dataset, keyword: Attribute) -> tuple[float, ...]:
    """The numbers of an attribute; empty if one of them is not a finite number."""
    try:
        found = tuple(float(one) for one in values(data_set, keyword))
    except _UNREADABLE:
        return ()
    return found if all(abs(one) < float("inf") for one in found) else ()


def each_number(data_set: Dataset, keyword: str) -> list[float | None]:
    """The numbers of a text attribute in order, with None for each value that is not a finite number."""
    tag = tag_for_keyword(keyword)
    raw = data_set.get_item(tag) if tag is not None and tag in data_set.keys() else None  # noqa: SIM118 - as above
    found: Any = raw.value if raw is not None and isinstance(raw.value, bytes) else None
    words = found.decode("latin-1").split("\\") if found else values(data_set, keyword)
    return [_finite(word) for word in words]


def _finite(word: Any) -> float | None:
    try:
        found = float(word.strip(" \0") if isinstance(word, str) else word)
    except _UNREADABLE:
        return None
    return found if abs(found) < float("inf") else None


def number(data_set: Dataset, keyword: Attribute) -> float | None:
    """The first number of an attribute."""
    return next(iter(numbers(data_set, keyword)), None)


def integer(data_set: Dataset, keyword: Attribute, default: int = 0) -> int:
    """The first number as an integer."""
    found = number(data_set, keyword)
    return default if found is None else int(found)


def items(data_set: Dataset, keyword: str, most: int = 100_000) -> Iterator[Dataset]:
    """The items of a sequence, at most `most`."""
    found = value(data_set, keyword)
    return islice((one for one in found if isinstance(one, Dataset)), most) if _is_sequence(found) else iter(())


def _is_sequence(found: Any) -> bool:
    return hasattr(found, "__iter__") and not isinstance(found, str | bytes | Dataset)


def item(data_set: Dataset, keyword: str) -> Dataset:
    """The first item of a sequence, or an empty one."""
    return next(items(data_set, keyword), _EMPTY)


def item_at(data_set: Dataset, keyword: str, index: int) -> Dataset | None:
    """The item of a sequence at an index from 0, or None; does not parse the items before it."""
    found = value(data_set, keyword)
    some = found[index] if _is_sequence(found) and hasattr(found, "__getitem__") and index < len(found) else None
    return some if isinstance(some, Dataset) else None


def meaning(data_set: Dataset, keyword: str) -> str:
    """The code meaning of a code sequence, else its code (PS3.3 Section 8)."""
    code = item(data_set, keyword)
    coded = (text(code, tag) for tag in ("CodeMeaning", "CodeValue", "LongCodeValue", "URNCodeValue"))
    return next((words for words in coded if words), "")
