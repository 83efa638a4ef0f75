"""Data sets as the tests of pictures need them, in the form in which the proxy holds them."""

import struct
import warnings
from io import BytesIO
from typing import Any

from pydicom import Dataset
from pydicom.filebase import DicomFileLike
from pydicom.filewriter import write_dataset

from wado.rendering.values import parse_head


def head(data_set: Dataset) -> bytes:
    """Explicit VR Little Endian, sequences of defined length, as a prepared image set has it."""
    buffer = BytesIO()
    file = DicomFileLike(buffer)
    file.is_implicit_VR, file.is_little_endian = False, True
    write_dataset(file, data_set)
    return buffer.getvalue()


def through(data_set: Dataset) -> Dataset:
    """The data set as it arrives in a fetcher."""
    return parse_head(head(data_set))


def made(**attributes: Any) -> Dataset:
    """A data set of these attributes."""
    data_set = Dataset()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # hostile values are values too
        for keyword, value in attributes.items():
            setattr(data_set, keyword, value)
    return data_set


def code(meaning: str, value: str = "1", scheme: str = "99TEST") -> Dataset:
    """A coded entry."""
    return made(CodeValue=value, CodingSchemeDesignator=scheme, CodeMeaning=meaning)


def content(kind: str, concept: str = "", **attributes: Any) -> Dataset:
    """A content item."""
    item = made(ValueType=kind, **attributes)
    if concept:
        item.ConceptNameCodeSequence = [code(concept)]
    return item


def nested(levels: int) -> bytes:
    """A content tree of one item in another, `levels` deep, that no recursive writer could make."""
    text = _element(0x0040, 0xA040, b"CS", b"CONTAINER ")
    inner = text
    for _ in range(levels):
        item = struct.pack("<HHI", 0xFFFE, 0xE000, len(inner)) + inner
        inner = text + _element(0x0040, 0xA730, b"SQ", item)
    return inner


def _element(group: int, element: int, vr: bytes, value: bytes) -> bytes:
    tag = struct.pack("<HH", group, element) + vr
    return tag + (struct.pack("<HI", 0, len(value)) if vr == b"SQ" else struct.pack("<H", len(value))) + value
