"""The value of a DICOM element as image-set metadata holds it: JSON, decoded from the bytes of the file.

pydicom parses the structure; values are taken from the bytes here, because AHI keeps the text of DS and IS as it was
written, and because one ill-formed value must not make a whole file unreadable.
"""

import base64
import struct
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from pydicom import Dataset
from pydicom.charset import convert_encodings, decode_bytes
from pydicom.dataelem import DataElement, RawDataElement
from pydicom.hooks import raw_element_vr
from pydicom.multival import MultiValue
from pydicom.valuerep import TEXT_VR_DELIMS
from pydicom.values import convert_SQ

from datastore.names import is_always_array, keyword

_CHARACTER_SET = 0x00080005
_LUT_DESCRIPTOR, _LUT_DATA = 0x00283002, 0x00283006
_PIXEL_REPRESENTATION = 0x00280103
_PIXELS = frozenset({0x7FE00008, 0x7FE00009, 0x7FE00010})
_OFFSET_TABLES = frozenset({0x7FE00001, 0x7FE00002, 0x7FE00003})  # of the encapsulated stream, which is taken apart

_NUMBERS = {"US": "H", "SS": "h", "UL": "I", "SL": "i", "UV": "Q", "SV": "q", "FL": "f", "FD": "d"}
_WORD_BYTES = {"OB": 1, "UN": 1, "OW": 2, "OF": 4, "OL": 4, "OD": 8, "OV": 8}
_ONE_TEXT = frozenset({"LT", "ST", "UT", "UR"})  # a backslash is a character (PS3.5 Section 6.2)
_OWN_CHARACTER_SET = frozenset({"LO", "LT", "PN", "SH", "ST", "UC", "UT"})
_KEPT_PADDING = frozenset({"DS", "IS"})

Json = Any
JsonObject = dict[str, Json]


@dataclass(frozen=True)
class Context:
    """What the meaning of an element's bytes depends on.

    `encodings` are Python's names for SpecificCharacterSet, `signed` is PixelRepresentation. `keep_padding` leaves the
    blanks of DS and IS; `max_inline_bytes` is the largest binary value that is written, None for any size.
    """

    encodings: tuple[str, ...] = ("iso8859",)
    signed: bool = False
    keep_padding: bool = True
    max_inline_bytes: int | None = None

    def inside(self, data_set: Dataset) -> "Context":
        """The same for the elements of a data set or an item; what it does not say itself is that of its parent."""
        encodings, signed = self.encodings, self.signed
        if _CHARACTER_SET in data_set:
            encodings = tuple(convert_encodings(_character_sets(data_set.get_item(_CHARACTER_SET))))
        representation = data_set.get_item(_PIXEL_REPRESENTATION) if _PIXEL_REPRESENTATION in data_set else None
        if representation is not None and len(_bytes(representation)) == 2:
            signed = _bytes(representation) != b"\0\0"
        return replace(self, encodings=encodings, signed=signed)


@dataclass(frozen=True)
class Element:
    """One element in metadata: the name that AHI gives it, its JSON value, and its VR, which hex names need."""

    tag: int
    name: str
    value: Json
    vr: str

    @property
    def needs_vr(self) -> bool:
        """Whether `DICOMVRs` has to tell its VR."""
        return keyword(self.tag) is None


def elements(data_set: Dataset, context: Context) -> list[Element]:
    """All elements of a data set or an item, ascending by tag, without group lengths and commands."""
    context = context.inside(data_set)
    found = []
    for tag in sorted(data_set.keys()):
        number = int(tag)
        if number & 0xFFFF == 0 or number >> 16 == 0 or number in _OFFSET_TABLES:
            continue
        item = data_set.get_item(tag)
        vr = _vr(item, data_set, context.signed)
        value = None if number in _PIXELS else _value(item, vr, context)
        found.append(Element(number, keyword(number) or f"{number:08X}", value, vr))
    return found


def named(found: Sequence[Element]) -> tuple[JsonObject, dict[str, str]]:
    """Elements as the objects `DICOM` and `DICOMVRs`."""
    return {each.name: each.value for each in found}, {each.name: each.vr for each in found if each.needs_vr}


def _vr(element: DataElement | RawDataElement, data_set: Dataset, signed: bool) -> str:
    if isinstance(element, RawDataElement):
        known: dict[str, str] = {}
        raw_element_vr(element, known, ds=data_set)
        vr = str(known["VR"])
    else:
        vr = str(element.VR)
    if " or " not in vr:
        return vr
    if element.tag == _LUT_DATA:
        return "US" if _lut_entries(data_set) == 1 else "OW"
    if "OW" in vr:
        return "OW"
    return "SS" if signed else "US"


