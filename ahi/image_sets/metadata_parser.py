"""Parses names and values of image-set metadata into DICOM attributes. Runs in the FrameFetcher processes.

AHI names standard elements by keyword (dictionary of 2022b) and others by eight hex digits. It states no VR for
elements with a keyword. Its JSON has changed over the years: numbers are padded or not, one value is a scalar or an
array, and an empty value may be null. This module accepts all of these.
"""

import base64
import binascii
import re
from collections.abc import Iterable, Iterator, Mapping
from contextlib import suppress
from functools import lru_cache
from typing import Any

from pydicom.datadict import dictionary_VR, private_dictionary_VR, tag_for_keyword
from pydicom.valuerep import STANDARD_VR

from ahi.image_sets.element_vr import as_list, fits, other_vr
from dicomweb.data_set import Attribute, DataSet, splits
from dicomweb.dicom_json import BINARY_VRS, INTEGER_VRS, NUMBER_VRS
from dicomweb.pydicom_adapter import REPEATED_TAGS

_HEX_TAG = re.compile(r"[0-9A-Fa-f]{8}\Z")

# Elements whose first and third values are unsigned, even if the pixels are signed (PS3.3 Section C.11.1.1).
_LUT_DESCRIPTORS = frozenset({0x00281101, 0x00281102, 0x00281103, 0x00283002, 0x00281100})

_PIXELS = frozenset({0x7FE00008, 0x7FE00009, 0x7FE00010})
_DELIMITERS = 0xFFFE  # the group of items and delimiters, which are no elements

Vrs = Mapping[str, str]

AttributeMemo = dict[tuple[str, str | None, int, str], Attribute]
"""Attributes by name, stated VR, PixelRepresentation and JSON value: instances share equal attributes."""

_MAX_MEMO_TEXT = 1024
_MAX_NAMES = 20_000  # of elements; hostile metadata may have any number of others


def to_data_set(
    elements: Mapping[str, Any], private_vrs: Vrs, pixel_representation: int, memo: AttributeMemo | None = None
) -> DataSet:
    """Parse the attributes of one level or item, ascending by tag.

    Left out are group 0002, group lengths, pixel data, and stray items and delimiters (group FFFE). `private_vrs` are
    the VRs that the metadata states for elements without a keyword. `memo` lets instances share equal attributes.
    """
    attributes = {}
    creators = {name: value for name, value in elements.items() if name[4:6] == "00" and isinstance(value, str)}
    for name, value in elements.items():
        tag = _tag(name)
        if tag is None or _is_left_out(tag):
            continue
        stated = private_vrs.get(name)
        key = (name, stated, pixel_representation, repr(value)) if _can_be_shared(tag, stated, value) else None
        attribute = memo.get(key) if memo is not None and key else None
        if attribute is None:
            vr = _vr(name, tag, value, private_vrs, creators, pixel_representation)
            attribute = Attribute(f"{tag:08X}", vr, _value(vr, value, private_vrs, pixel_representation))
        if memo is not None and key:
            memo[key] = attribute
        attributes[tag] = attribute
    return tuple(attributes[tag] for tag in sorted(attributes))


def _is_left_out(tag: int) -> bool:
    group, element = tag >> 16, tag & 0xFFFF
    return group <= 0x0002 or group == _DELIMITERS or element == 0 or tag in _PIXELS


def _can_be_shared(tag: int, stated: str | None, value: Any) -> bool:
    """Whether an attribute depends on its name, stated VR and value alone, and is short."""
    if tag >> 16 & 1 and not stated:
        return False  # it depends on its private creator, too
    if isinstance(value, list):
        return len(value) < 64 and not any(isinstance(item, Mapping) for item in value)
    return not isinstance(value, Mapping) and not (isinstance(value, str) and len(value) > _MAX_MEMO_TEXT)


@lru_cache(_MAX_NAMES)
def _tag(name: str) -> int | None:
    if _HEX_TAG.match(name):
        return int(name, 16)
    return (tag_for_keyword(name) if name else None) or REPEATED_TAGS.get(
        name
    )  # pydicom has attributes without a keyword


