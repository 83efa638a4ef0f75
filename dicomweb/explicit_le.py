"""Encoder for Explicit VR Little Endian (PS3.5 Section 7.1.2 and Annex A.2)."""

import struct
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from functools import partial

from pydicom import config
from pydicom.charset import convert_encodings, decode_bytes, encode_string, python_encoding

from dicomweb.data_set import CHARACTER_SET, UTF_8, Attribute, DataSet, Memo

_LONG_LENGTH = frozenset({"OB", "OD", "OF", "OL", "OV", "OW", "SQ", "SV", "UC", "UN", "UR", "UT", "UV"})
_TEXT_VRS = frozenset({"LO", "LT", "PN", "SH", "ST", "UC", "UT"})  # those to which SpecificCharacterSet applies
_NUMBER_FORMATS = {"FL": "f", "FD": "d", "SL": "i", "SS": "h", "SV": "q", "UL": "I", "US": "H", "UV": "Q"}

EncodeText = Callable[[str], bytes]

config.settings.writing_validation_mode = config.RAISE  # a character that a set lacks is an error, not a "?"


def encode_data_set(data_set: DataSet, encoded: Memo[bytes] | None = None) -> bytes:
    """Encode a data set in its own character set, or in ISO_IR 192 if that lacks a character.

    `encoded` caches attributes that several data sets share.
    """
    try:
        return _encode(data_set, _encoder(()), encoded)
    except (UnicodeError, LookupError):
        return _encode(_in_utf_8(data_set), _encoder((UTF_8,)))


def encode_text_value(attribute: Attribute) -> bytes:
    """Encode the value of a text attribute alone, not padded, in UTF-8 like the metadata."""
    return "\\".join(_spelt(word) for word in attribute.words).encode()


def encode_element(tag: str, vr: str, value: bytes) -> bytes:
    """Encode an attribute whose value is bytes; an odd length is padded."""
    return encode_head(tag, vr, len(value) + len(value) % 2) + value + b"\0" * (len(value) % 2)


def encode_head(tag: str, vr: str, length_bytes: int) -> bytes:
    """Encode tag, VR and length; `length_bytes` is 0xFFFFFFFF for an undefined length."""
    number = int(tag, 16)
    start = struct.pack("<HH", number >> 16, number & 0xFFFF)
    if vr not in _LONG_LENGTH and length_bytes > 0xFFFF:
        vr = "UN"  # PS3.5 Section 6.2.2: the short form cannot hold the length
    if vr in _LONG_LENGTH:
        return start + vr.encode() + struct.pack("<HI", 0, length_bytes)
    return start + vr.encode() + struct.pack("<H", length_bytes)


def _encode(data_set: DataSet, encode_text: EncodeText, encoded: Memo[bytes] | None = None) -> bytes:
    own = next((attribute for attribute in data_set if attribute.tag == CHARACTER_SET), None)
    terms = tuple(str(term) for term in own.words) if own else ()
    if own:
        encode_text = _encoder(terms)
    if encoded is None:
        return b"".join(_encode_attribute(attribute, encode_text) for attribute in data_set)
    return b"".join(encoded.of(one, terms, partial(_encode_attribute, one, encode_text)) for one in data_set)


def _encode_attribute(attribute: Attribute, encode_text: EncodeText) -> bytes:
    vr = attribute.vr
    if isinstance(attribute.value, bytes):
        return encode_element(attribute.tag, vr, attribute.value)
    if vr == "SQ":
        items = (_encode(item, encode_text) for item in attribute.items)
        value = b"".join(struct.pack("<HHI", 0xFFFE, 0xE000, len(item)) + item for item in items)
    elif vr in _NUMBER_FORMATS:
        value = b"".join(_number(_NUMBER_FORMATS[vr], word) for word in attribute.words)
    elif vr == "AT":
        tags = (int(str(word), 16).to_bytes(4, "big") for word in attribute.words)
        value = b"".join(struct.pack("<HH", *struct.unpack(">HH", tag)) for tag in tags)
    else:
        encode = encode_text if vr in _TEXT_VRS else partial(_encode_code, encode_text=encode_text)
        value = b"\\".join(encode(_spelt(word)) for word in attribute.words)
        value += (b"\0" if vr == "UI" else b" ") * (len(value) % 2)
    return encode_head(attribute.tag, vr, len(value)) + value


