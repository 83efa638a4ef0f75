"""The head of a DICOM file (PS3.10 Section 7.1): what identifies it, and whether the file is whole.

Values are skipped and not read, apart from a few. So a file of any size is examined in little time and memory.
"""

import re
import struct
import zlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from io import BytesIO

from pydicom.filereader import read_dataset

from dicomweb.dicom_json import DataSet
from store.receive.file_bytes import Bytes, MemoryBytes

_PREFIX_START, _PREFIX = 128, b"DICM"
_IMPLICIT, _BIG_ENDIAN, _DEFLATED = "1.2.840.10008.1.2", "1.2.840.10008.1.2.2", "1.2.840.10008.1.2.1.99"
_CLASS, _INSTANCE, _STUDY, _SERIES, _CHARSET = 0x00080016, 0x00080018, 0x0020000D, 0x0020000E, 0x00080005
_IDENTIFYING = frozenset({_CLASS, _INSTANCE, _STUDY, _SERIES, _CHARSET})
_META_CLASS, _META_INSTANCE, _META_SYNTAX = 0x00020002, 0x00020003, 0x00020010
_META_GROUP = b"\x02\0"
_PIXELS = frozenset({0x7FE00008, 0x7FE00009, 0x7FE00010})
_ITEM, _ITEM_END, _SEQUENCE_END = 0xFFFEE000, 0xFFFEE00D, 0xFFFEE0DD
_UNDEFINED = 0xFFFFFFFF
_LONG_VRS = frozenset(
    vr.encode() for vr in ("OB", "OD", "OF", "OL", "OV", "OW", "SQ", "SV", "UC", "UN", "UR", "UT", "UV")
)

_UNDEFINED_VRS = frozenset({b"", b"SQ", b"UN"})
_VR = re.compile(rb"[A-Z]{2}")
_TWICE = "an element that identifies it is there twice"

_MOST_ELEMENTS = 300_000  # what comes after so many is not examined
_DEEPEST = 200  # sequences in sequences
_LONGEST_VALUE = 2**16  # of those that are read
_BLOCK_BYTES = 2**16
_INFLATED_BYTES = 2**22  # so much of a deflated data set is examined


class CannotUnderstand(Exception):
    """The bytes are not a whole DICOM file; the text says why, without content of the file.

    `head` is what was read before that was found; None if the file has no File Meta Information.
    """

    head: "FileHead | None" = None


@dataclass(frozen=True)
class Encoding:
    """How the elements of a data set are encoded (PS3.5 Section 7.1)."""

    explicit: bool = True
    little_endian: bool = True


@dataclass(frozen=True)
class _Element:
    """The head of an element; its value begins at `value_start`. `length` may be undefined."""

    tag: int
    vr: bytes
    start: int
    value_start: int
    length: int


@dataclass(frozen=True)
class FileHead:
    """What identifies a DICOM file. UIDs are as the file has them, "" where they are missing."""

    transfer_syntax_uid: str
    meta_class_uid: str
    meta_instance_uid: str
    encoding: Encoding
    elements: Mapping[int, tuple[bytes, bytes]] = field(repr=False)
    """Elements that were read, by tag: the head, and the value."""

    @property
    def sop_class_uid(self) -> str:
        return self._uid(_CLASS)

    @property
    def sop_instance_uid(self) -> str:
        return self._uid(_INSTANCE)

    @property
    def study_instance_uid(self) -> str:
        return self._uid(_STUDY)

    @property
    def series_instance_uid(self) -> str:
        return self._uid(_SERIES)

    @cached_property
    def data_set(self) -> DataSet:
        """The elements that were read, in the DICOM JSON Model."""
        content = BytesIO(b"".join(b"".join(self.elements[tag]) for tag in sorted(self.elements)))
        data_set = read_dataset(content, not self.encoding.explicit, self.encoding.little_endian)
        found: DataSet = data_set.to_json_dict(suppress_invalid_tags=True)
        return found

    def _uid(self, tag: int) -> str:
        return _text(self.elements[tag][1]) if tag in self.elements else ""


