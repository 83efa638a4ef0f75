"""The value of a DICOM element as image-set metadata holds it: JSON, decoded from the bytes of the file.

pydicom parses the structure. Values are decoded from the bytes here, because AHI keeps the text of DS and IS as it was
written, and because one malformed value must not make a whole file unreadable. Unreadable values become findings.
"""

import struct
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

from pydicom import Dataset
from pydicom.charset import convert_encodings, decode_bytes, default_encoding, python_encoding
from pydicom.datadict import dictionary_VR
from pydicom.dataelem import DataElement, RawDataElement
from pydicom.hooks import raw_element_vr
from pydicom.multival import MultiValue
from pydicom.valuerep import TEXT_VR_DELIMS, VR
from pydicom.values import convert_SQ

from datastore.findings import FindingKind, Findings
from datastore.importing.element_names import keyword
from datastore.importing.json_values import Json, JsonObject, attribute_tags, binary, numbers, shaped

_CHARACTER_SET = 0x00080005
_LUT_DESCRIPTOR, _LUT_DATA = 0x00283002, 0x00283006
_DESCRIPTORS = frozenset({0x00281100, 0x00281101, 0x00281102, 0x00281103, _LUT_DESCRIPTOR})
_VOI_LUTS = 0x00283010
_PIXEL_REPRESENTATION = 0x00280103
_RESCALE_INTERCEPT = 0x00281052
_DELIMITERS = 0xFFFE  # a group
_ITEM_STARTS = {True: (b"\xfe\xff\x00\xe0", b"\xfe\xff\xdd\xe0"), False: (b"\xff\xfe\xe0\x00", b"\xff\xfe\xe0\xdd")}
"""The first bytes of a sequence, an item or its end, by whether it is little endian."""

_KNOWN_VRS = frozenset(str(vr) for vr in VR if " or " not in str(vr))
_PIXELS = frozenset({0x7FE00008, 0x7FE00009, 0x7FE00010})
_OFFSET_TABLES = frozenset({0x7FE00001, 0x7FE00002, 0x7FE00003})  # of an encapsulated stream, which is split

_NUMBERS = {"US": "H", "SS": "h", "UL": "I", "SL": "i", "UV": "Q", "SV": "q", "FL": "f", "FD": "d"}
_WORD_BYTES = {"OB": 1, "UN": 1, "OW": 2, "OF": 4, "OL": 4, "OD": 8, "OV": 8}
_ONE_TEXT = frozenset({"LT", "ST", "UT", "UR"})  # a backslash is a character (PS3.5 Section 6.2)
_OWN_CHARACTER_SET = frozenset({"LO", "LT", "PN", "SH", "ST", "UC", "UT"})
_GB_2312, _GB_2312_ESCAPE = "iso_ir_58", "\x1b$)A"
_KEPT_PADDING = frozenset({"DS", "IS"})


@dataclass(frozen=True)
class Context:
    """The facts that the meaning of the bytes of an element depends on.

    `encodings` are Python's names for SpecificCharacterSet, `signed` is PixelRepresentation, `below_zero` whether
    rescaled values can be negative, `in_voi_lut` whether these are elements of a VOI LUT. `keep_padding` keeps the
    blanks of DS and IS; `max_inline_bytes` is the largest binary value that is written, None for any size. `path` leads
    to the item of these elements; `stated` has the names whose VR is stated further up.
    """

    findings: Findings
    encodings: tuple[str, ...] = ("iso8859",)
    signed: bool = False
    below_zero: bool = False
    in_voi_lut: bool = False
    keep_padding: bool = True
    max_inline_bytes: int | None = None
    path: str = ""
    stated: frozenset[str] = frozenset()

    def inside(self, data_set: Dataset) -> "Context":
        """The context for the elements of a data set or item, which inherits from its parent."""
        encodings, signed, below_zero = self.encodings, self.signed, self.below_zero
        if _CHARACTER_SET in data_set:
            encodings = self._encodings(_character_sets(data_set.get_item(_CHARACTER_SET)))
        representation = data_set.get_item(_PIXEL_REPRESENTATION) if _PIXEL_REPRESENTATION in data_set else None
        if representation is not None and len(_bytes(representation)) == 2:
            signed = _bytes(representation) != b"\0\0"
        if _RESCALE_INTERCEPT in data_set:
            below_zero = _bytes(data_set.get_item(_RESCALE_INTERCEPT)).lstrip().startswith(b"-")
        return replace(self, encodings=encodings, signed=signed, below_zero=below_zero)

    def add_finding(self, kind: FindingKind, tag: int, reason: str) -> None:
        """Add a finding about an element."""
        self.findings.add(kind, f"{self.path}{keyword(tag) or f'{tag:08X}'}", reason)

    def _encodings(self, names: list[str]) -> tuple[str, ...]:
        found = tuple(convert_encodings(names))
        unknown = (
            name not in python_encoding and other == default_encoding for name, other in zip(names, found, strict=False)
        )
        if any(unknown):
            self.add_finding(FindingKind.TEXT_REPLACED, _CHARACTER_SET, "it is unknown; texts are read as ISO_IR 100")
        return found


