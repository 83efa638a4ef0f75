"""Data sets as flat tables, so that those of pydicom, of JSON and of XML can be compared element by element.

A table maps the place of an element, such as `00081140[0].00081155`, to its VR and its values in one spelling.
"""

import base64
import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any
from xml.etree import ElementTree

import numpy as np
from pydicom import DataElement, Dataset
from pydicom.tag import BaseTag

from tests.mass.sources import quiet

Fetch = Callable[[str], bytes]
"""The content behind a BulkDataURI."""

_WORDS = {"OW": "u2", "OF": "u4", "OL": "u4", "OD": "u8", "OV": "u8"}
_BINARY = frozenset({"OB", "UN", *_WORDS})
_NATIVE = "{http://dicom.nema.org/PS3.19/models/NativeDICOM}"


@dataclass(frozen=True)
class Element:
    """The VR of an element and its values; `values` is None where pydicom cannot read them."""

    vr: str
    values: tuple[Any, ...] | None

    def agrees(self, other: "Element") -> bool:
        """Whether the values are the same, as far as both are readable."""
        if self.values is None or other.values is None:
            return True
        if {self.vr, other.vr} & _BINARY:
            return _joined(self) == _joined(other)
        return _without_blanks(self.values) == _without_blanks(other.values)


Table = Mapping[str, Element]


def _joined(element: Element) -> bytes:
    """The bytes of a binary value, without padding; of other values as text, which may have been UN in the file."""
    pieces = [value if isinstance(value, bytes) else str(value).encode() for value in element.values or ()]
    return b"\\".join(pieces).rstrip(b"\0 ")


def _without_blanks(values: tuple[Any, ...]) -> tuple[Any, ...]:
    while values and values[-1] in ("", ("", "", "")):
        values = values[:-1]
    return values


def of_data_set(data_set: Dataset, place: str = "") -> Iterator[tuple[str, Element]]:
    """The elements of a data set that pydicom has read."""
    little = data_set.original_encoding[1] is not False
    for tag in sorted(data_set.keys()):
        where = f"{place}{tag:08X}"
        try:
            with quiet():
                element = data_set[tag]
        except Exception:  # noqa: BLE001 - a value that pydicom cannot convert
            yield where, Element("", None)
            continue
        if element.VR == "SQ":
            yield where, Element("SQ", (len(element.value),))
            for number, item in enumerate(element.value):
                yield from of_data_set(item, f"{where}[{number}].")
        else:
            yield where, _of_element(element, little)


def _of_element(element: DataElement, little: bool) -> Element:
    value = element.value
    if isinstance(value, bytes):
        word = _WORDS.get(element.VR)
        if word and not little and len(value) % int(word[1]) == 0:
            value = np.frombuffer(value, f"<{word}").byteswap().tobytes()
        return Element(element.VR, (value,))
    if element.VM <= 1 and not isinstance(value, list):
        values = () if value is None or value == "" else (value,)
    else:
        values = tuple(value)
    return Element(element.VR, tuple(_spelt(element.VR, item) for item in values))


def _spelt(vr: str, value: Any) -> Any:
    if isinstance(value, bytes):
        return value
    if isinstance(value, BaseTag):
        return f"{value:08X}"
    if vr == "PN":
        groups = [group.rstrip(" ^") for group in _text(value).split("=")]
        return tuple((groups + ["", "", ""])[:3])
    if vr in ("IS", "DS", "US", "SS", "UL", "SL", "FL", "FD", "SV", "UV"):
        return _number(value)
    return _text(value).strip(" \0")


def _text(value: Any) -> str:
    """A text without the escape sequence of GB 2312, which pydicom leaves in it."""
    return str(value).replace("\x1b$)A", "")


def _number(value: Any) -> Any:
    """A float; the word of what is none, as NaN does not equal itself."""
    try:
        number = float(value)
    except ValueError:
        return str(value).strip(" \0")
    return number if math.isfinite(number) else str(number)


def of_json(data_set: Mapping[str, Any], fetch: Fetch, place: str = "") -> Iterator[tuple[str, Element]]:
    """The elements of a data set in the DICOM JSON Model (PS3.18 Annex F)."""
    for tag, element in data_set.items():
        where, vr = f"{place}{tag}", element["vr"]
        if vr == "SQ":
            items = element.get("Value", [])
            yield where, Element("SQ", (len(items),))
            for number, item in enumerate(items):
                yield from of_json(item, fetch, f"{where}[{number}].")
        elif "InlineBinary" in element:
            yield where, Element(vr, (base64.b64decode(element["InlineBinary"]),))
        elif "BulkDataURI" in element:
            yield where, _of_bulk(vr, fetch(element["BulkDataURI"]))
        else:
            yield where, Element(vr, tuple(_of_json_value(vr, value) for value in element.get("Value", [])))


def _of_bulk(vr: str, content: bytes) -> Element:
    """Texts are UTF-8 (PS3.18 Section 8.7.3)."""
    return Element(vr, (content if vr in _BINARY else _spelt(vr, content.decode()),))


def _of_json_value(vr: str, value: Any) -> Any:
    if value is None:
        return ("", "", "") if vr == "PN" else ""
    if vr == "PN":
        return tuple(value.get(group, "").rstrip(" ^") for group in ("Alphabetic", "Ideographic", "Phonetic"))
    return _spelt(vr, value)


def of_xml(root: ElementTree.Element, fetch: Fetch, place: str = "") -> Iterator[tuple[str, Element]]:
    """The elements of a data set in the Native DICOM Model (PS3.19 Section A.1)."""
    for attribute in root:
        where, vr = f"{place}{attribute.attrib['tag']}", attribute.attrib["vr"]
        content = {child.tag.removeprefix(_NATIVE) for child in attribute}
        if vr == "SQ":
            items = [child for child in attribute if child.tag == f"{_NATIVE}Item"]
            yield where, Element("SQ", (len(items),))
            for number, item in enumerate(items):
                yield from of_xml(item, fetch, f"{where}[{number}].")
        elif "InlineBinary" in content:
            text = attribute.findtext(f"{_NATIVE}InlineBinary") or ""
            yield where, Element(vr, (base64.b64decode(text),))
        elif "BulkData" in content:
            bulk = attribute.find(f"{_NATIVE}BulkData")
            yield where, _of_bulk(vr, fetch("" if bulk is None else bulk.attrib["uri"]))
        elif vr == "PN":
            names = {int(name.attrib["number"]): _of_xml_name(name) for name in attribute}
            numbers = range(1, max(names, default=0) + 1)
            yield where, Element(vr, tuple(names.get(number, ("", "", "")) for number in numbers))
        else:
            # An empty value among others has no element of its own, only a number that is missing.
            texts = {int(value.attrib["number"]): value.text or "" for value in attribute}
            numbers = range(1, max(texts, default=0) + 1)
            yield where, Element(vr, tuple(_spelt(vr, texts.get(number, "")) for number in numbers))


def _of_xml_name(name: ElementTree.Element) -> tuple[str, ...]:
    components = ("FamilyName", "GivenName", "MiddleName", "NamePrefix", "NameSuffix")
    groups = (name.find(f"{_NATIVE}{group}") for group in ("Alphabetic", "Ideographic", "Phonetic"))
    return tuple(
        "" if group is None else "^".join(group.findtext(f"{_NATIVE}{part}") or "" for part in components).rstrip(" ^")
        for group in groups
    )