def read_head(file: Bytes, start: int, stop: int, wanted: Iterable[int] = ()) -> FileHead:
    """Read the head of the file in a range of bytes, and values of further tags of its data set.

    CannotUnderstand if it is no DICOM file, breaks off before its end, has no transfer syntax, or has one of the tags
    twice. With `wanted`, also if it is too long to be examined to its end: rights depend on these values.
    """
    preamble = file.read(start, min(_PREFIX_START + len(_PREFIX), stop - start))  # from its start: all of it is read
    if preamble[_PREFIX_START:] != _PREFIX:
        raise CannotUnderstand("it is not a DICOM file (Part 10)")
    meta, at = _meta(_Reader(file, stop, Encoding()), start + _PREFIX_START + len(_PREFIX))
    syntax = meta.get(_META_SYNTAX, "")
    if not syntax:
        raise CannotUnderstand("its File Meta Information names no transfer syntax")
    tags = {*_IDENTIFYING, *wanted}
    is_explicit = syntax == _DEFLATED or _is_explicit(file, at, stop)
    elements: dict[int, tuple[bytes, bytes]] = {}
    head = FileHead(
        syntax,
        meta.get(_META_CLASS, ""),
        meta.get(_META_INSTANCE, ""),
        Encoding(is_explicit, syntax != _BIG_ENDIAN),
        elements,
    )
    try:
        examine = _examine_deflated if syntax == _DEFLATED else _examine_plain
        if not examine(file, at, stop, head.encoding, tags, elements) and not tags <= _IDENTIFYING:
            raise CannotUnderstand("it has too many elements to be checked")
    except CannotUnderstand as error:
        error.head = head
        raise
    return head


class _Reader:
    """Reads heads of elements from a range of bytes, which ends at `stop`."""

    def __init__(self, file: Bytes, stop: int, encoding: Encoding) -> None:
        self._file = file
        self.stop = stop
        order = "<" if encoding.little_endian else ">"
        self._explicit = encoding.explicit
        self._tag, self._short, self._long = (struct.Struct(order + letters) for letters in ("HH", "H", "I"))
        self._count = 0

    def element(self, at: int, explicit: bool | None = None) -> _Element:
        """The element at a position; CannotUnderstand if it is cut off."""
        self._count += 1
        head = self._file.read(at, min(12, self.stop - at))
        if len(head) < 8:
            raise CannotUnderstand("it breaks off before its end")
        group, number = self._tag.unpack_from(head)
        tag, vr = group << 16 | number, head[4:6]
        if tag in (_ITEM, _ITEM_END, _SEQUENCE_END) or not (self._explicit if explicit is None else explicit):
            return self._checked(_Element(tag, b"", at, at + 8, self._long.unpack_from(head, 4)[0]))
        if not (vr.isalpha() and vr.isupper()):
            raise CannotUnderstand("an element has no value representation")
        if vr not in _LONG_VRS:
            return self._checked(_Element(tag, vr, at, at + 8, self._short.unpack_from(head, 6)[0]))
        if len(head) < 12:
            raise CannotUnderstand("it breaks off before its end")
        return self._checked(_Element(tag, vr, at, at + 12, self._long.unpack_from(head, 8)[0]))

    def has_any(self, tags: Iterable[int], at: int) -> bool:
        """Whether the bytes from a position on have one of these tags, whatever they are otherwise."""
        texts = [self._tag.pack(tag >> 16, tag & 0xFFFF) for tag in tags]
        while at < self.stop:
            block = self._file.read(at, min(_BLOCK_BYTES + 3, self.stop - at))
            if any(text in block for text in texts):
                return True
            at += _BLOCK_BYTES
        return False

    def begins_with(self, at: int, text: bytes) -> bool:
        """Whether these bytes come next."""
        return self._file.read(at, min(len(text), self.stop - at)) == text

    @property
    def is_tired(self) -> bool:
        """Whether so many elements have been read that the rest is left alone."""
        return self._count > _MOST_ELEMENTS

    def value(self, element: _Element) -> bytes:
        """The value of an element of a defined length; b"" if it is too long to be read."""
        return self._file.read(element.value_start, element.length) if element.length <= _LONGEST_VALUE else b""

    def read(self, element: _Element) -> tuple[bytes, bytes]:
        """The bytes of the head and of the value of an element."""
        return self._file.read(element.start, element.value_start - element.start), self.value(element)

    def end(self, element: _Element) -> int:
        """The position after an element and all that is in it."""
        if element.length != _UNDEFINED:
            return element.value_start + element.length
        if element.vr not in _UNDEFINED_VRS and element.tag not in _PIXELS:
            raise CannotUnderstand("an element has an undefined length and is no sequence")
        at, levels = element.value_start, [element.vr != b"UN" and self._explicit]
        while levels and not self.is_tired:
            inner = self.element(at, levels[-1])
            at = inner.value_start
            if inner.tag in (_ITEM_END, _SEQUENCE_END):
                levels.pop()
            elif inner.length != _UNDEFINED:
                at += inner.length
            elif len(levels) >= _DEEPEST:
                raise CannotUnderstand("its sequences are nested too deep")
            else:
                levels.append(levels[-1] and inner.vr != b"UN")
        return at

    def _checked(self, element: _Element) -> _Element:
        if element.length != _UNDEFINED and element.value_start + element.length > self.stop:
            raise CannotUnderstand("it breaks off before its end")
        return element


