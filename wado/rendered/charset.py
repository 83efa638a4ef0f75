"""The character sets that a client reads rendered text in (PS3.18 Section 8.3.2). Runs in the web processes."""

from dataclasses import dataclass

from dicomweb.errors import NotAcceptable
from dicomweb.media_types import HTML, PLAIN_TEXT
from dicomweb.negotiation import parse_names

_TERMS = {  # IANA name: the Python codec, and the Defined Term of PS3.3 Section C.12.1.1.2
    "utf-8": ("utf_8", "ISO_IR 192"),
    "us-ascii": ("ascii", "ISO_IR 6"),
    "iso-8859-1": ("iso8859_1", "ISO_IR 100"),
    "iso-8859-2": ("iso8859_2", "ISO_IR 101"),
    "iso-8859-3": ("iso8859_3", "ISO_IR 109"),
    "iso-8859-4": ("iso8859_4", "ISO_IR 110"),
    "iso-8859-5": ("iso8859_5", "ISO_IR 144"),
    "iso-8859-6": ("iso8859_6", "ISO_IR 127"),
    "iso-8859-7": ("iso8859_7", "ISO_IR 126"),
    "iso-8859-8": ("iso8859_8", "ISO_IR 138"),
    "iso-8859-9": ("iso8859_9", "ISO_IR 148"),
    "iso-8859-15": ("iso8859_15", "ISO_IR 203"),
    "tis-620": ("tis_620", "ISO_IR 166"),
    "gb18030": ("gb18030", "GB18030"),
    "gbk": ("gbk", "GBK"),
    "shift_jis": ("shift_jis", "ISO_IR 13"),
}
_NAMES = {key: name for name, (_, term) in _TERMS.items() for key in (name, term.lower())} | {"utf8": "utf-8"}
_UTF_8 = "utf-8"
_META = '<meta charset="utf-8">'


@dataclass(frozen=True)
class Charsets:
    """IANA names of character sets, best first: those of the client that are known here."""

    names: tuple[str, ...] = (_UTF_8,)

    @classmethod
    def from_parameter(cls, text: str | None) -> "Charsets":
        """From a list of IANA names or DICOM terms, with or without q values."""
        names = [_UTF_8 if name == "*" else _NAMES.get(name) for name in parse_names(text or "*")]
        return cls(tuple(dict.fromkeys(name for name in names if name)))

    def labelled(self, body: bytes, media_type: str) -> tuple[bytes, str]:
        """Rendered text, given in UTF-8, in the first character set that has all of its characters; its Content-Type.

        HTML fits any of them, by character references. Other media types stay as they are. NotAcceptable where no name
        is known, or no character set has all characters.
        """
        if media_type not in (HTML, PLAIN_TEXT):
            return body, media_type
        for name in self.names:
            encoded = _encoded(body, media_type, name)
            if encoded is not None:
                return encoded, f"{media_type}; charset={name}"
        if not self.names:
            raise NotAcceptable(f"the charset is not offered; offered: {', '.join(_TERMS)}")
        raise NotAcceptable("the text has characters that the charset lacks; utf-8 has all")


def _encoded(body: bytes, media_type: str, name: str) -> bytes | None:
    """The text in a character set; None where that lacks a character of plain text."""
    if name == _UTF_8:
        return body
    codec, text = _TERMS[name][0], body.decode()
    if media_type == HTML:
        return text.replace(_META, f'<meta charset="{name}">', 1).encode(codec, "xmlcharrefreplace")
    try:
        return text.encode(codec)
    except UnicodeEncodeError:
        return None
