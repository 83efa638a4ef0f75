"""The DICOM JSON Model (PS3.18 Annex F): elements, data sets, and their text."""

import base64
import json
import math
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

Element = dict[str, Any]
"""One attribute: `vr`, and at most one of `Value`, `InlineBinary`, `BulkDataURI`."""

DataSet = dict[str, Element]
"""Attributes by tag: 8 upper-case hex digits, ascending."""

BINARY_VRS = frozenset({"OB", "OD", "OF", "OL", "OV", "OW", "UN"})
INTEGER_VRS = frozenset({"IS", "SL", "SS", "SV", "UL", "US", "UV"})
NUMBER_VRS = INTEGER_VRS | {"DS", "FD", "FL"}

_TEXT_VRS = frozenset({"AE", "AS", "CS", "DA", "DT", "LO", "LT", "SH", "ST", "TM", "UC", "UI", "UR", "UT"})
_PN_GROUPS = ("Alphabetic", "Ideographic", "Phonetic")
_EXACT_INTEGER = 2**53  # every JSON reader can hold integers up to this
_LONGEST_NUMBER = 128
_WHOLE = re.compile(r"[+-]?[0-9]+\Z")
_DECIMAL = re.compile(r"[+-]?(?:[0-9]+(?:\.[0-9]*)?|\.[0-9]+)(?:[eE][+-]?[0-9]+)?\Z")


def element(vr: str, values: Iterable[Any] = ()) -> Element:
    """Make an element of text or numbers, None or "" for an empty value; without values it has `vr` alone.

    IS and DS become JSON numbers, because viewers sort by them. If one of several is missing or is no number, all are
    left out: pydicom fails on a text there, and Java clients on a null. NaN and the infinities of FL and FD become
    texts as JavaScript, Java and .NET read them.
    """
    converted = [_value(vr, value) for value in values]
    missing = [value is None for value in converted]
    if all(missing) or (vr in ("IS", "DS") and any(missing)):
        return {"vr": vr}
    return {"vr": vr, "Value": converted}


def binary_element(vr: str, value: bytes) -> Element:
    """Make an element of a binary VR, inline."""
    return {"vr": vr, "InlineBinary": base64.b64encode(value).decode()} if value else {"vr": vr}


def _value(vr: str, value: Any) -> Any:
    if value is None or value == "":
        return None
    if vr == "PN":
        return person_name(str(value))
    if vr in NUMBER_VRS:
        return _number(vr, value)
    return value if vr == "SQ" else str(value)


def person_name(text: str) -> dict[str, str] | None:
    """The component groups of a PN value, `alphabetic=ideographic=phonetic`, without the empty ones."""
    groups = {name: part.strip() for name, part in zip(_PN_GROUPS, text.split("="), strict=False) if part.strip()}
    return groups or None


def _number(vr: str, value: Any) -> Any:
    number = _read(vr, value.strip()) if isinstance(value, str) else value
    if isinstance(number, float) and vr in INTEGER_VRS:
        number = int(number) if number.is_integer() else None
    if number is None or isinstance(number, int):
        return number if number is None or abs(number) <= _EXACT_INTEGER else str(number)
    if math.isfinite(number):
        return number
    if vr == "DS":
        return None
    return "NaN" if math.isnan(number) else "Infinity" if number > 0 else "-Infinity"


def _read(vr: str, text: str) -> int | float | None:
    """Parse a number; None if the text is not a number."""
    if vr in ("FD", "FL"):
        try:
            return float(text)
        except ValueError:
            return None
    if len(text) > _LONGEST_NUMBER or not _DECIMAL.match(text):
        return None
    return int(text) if _WHOLE.match(text) else float(text)


def encode_array(data_sets: Iterable[bytes]) -> Iterator[bytes]:
    """Encode an array of encoded data sets, a piece for each; `[]` for none."""
    before = b"["
    for data_set in data_sets:
        yield before + data_set
        before = b","
    yield b"]" if before == b"," else b"[]"


_json = json.JSONEncoder(ensure_ascii=False, separators=(",", ":"), allow_nan=False).encode


def encode(data_set: Mapping[str, Element]) -> bytes:
    """Encode one data set in UTF-8. NaN is never written as a number, which would not be JSON."""
    return _json(data_set).encode()


def member(tag: str, vr: str, values: Sequence[Any]) -> str:
    """The text of `member_of` for `element(vr, values)`, with short cuts for no value and for one text."""
    match values:
        case ():
            return f'"{tag}":{{"vr":"{vr}"}}'
        case (str() as text,) if text and vr in _TEXT_VRS:
            return f'"{tag}":{{"vr":"{vr}","Value":[{_json(text)}]}}'
    return member_of(tag, element(vr, values))


def member_of(tag: str, of: Element) -> str:
    """The JSON text of an element under its tag, as in `encode`."""
    return f'"{tag}":{_json(of)}'


def encode_members(members: Iterable[str]) -> bytes:
    """Encode a data set of `member` texts in UTF-8, sorted by the tags with which they begin."""
    return f"{{{','.join(sorted(members))}}}".encode()