def _lut_entries(data_set: Dataset) -> int | None:
    if _LUT_DESCRIPTOR not in data_set:
        return None
    content = _bytes(data_set.get_item(_LUT_DESCRIPTOR))
    return int.from_bytes(content[:2], "little")


def _value(element: DataElement | RawDataElement, vr: str, context: Context) -> Json:
    if vr == "SQ":
        return _items(element, context)
    content = _bytes(element)
    if not content:
        return None
    little_endian = not isinstance(element, RawDataElement) or element.is_little_endian
    if vr in _NUMBERS:
        return _shaped(_numbers(content, _NUMBERS[vr], little_endian), element.tag)
    if vr == "AT":
        return _shaped(_attribute_tags(content, little_endian), element.tag)
    if vr in _WORD_BYTES:
        return _binary(content, 1 if little_endian else _WORD_BYTES[vr], context.max_inline_bytes)
    return _shaped(_words(content, vr, context), element.tag)


def _items(element: DataElement | RawDataElement, context: Context) -> list[JsonObject] | None:
    items: Any = element.value
    if isinstance(element, RawDataElement):
        content = _bytes(element)
        # What stands in UN is always implicit VR little endian (PS3.5 Section 6.2.2).
        implicit, little = (True, True) if element.VR == "UN" else (element.is_implicit_VR, element.is_little_endian)
        items = convert_SQ(content, implicit, little, list(context.encodings)) if content else None
    return [_item(item, context) for item in items] if items else None


def _item(item: Dataset, context: Context) -> JsonObject:
    """An item; VRs of its private elements stand in it, since the instance's `DICOMVRs` could not tell items apart."""
    values, vrs = named(elements(item, context))
    return {**values, "DICOMVRs": vrs} if vrs else values


def _bytes(element: DataElement | RawDataElement) -> bytes:
    """The bytes of a value; those of the few that pydicom looks at while it reads a file are made again."""
    value = element.value
    if value is None:
        return b""
    if isinstance(value, bytes):
        return value
    values = list(value) if isinstance(value, MultiValue) else [value]
    if element.VR in _NUMBERS:
        return struct.pack(f"<{len(values)}{_NUMBERS[element.VR]}", *values)
    return "\\".join(map(str, values)).encode("iso8859", "replace")


def _character_sets(element: DataElement | RawDataElement) -> list[str]:
    return [word.strip(" \0") for word in _bytes(element).decode("iso8859").split("\\")]


def _numbers(content: bytes, letter: str, little_endian: bool) -> list[int | float | str]:
    """Numbers; bytes too many at the end are no number, and what JSON has no number for is text."""
    form = struct.Struct(("<" if little_endian else ">") + letter)
    whole = len(content) // form.size * form.size
    numbers = [number for (number,) in form.iter_unpack(content[:whole])]
    return numbers if letter not in "fd" else [_finite(number) for number in numbers]


def _finite(number: float) -> float | str:
    if number == number and abs(number) != float("inf"):
        return number
    return "NaN" if number != number else "Infinity" if number > 0 else "-Infinity"


def _attribute_tags(content: bytes, little_endian: bool) -> list[str]:
    pairs = struct.iter_unpack("<HH" if little_endian else ">HH", content[: len(content) // 4 * 4])
    return [f"{group:04X}{element:04X}" for group, element in pairs]


def _binary(content: bytes, word_bytes: int, max_inline_bytes: int | None) -> str | None:
    """Base64 of the bytes as Explicit VR Little Endian has them."""
    if max_inline_bytes is not None and len(content) > max_inline_bytes:
        return None
    if word_bytes > 1:
        whole = len(content) // word_bytes * word_bytes
        words = np.frombuffer(content[:whole], f">u{word_bytes}")
        content = words.astype(f"<u{word_bytes}").tobytes() + content[whole:]
    return base64.b64encode(content).decode()


def _words(content: bytes, vr: str, context: Context) -> list[str]:
    encodings = context.encodings if vr in _OWN_CHARACTER_SET else ("iso8859",)
    text = decode_bytes(content, encodings, TEXT_VR_DELIMS)
    if vr in _ONE_TEXT:
        return [text.rstrip(" \0")]
    if vr in _KEPT_PADDING and context.keep_padding:
        return [word.strip("\0") for word in text.split("\\")]
    return [word.strip(" \0") for word in text.split("\\")]


def _shaped(values: Sequence[Json], tag: int) -> Json:
    """An array where the dictionary allows several values or where there are some, else the value; null for empty."""
    if not values or all(isinstance(value, str) and not value.strip() for value in values):
        return None
    return list(values) if len(values) > 1 or is_always_array(tag) else values[0]