def _meta(reader: _Reader, at: int) -> tuple[dict[int, str], int]:
    """The texts of the File Meta Information, and where it ends: at the first element of another group."""
    found: dict[int, str] = {}
    while reader.begins_with(at, _META_GROUP) and not reader.is_tired:
        element = reader.element(at)
        if element.length == _UNDEFINED:
            raise CannotUnderstand("its File Meta Information is malformed")
        found[element.tag] = _text(reader.value(element))
        at = element.value_start + element.length
    return found, at


def _examine_plain(
    file: Bytes, start: int, stop: int, encoding: Encoding, tags: set[int], found: dict[int, tuple[bytes, bytes]]
) -> bool:
    """See `_examine`."""
    return _examine(_Reader(file, stop, encoding), start, tags, found)


def _examine(reader: _Reader, at: int, tags: set[int], found: dict[int, tuple[bytes, bytes]]) -> bool:
    """Put the elements of these tags in a data set into `found`; whether all of it was examined.

    CannotUnderstand if one is there twice: other readers may take the other one, and store it in another study.
    """
    seen: set[int] = set()
    is_behind_pixels = False
    while at < reader.stop and not reader.is_tired:
        try:
            element = reader.element(at)
            end = reader.end(element)
        except CannotUnderstand:
            if not is_behind_pixels:
                raise
            break  # padding
        if element.tag in seen & tags:
            raise CannotUnderstand(_TWICE)
        seen.add(element.tag)
        if element.tag in tags and not is_behind_pixels and element.length <= _LONGEST_VALUE:
            found[element.tag] = reader.read(element)
        is_behind_pixels, at = is_behind_pixels or element.tag in _PIXELS, end
    if is_behind_pixels and reader.has_any(tags, at):
        raise CannotUnderstand(_TWICE)
    return at >= reader.stop or is_behind_pixels


def _is_explicit(file: Bytes, at: int, stop: int) -> bool:
    """Whether elements have a VR. The first one decides, as some files say the wrong transfer syntax."""
    return _VR.fullmatch(file.read(at + 4, min(2, max(0, stop - at - 4)))) is not None


def _examine_deflated(
    file: Bytes, start: int, stop: int, _: Encoding, tags: set[int], found: dict[int, tuple[bytes, bytes]]
) -> bool:
    """The same of a data set that is deflated (PS3.5 Section A.5), of which only the beginning is inflated."""
    inflater, content = zlib.decompressobj(-zlib.MAX_WBITS), b""
    try:
        while start < stop and not inflater.eof and len(content) < _INFLATED_BYTES:
            block = file.read(start, min(_BLOCK_BYTES, stop - start))
            content += inflater.decompress(block, _INFLATED_BYTES - len(content))
            start += len(block) - len(inflater.unconsumed_tail)
    except zlib.error:
        raise CannotUnderstand("its deflated data set is damaged") from None
    if not inflater.eof and len(content) < _INFLATED_BYTES:
        raise CannotUnderstand("it breaks off before its end")
    try:
        is_examined = _examine(_Reader(MemoryBytes(content), len(content), Encoding()), 0, tags, found)
    except CannotUnderstand as error:
        if inflater.eof or str(error) == _TWICE:
            raise
        return False
    return is_examined and inflater.eof


def _text(value: bytes) -> str:
    return value.decode("latin-1").rstrip("\0 ").lstrip(" ")
