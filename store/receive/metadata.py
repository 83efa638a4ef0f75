"""Metadata that come with their bulk data apart (PS3.18 Section 10.5.1.2): from JSON or XML to data sets.

Both forms become the DICOM JSON Model first, and its attributes then get the types of `dicomweb.data_set`.
"""

import base64
import binascii
import json
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any
from xml.etree.ElementTree import Element, ParseError, fromstring  # noqa: S405 - no entity is ever declared

from pydicom.datadict import dictionary_has_tag, dictionary_VR
from pydicom.valuerep import STANDARD_VR

from dicomweb.data_set import Attribute, DataSet
from dicomweb.dicom_json import BINARY_VRS, INTEGER_VRS
from store.receive.part10 import CannotUnderstand

_TAG = re.compile(r"[0-9A-Fa-f]{8}\Z", re.ASCII)
_NAMESPACE = re.compile(r"\{[^}]*\}")
_DECLARATIONS = re.compile(r"<!(?:DOCTYPE|ENTITY)", re.IGNORECASE)
_DEEPEST = 50
_MOST_EMPTY = 64  # values of an attribute that XML leaves out
_MOST_MARKS = 1_000_000  # of JSON that begin or part values; as tags of XML, half of that
_JSON_MARKS = (b"{", b"[", b",")
_FLOATS = frozenset({"FL", "FD"})
_NUMBERS = INTEGER_VRS - {"IS"} | _FLOATS
_NAME_GROUPS = ("Alphabetic", "Ideographic", "Phonetic")
_NAME_COMPONENTS = ("FamilyName", "GivenName", "MiddleName", "NamePrefix", "NameSuffix")
_MALFORMED = "its metadata are malformed"
_NESTED_BULK = "bulk data within sequences cannot be stored"


@dataclass(frozen=True)
class Metadata:
    """The metadata of one instance. Attributes with bulk data have the URI of each in `bulk`, and no value."""

    attributes: DataSet
    bulk: Mapping[str, str]
    stated_syntax: str
    """The transfer syntax that the metadata name, "" if they name none."""

    def text(self, tag: str) -> str:
        """The first value of an attribute, "" if it has none."""
        words = next((attribute.words for attribute in self.attributes if attribute.tag == tag), ())
        return str(words[0]) if words else ""


def parse_json(content: bytes) -> list[Mapping[str, Any]]:
    """The objects of DICOM JSON, one for each instance; CannotUnderstand if it is something else."""
    if sum(map(content.count, _JSON_MARKS)) > _MOST_MARKS:
        raise CannotUnderstand("the metadata have too many values: send fewer instances in one request")
    try:
        document = json.loads(content.decode("utf-8-sig"))
    except (ValueError, RecursionError):
        raise CannotUnderstand("the metadata are not JSON in UTF-8") from None
    documents = document if isinstance(document, list) else [document]
    if not documents or not all(isinstance(one, dict) for one in documents):
        raise CannotUnderstand("the metadata are not an array of JSON objects")
    return documents


def parse_xml(content: bytes) -> list[Mapping[str, Any]]:
    """The same of a document of the Native DICOM Model (PS3.19 Annex A.1), which is one instance."""
    if content.count(b"<") > _MOST_MARKS // 2:
        raise CannotUnderstand("the metadata have too many values: send fewer instances in one request")
    try:
        text = content.decode("utf-8-sig")
        if _DECLARATIONS.search(text):
            raise CannotUnderstand("the metadata declare entities or a document type")
        root = fromstring(text)  # noqa: S314 - as above
    except (ValueError, ParseError, RecursionError):
        raise CannotUnderstand("the metadata are not XML in UTF-8") from None
    if _name(root) != "NativeDicomModel":
        raise CannotUnderstand("the metadata are not a Native DICOM Model")
    try:
        return [_object(root, 0)]
    except ValueError:
        raise CannotUnderstand(_MALFORMED) from None


def to_metadata(document: Mapping[str, Any]) -> Metadata:
    """The metadata of one instance; CannotUnderstand if an attribute is malformed."""
    try:
        bulk = {
            tag.upper(): str(element["BulkDataURI"])
            for tag, element in document.items()
            if isinstance(element, dict) and "BulkDataURI" in element and _is_of_data_set(tag)
        }
        inline = {tag: element for tag, element in document.items() if tag.upper() not in bulk}
        found = _attributes(inline, 0)
        empty = (Attribute(tag, _vr(tag, document[key]), b"") for key in document if (tag := key.upper()) in bulk)
        attributes = _sorted((*found, *empty))
    except (ValueError, TypeError, AttributeError, OverflowError, LookupError):
        raise CannotUnderstand(_MALFORMED) from None
    stated = (_first(document, tag) for tag in ("00020010", "00083002"))
    return Metadata(attributes, bulk, next(filter(None, stated), ""))