def _spelt(word: str | int | float) -> str:
    return word if isinstance(word, str) else f"{word:.16g}" if isinstance(word, float) else str(word)


def _number(letter: str, word: str | int | float) -> bytes:
    if letter in "fd":
        return struct.pack("<" + letter, float(word))
    size_bits = 8 * struct.calcsize("<" + letter)
    return (int(word) & ((1 << size_bits) - 1)).to_bytes(size_bits // 8, "little")  # the same bits if it overflows


def _encode_code(text: str, encode_text: EncodeText) -> bytes:
    """Encode text of a VR that has the default repertoire only, in ISO 8859-1 as most readers expect it.

    Letters that ISO 8859-1 lacks are written in the character set of the data set.
    """
    try:
        return text.encode("iso8859-1")
    except UnicodeEncodeError:
        return encode_text(text)


_NEVER_FIRST = frozenset({"ISO 2022 IR 87", "ISO 2022 IR 149", "ISO 2022 IR 159"})  # they have no one-byte letters
_WITHOUT_ESCAPES = "ISO 2022 IR 58"  # pydicom leaves out its escape sequences, and readers see Latin letters
_ESCAPES = {"iso2022_jp": b"\x1b$B", "iso2022_jp_2": b"\x1b$(D"}  # Python's encodings have more character sets
_JIS_X_0201 = "shift_jis"
_EXTENSION = "ISO 2022 IR "
_DELIMITERS = {ord(delimiter) for delimiter in "^=\r\n\f\t"}


def _encoder(terms: Sequence[str]) -> EncodeText:
    """The text encoder for the values of SpecificCharacterSet; the default repertoire is ASCII.

    LookupError if there is none.
    """
    if not any(terms):
        return lambda text: text.encode("ascii")
    if tuple(terms) == (UTF_8,):
        return lambda text: text.encode("utf-8")
    if not all(term in python_encoding for term in terms):
        raise LookupError("not a term of PS3.3 Section C.12.1.1.2")
    several = [term for term in terms if term] if len(terms) > 1 else []
    is_kept = all(term.startswith(_EXTENSION) and term != _WITHOUT_ESCAPES for term in several)
    if terms[0] in _NEVER_FIRST or not is_kept:
        raise LookupError("a character set where it cannot be")
    encodings = convert_encodings(list(terms))

    def encode(text: str) -> bytes:
        if not text.isascii() and not all(_has(letter, encodings) for letter in set(text)):
            raise LookupError("a letter that its character set lacks")
        # Code extensions are reset at every delimiter of a value (PS3.5 Section 6.1.2.5.3).
        groups = (text_group.split("^") for text_group in text.split("="))
        encoded = b"=".join(b"^".join(encode_string(part, encodings) for part in group) for group in groups)
        if not text.isascii() and not _is_reversible(text, encoded, encodings):
            raise LookupError("a text that its character set does not keep")
        return encoded

    return encode


def _has(letter: str, encodings: Iterable[str]) -> bool:
    """Whether one of the encodings has a letter. pydicom's shift_jis is JIS X 0201, which has fewer letters."""
    for encoding in encodings:
        if encoding == _JIS_X_0201:
            if letter.isascii() or "\uff61" <= letter <= "\uff9f":
                return True
            continue
        try:
            if _ESCAPES.get(encoding, b"") in letter.encode(encoding):
                return True
        except UnicodeEncodeError:
            continue
    return False


def _is_reversible(text: str, encoded: bytes, encodings: list[str]) -> bool:
    """Whether decoding gives the text again, and no byte of a letter looks like a backslash between values.

    pydicom writes some letters without the escape sequence of their character set.
    """
    return encoded.count(b"\\") == text.count("\\") and decode_bytes(encoded, encodings, _DELIMITERS) == text


def _in_utf_8(data_set: DataSet) -> DataSet:
    """The data set with SpecificCharacterSet ISO_IR 192, added at the top and replaced in items."""
    charset = Attribute(CHARACTER_SET, "CS", (UTF_8,))
    items = [_items_in_utf_8(attribute) for attribute in data_set if attribute.tag != CHARACTER_SET]
    return tuple(sorted([charset, *items], key=lambda attribute: attribute.tag))


def _items_in_utf_8(attribute: Attribute) -> Attribute:
    if attribute.vr != "SQ":
        return attribute
    return replace(attribute, value=tuple(_in_utf_8(item) for item in attribute.items))