@dataclass(frozen=True)
class Element:
    """One element in metadata: the name that AHI gives it, its JSON value and its VR.

    `needs_vr`: `DICOMVRs` has to state the VR, because the name is hex digits, or because the VR is not the one of the
    dictionary and PixelRepresentation.
    """

    tag: int
    name: str
    value: Json
    vr: str
    needs_vr: bool


def elements(data_set: Dataset, context: Context) -> list[Element]:
    """All elements of a data set or an item, ascending by tag, without group lengths and commands."""
    context = context.inside(data_set)
    kept = []
    for tag in sorted(data_set.keys()):
        number, name = int(tag), keyword(int(tag)) or f"{int(tag):08X}"
        if number & 0xFFFF == 0 or number >> 16 == 0 or number in _OFFSET_TABLES:
            continue
        if number >> 16 == _DELIMITERS:
            context.add_finding(FindingKind.STRAY, number, "a delimiter where none belongs")
            continue
        item = data_set.get_item(tag)
        vr = _vr(item, data_set, context)
        kept.append((number, name, item, vr, name in context.stated or not _is_usual(number, vr, context.signed)))
    stated = context.stated | {name for _, name, _, _, needs_vr in kept if needs_vr}
    context = replace(context, stated=stated)
    return [
        Element(number, name, _value_or_none(number, item, vr, context), vr, needs_vr)
        for number, name, item, vr, needs_vr in kept
    ]


def _is_usual(tag: int, vr: str, signed: bool) -> bool:
    """Whether a reader that knows only the name and PixelRepresentation would assume this VR."""
    if keyword(tag) is None:
        return False
    choices = dictionary_VR(tag).split(" or ")
    if vr in ("US", "SS") and {"US", "SS"} <= set(choices):
        return (vr == "SS") == (signed and tag not in _DESCRIPTORS)
    return vr in choices


def _value_or_none(tag: int, item: DataElement | RawDataElement, vr: str, context: Context) -> Json:
    """The value; None for pixels, which are stored as frames or not kept, and for unreadable values."""
    if tag in _PIXELS:
        if context.path:
            context.add_finding(FindingKind.VALUE_LEFT_OUT, tag, "pixels inside of a sequence are not kept")
        return None
    try:
        return _value(item, vr, context)
    except RecursionError:
        raise
    except Exception as error:  # noqa: BLE001 - hostile bytes end in any kind of error
        context.add_finding(FindingKind.VALUE_UNREADABLE, tag, f"it cannot be read as {vr} ({type(error).__name__})")
        return None


def named_elements(found: Sequence[Element]) -> tuple[JsonObject, dict[str, str]]:
    """The objects `DICOM` and `DICOMVRs` of elements."""
    return {each.name: each.value for each in found}, {each.name: each.vr for each in found if each.needs_vr}


def _vr(element: DataElement | RawDataElement, data_set: Dataset, context: Context) -> str:
    if isinstance(element, RawDataElement):
        known: dict[str, str] = {}
        raw_element_vr(element, known, ds=data_set)
        vr = str(known["VR"])
    else:
        vr = str(element.VR)
    if " or " not in vr:
        if vr not in _KNOWN_VRS:
            context.add_finding(FindingKind.VALUE_REPLACED, int(element.tag), "its VR does not exist and is UN now")
        return vr if vr in _KNOWN_VRS else "UN"
    if element.tag in _DESCRIPTORS:
        return _descriptor_vr(element, context)
    if element.tag == _LUT_DATA:
        return "US" if _lut_entries(data_set) == 1 else "OW"
    if "OW" in vr:
        return "OW"
    return "SS" if context.signed else "US"