def _vr(name: str, tag: int, value: Any, private_vrs: Vrs, creators: Mapping[str, str], signed: int) -> str:
    """Return the stated VR, else that of the dictionary, if the value fits it; else another VR that it fits."""
    stated, private = private_vrs.get(name), bool(tag >> 16 & 1)
    if stated and (vr := _settled_vr(tag, stated, value, signed)) in STANDARD_VR and fits(vr, value, private=False):
        return vr
    standard = _dictionary_vr(tag, creators.get(f"{tag >> 16:04X}{(tag >> 8) & 0xFF:04X}"))
    usual = _settled_vr(tag, standard, value, signed) if standard else None
    return usual if usual and fits(usual, value, private=private) else other_vr(usual, value, private=private)


def _dictionary_vr(tag: int, creator: str | None) -> str | None:
    try:
        if tag >> 16 & 1:
            if 0x10 <= tag & 0xFFFF <= 0xFF:
                return "LO"
            return private_dictionary_VR(tag, creator) if creator else None
        return dictionary_VR(tag)
    except KeyError:
        return None


def _settled_vr(tag: int, vr: str, value: Any, signed: int) -> str:
    """Return one VR where the dictionary leaves a choice (PS3.5 Annex A.1, PS3.6 Section 6)."""
    if " or " not in vr:
        return vr
    if isinstance(value, str) and "OW" in vr:
        return "OW"  # base64 text: the source had it as bytes
    if vr == "OB or OW":
        return "OW"
    if "SS" not in vr:
        return "US"
    numbers = [number for number in as_list(value) if isinstance(number, int)]
    if any(number < 0 for number in numbers):
        return "SS"
    if tag in _LUT_DESCRIPTORS or any(number > 0x7FFF for number in numbers):
        return "US"
    return "SS" if signed else "US"


def _value(
    vr: str, value: Any, private_vrs: Vrs, signed: int
) -> tuple[str | int | float, ...] | tuple[DataSet, ...] | bytes:
    if vr in BINARY_VRS:
        return _binary(value)
    if vr == "SQ":
        items = [item for item in as_list(value) if isinstance(item, Mapping)]
        return tuple(_item(item, private_vrs, signed) for item in items)
    if vr == "AT":
        return tuple(_attribute_tag(item) for item in _texts(vr, value))
    words = _texts(vr, value)
    if vr in NUMBER_VRS and vr not in ("DS", "IS"):
        return tuple(_numbers(words, int if vr in INTEGER_VRS else float))
    return words


def _item(item: Mapping[str, Any], private_vrs: Vrs, signed: int) -> DataSet:
    own = item.get("DICOMVRs")
    vrs = {**private_vrs, **own} if isinstance(own, Mapping) else private_vrs
    return to_data_set({name: value for name, value in item.items() if name != "DICOMVRs"}, vrs, signed)


def _binary(value: Any) -> bytes:
    """Decode base64 text. A value that AHI stores elsewhere (null or an object in the metadata) is empty."""
    if isinstance(value, list) and len(value) == 1:
        value = value[0]
    if not isinstance(value, str):
        return b""
    try:
        return base64.b64decode(value, validate=True)
    except binascii.Error:
        return value.encode()


def _texts(vr: str, value: Any) -> tuple[str | int | float, ...]:
    words: list[str | int | float] = []
    for item in as_list(value):
        if isinstance(item, str):
            words += item.split("\\") if splits(vr) else [item]
        elif isinstance(item, int | float):
            words.append(item)
        else:
            words.append("")
    stripped = tuple(word.strip(" \0") if isinstance(word, str) and splits(vr) else word for word in words)
    return () if all(word == "" for word in stripped) else stripped


def _numbers(words: Iterable[str | int | float], kind: type[int] | type[float]) -> Iterator[int | float]:
    """Yield the words that are numbers: binary VRs cannot hold others."""
    for word in words:
        with suppress(ValueError, OverflowError):
            yield kind(word)


def _attribute_tag(word: str | int | float) -> str:
    digits = f"{word:08X}" if isinstance(word, int) else re.sub(r"[^0-9A-Fa-f]", "", str(word))
    return digits.upper().zfill(8)