def _first(document: Mapping[str, Any], tag: str) -> str:
    element = document.get(tag)
    values = element.get("Value") if isinstance(element, dict) else None
    return values[0] if isinstance(values, list) and values and isinstance(values[0], str) else ""


def _attributes(document: Mapping[str, Any], depth: int) -> DataSet:
    """The attributes of one level, in the order of their tags. File Meta Information and group lengths are left out."""
    if depth > _DEEPEST:
        raise CannotUnderstand("its sequences are nested too deep")
    found = []
    for key, element in document.items():
        tag = key.upper()
        if _is_of_data_set(tag):
            found.append(Attribute(tag, vr := _vr(tag, element), _value(vr, element, depth)))
    return _sorted(found)


def _is_of_data_set(tag: str) -> bool:
    if not _TAG.match(tag):
        raise CannotUnderstand(_MALFORMED)
    return not tag.startswith(("0000", "0002", "FFFE")) and not tag.endswith("0000")


def _sorted(attributes: Iterable[Attribute]) -> DataSet:
    """The attributes in the order of their tags; CannotUnderstand if one is there twice."""
    found = sorted(attributes, key=lambda attribute: attribute.tag)
    if len({attribute.tag for attribute in found}) < len(found):
        raise CannotUnderstand(_MALFORMED)
    return tuple(found)


def _vr(tag: str, element: Mapping[str, Any]) -> str:
    stated = element.get("vr")
    if stated is None:
        stated = dictionary_VR(int(tag, 16)) if dictionary_has_tag(tag) else "UN"
    vr = str(stated).partition(" ")[0]  # pydicom writes `OB or OW` for what was never encoded
    if vr not in STANDARD_VR:
        raise CannotUnderstand(_MALFORMED)
    return vr


def _value(vr: str, element: Mapping[str, Any], depth: int) -> Any:
    if "BulkDataURI" in element:
        raise CannotUnderstand(_NESTED_BULK)
    if "InlineBinary" in element:
        return _binary(element["InlineBinary"])
    values = element.get("Value") or []
    if not isinstance(values, list):
        raise CannotUnderstand(_MALFORMED)
    if vr == "SQ":
        return tuple(_attributes(item or {}, depth + 1) for item in values)
    if vr in BINARY_VRS:
        if values:
            raise CannotUnderstand(_MALFORMED)
        return b""
    return tuple(_word(vr, value) for value in values)


def _binary(text: Any) -> bytes:
    try:
        return base64.b64decode(text, validate=True)
    except (binascii.Error, TypeError):
        raise CannotUnderstand(_MALFORMED) from None


def _word(vr: str, value: Any) -> str | int | float:
    """One value, as the encoder takes it."""
    if value is None:
        return ""
    if vr == "PN":
        groups = [value] if isinstance(value, str) else [value.get(group) or "" for group in _NAME_GROUPS]
        return "=".join(groups).rstrip("=")
    if vr in _NUMBERS:
        return float(value) if vr in _FLOATS else int(value)
    if isinstance(value, bool) or not isinstance(value, str | int | float):
        raise CannotUnderstand(_MALFORMED)
    return value if isinstance(value, str) else str(value)


def _object(model: Element, depth: int) -> dict[str, Any]:
    """A data set or an item of the Native DICOM Model, in the DICOM JSON Model."""
    if depth > _DEEPEST:
        raise CannotUnderstand("its sequences are nested too deep")
    return {
        attribute.get("tag", ""): _element(attribute, depth)
        for attribute in model
        if _name(attribute) == "DicomAttribute"
    }


def _element(attribute: Element, depth: int) -> dict[str, Any]:
    element: dict[str, Any] = {"vr": attribute.get("vr")}
    for child in attribute:
        if _name(child) == "BulkData":
            element["BulkDataURI"] = child.get("uri") or child.get("uuid") or ""
        elif _name(child) == "InlineBinary":
            element["InlineBinary"] = "".join((child.text or "").split())
    values = dict(_numbered(attribute, depth))
    if values:
        element["Value"] = [values.get(number) for number in range(1, max(values) + 1)]
    return element


def _numbered(attribute: Element, depth: int) -> Iterator[tuple[int, Any]]:
    """The values by their numbers; those that are left out are empty."""
    for place, child in enumerate(attribute, 1):
        number = int(child.get("number") or place)
        if not 0 < number <= len(attribute) + _MOST_EMPTY:
            raise CannotUnderstand(_MALFORMED)
        if _name(child) == "Item":
            yield number, _object(child, depth + 1)
        elif _name(child) == "PersonName":
            yield number, {_name(group): _person(group) for group in child}
        elif _name(child) == "Value":
            yield number, child.text or ""


def _person(group: Element) -> str:
    parts = {_name(part): part.text or "" for part in group}
    return "^".join(parts.get(name, "") for name in _NAME_COMPONENTS).rstrip("^")


def _name(element: Element) -> str:
    return _NAMESPACE.sub("", element.tag)