def _descriptor_vr(element: DataElement | RawDataElement, context: Context) -> str:
    """The VR of a LUT descriptor: signed if its first input value is, which implicit VR does not state.

    Inputs of a VOI LUT are rescaled values (PS3.3 Section C.11.2.1.1); a LUT of more than 32,767 entries has to be
    unsigned.
    """
    content = _bytes(element)
    order = "<" if not isinstance(element, RawDataElement) or element.is_little_endian else ">"
    signed = context.signed or (context.in_voi_lut and context.below_zero)
    if not signed or len(content) < 4:
        return "SS" if context.signed else "US"
    entries, first = struct.unpack(f"{order}HH", content[:4])
    return "SS" if first > 0x7FFF and entries <= 0x7FFF else "US"


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
    size = 4 if vr == "AT" else struct.calcsize(f"={_NUMBERS[vr]}") if vr in _NUMBERS else 1
    if len(content) % size:
        context.add_finding(
            FindingKind.VALUE_UNREADABLE, int(element.tag), f"{len(content) % size} bytes too many for {vr}"
        )
    if vr in _NUMBERS:
        return shaped(numbers(content, _NUMBERS[vr], little_endian), element.tag)
    if vr == "AT":
        return shaped(attribute_tags(content, little_endian), element.tag)
    if vr in _WORD_BYTES:
        if context.max_inline_bytes is not None and len(content) > context.max_inline_bytes:
            context.add_finding(
                FindingKind.VALUE_LEFT_OUT, int(element.tag), f"{len(content)} bytes are too many for the metadata"
            )
            return None
        return binary(content, 1 if little_endian else _WORD_BYTES[vr])
    words = _words(content, vr, context)
    if any("\ufffd" in word for word in words) and b"\xef\xbf\xbd" not in content:
        context.add_finding(
            FindingKind.TEXT_REPLACED, int(element.tag), "characters that its character set does not have"
        )
    return shaped(words, element.tag)


def _items(element: DataElement | RawDataElement, context: Context) -> list[JsonObject] | None:
    items: Any = _parsed(element, context) if isinstance(element, RawDataElement) else element.value
    name = keyword(int(element.tag)) or f"{int(element.tag):08X}"
    inside = replace(context, in_voi_lut=element.tag == _VOI_LUTS)
    found = [
        _item(item, replace(inside, path=f"{context.path}{name}/{number}/")) for number, item in enumerate(items, 1)
    ]
    return found or None


def _parsed(element: RawDataElement, context: Context) -> Sequence[Dataset]:
    """The items in the bytes of a sequence; pydicom would take any bytes for an item."""
    content = _bytes(element)
    # A sequence in UN is always implicit VR little endian (PS3.5 Section 6.2.2).
    implicit, little = (True, True) if element.VR == "UN" else (element.is_implicit_VR, element.is_little_endian)
    if content and not content.startswith(_ITEM_STARTS[little]):
        context.add_finding(FindingKind.VALUE_UNREADABLE, int(element.tag), "it has no items that could be read")
        return ()
    return convert_SQ(content, implicit, little, list(context.encodings)) if content else ()


def _item(item: Dataset, context: Context) -> JsonObject:
    """An item with its own `DICOMVRs`, because those of the instance could not tell items apart."""
    values, vrs = named_elements(elements(item, context))
    return {**values, "DICOMVRs": vrs} if vrs else values


def _bytes(element: DataElement | RawDataElement) -> bytes:
    """The bytes of a value; those that pydicom converted while it read the file are encoded again."""
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


def _words(content: bytes, vr: str, context: Context) -> list[str]:
    encodings = context.encodings if vr in _OWN_CHARACTER_SET else ("iso8859",)
    text = decode_bytes(content, encodings, TEXT_VR_DELIMS)
    if _GB_2312 in encodings:
        text = text.replace(_GB_2312_ESCAPE, "")  # pydicom takes it for a part of the text
    if vr in _ONE_TEXT:
        return [text.rstrip(" \0")]
    if vr in _KEPT_PADDING and context.keep_padding:
        return [word.strip("\0") for word in text.split("\\")]
    return [word.strip(" \0") for word in text.split("\\")]
