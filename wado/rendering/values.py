"""Attributes of data sets that may be wrong in any way, as plain values: what cannot be read is absent."""

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
"""A keyword, or group and element."""


def parse_head(head: bytes) -> Dataset:
    """A data set in Explicit VR Little Endian; sequences inside stay bytes until they are looked at."""
    return read_dataset(BytesIO(head), is_implicit_VR=False, is_little_endian=True)


@contextmanager
def quietly() -> Iterator[None]:
    """Without the warnings of pydicom, which quote the values that it warns of."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield


def value(data_set: Dataset, keyword: Attribute) -> Any:
    """The value as pydicom has it; None where it is absent, empty or unreadable."""
    tag = tag_for_keyword(keyword) if isinstance(keyword, str) else keyword[0] << 16 | keyword[1]
    if tag is None or tag not in data_set.keys():  # noqa: SIM118 - most are absent, and pydicom takes its time to say so
        return None
    try:
        found = data_set[tag].value
    except _UNREADABLE:
        return None
    return None if found is None or found == "" else found


def values(data_set: Dataset, keyword: Attribute) -> list[Any]:
    """All values of an attribute."""
    found = value(data_set, keyword)
    return [] if found is None else list(found) if isinstance(found, MultiValue | list | tuple) else [found]


def text(data_set: Dataset, keyword: str) -> str:
    """The value in one line or, for long texts, several; without control characters."""
    return "\\".join(clean(str(one)) for one in values(data_set, keyword)).strip()


def clean(words: str) -> str:
    """Text without control characters but line ends, which are one character."""
    if words.isprintable():
        return words.strip()
    lines = words.replace("\r\n", "\n").replace("\r", "\n").replace("\f", "\n")
    return "".join(character if character == "\n" or character.isprintable() else " " for character in lines).strip()


def name(data_set: Dataset, keyword: str) -> str:
    """A person's name as people write it: family, given middle; other scripts in brackets (PS3.5 Section 6.2.1)."""
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
    """The finite numbers of an attribute; none at all where one of them is no number."""
    try:
        found = tuple(float(one) for one in values(data_set, keyword))
    except _UNREADABLE:
        return ()
    return found if all(abs(one) < float("inf") for one in found) else ()


def each_number(data_set: Dataset, keyword: str) -> list[float | None]:
    """The finite numbers of an attribute of text, each at its place; None for what is no number."""
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
    """The first number, whole."""
    found = number(data_set, keyword)
    return default if found is None else int(found)


def items(data_set: Dataset, keyword: str, most: int = 100_000) -> Iterator[Dataset]:
    """The items of a sequence, `most` at most."""
    found = value(data_set, keyword)
    return islice((one for one in found if isinstance(one, Dataset)), most) if _is_sequence(found) else iter(())


def _is_sequence(found: Any) -> bool:
    return hasattr(found, "__iter__") and not isinstance(found, str | bytes | Dataset)


def item(data_set: Dataset, keyword: str) -> Dataset:
    """The first item of a sequence, or an empty one."""
    return next(items(data_set, keyword), _EMPTY)


def item_at(data_set: Dataset, keyword: str, index: int) -> Dataset | None:
    """The item of a sequence at an index from 0, or None: of thousands, without going through those before."""
    found = value(data_set, keyword)
    some = found[index] if _is_sequence(found) and hasattr(found, "__getitem__") and index < len(found) else None
    return some if isinstance(some, Dataset) else None


def meaning(data_set: Dataset, keyword: str) -> str:
    """The code meaning of a code sequence, else its code (PS3.3 Section 8)."""
    code = item(data_set, keyword)
    coded = (text(code, tag) for tag in ("CodeMeaning", "CodeValue", "LongCodeValue", "URNCodeValue"))
    return next((words for words in coded if words), "")
