"""Encoder for the Native DICOM Model (PS3.19 Annex A.1): from the DICOM JSON Model to an XML document."""

import re
from collections.abc import Iterator, Mapping
from typing import Any
from xml.sax.saxutils import escape, quoteattr

from pydicom.datadict import dictionary_has_tag, dictionary_keyword

from dicomweb.dicom_json import Element

_NAMESPACE = "http://dicom.nema.org/PS3.19/models/NativeDICOM"
_HEAD = f'<?xml version="1.0" encoding="UTF-8"?>\n<NativeDicomModel xmlns="{_NAMESPACE}" xml:space="preserve">'
_TAIL = "</NativeDicomModel>"

_NAME_GROUPS = ("Alphabetic", "Ideographic", "Phonetic")
_NAME_COMPONENTS = ("FamilyName", "GivenName", "MiddleName", "NamePrefix", "NameSuffix")
_NO_CHARACTERS = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")  # XML 1.0 Section 2.2
_REFERENCES = {"\r": "&#13;"}  # otherwise readers turn it into a line feed


def encode_xml(data_set: Mapping[str, Element]) -> bytes:
    """Encode one document in UTF-8; tags of `data_set` are 8 upper-case hex digits, ascending.

    A character that XML cannot hold becomes U+FFFD.
    """
    return "".join((_HEAD, *_attributes(data_set), _TAIL)).encode()


def _attributes(data_set: Mapping[str, Element]) -> Iterator[str]:
    for tag, element in data_set.items():
        yield f"<DicomAttribute{_names(tag, element['vr'], data_set)}>"
        yield from _content(element)
        yield "</DicomAttribute>"


def _names(tag: str, vr: str, data_set: Mapping[str, Element]) -> str:
    found = {"tag": tag, "vr": vr}
    if creator := _private_creator(tag, data_set):
        found["privateCreator"] = creator
    elif dictionary_has_tag(tag):
        found["keyword"] = dictionary_keyword(tag)
    return "".join(f" {name}={quoteattr(_characters(value))}" for name, value in found.items() if value)


def _private_creator(tag: str, data_set: Mapping[str, Element]) -> str | None:
    """The private creator of `tag`: the value of the element that reserves its block (PS3.5 Section 7.8)."""
    if int(tag[3], 16) % 2 == 0 or tag[4:6] == "00":
        return None
    values = data_set.get(f"{tag[:4]}00{tag[4:6]}", {}).get("Value", [])
    return str(values[0]) if values else None


def _content(element: Element) -> Iterator[str]:
    """The values, numbered from 1; an empty one keeps its number by its absence (PS3.19 Table A.1.5-2)."""
    if "InlineBinary" in element:
        yield f"<InlineBinary>{element['InlineBinary']}</InlineBinary>"
    if "BulkDataURI" in element:
        yield f"<BulkData uri={quoteattr(_characters(element['BulkDataURI']))}/>"
    for number, value in enumerate(element.get("Value", ()), 1):
        if element["vr"] == "SQ":
            yield f'<Item number="{number}">'
            yield from _attributes(value or {})
            yield "</Item>"
        elif element["vr"] == "PN":
            yield from _person_name(number, value or {})
        elif value is not None and value != "":
            yield f'<Value number="{number}">{_text(value)}</Value>'


def _person_name(number: int, groups: Mapping[str, str]) -> Iterator[str]:
    """A PN value by groups and components (PS3.19 Table A.1.5-2, PS3.5 Section 6.2.1)."""
    if not groups:
        return
    yield f'<PersonName number="{number}">'
    for group in _NAME_GROUPS:
        if text := groups.get(group):
            components = zip(_NAME_COMPONENTS, text.split("^", len(_NAME_COMPONENTS) - 1), strict=False)
            named = "".join(f"<{name}>{_text(part)}</{name}>" for name, part in components if part)
            yield f"<{group}>{named}</{group}>"
    yield "</PersonName>"


def _text(value: Any) -> str:
    return escape(_characters(str(value)), _REFERENCES)


def _characters(text: str) -> str:
    return _NO_CHARACTERS.sub("\ufffd", text)
