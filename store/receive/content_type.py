"""The Content-Type of a body or of a part (RFC 9110 Section 8.3.1), as clients write it."""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field

_TYPE = re.compile(r"[ \t]*([\w.+*-]+/[\w.+*-]+)[ \t]*", re.ASCII)
_PARAMETER = re.compile(r';[ \t]*(?:([\w.+-]+)[ \t]*=[ \t]*(?:"((?:[^"\\]|\\.)*)"|([^;"\s]*)))?[ \t]*', re.ASCII)
_ESCAPED = re.compile(r"\\(.)")


@dataclass(frozen=True)
class ContentType:
    """A media type and its parameters; names and the type are in lower case. "" if there is none."""

    media_type: str = ""
    parameters: Mapping[str, str] = field(default_factory=dict)

    @classmethod
    def from_header(cls, text: str) -> "ContentType":
        """Parse a value. Quotes may be missing, `/` may be unquoted, and what cannot be read is left out."""
        found = _TYPE.match(text)
        if not found:
            return cls()
        parameters: dict[str, str] = {}
        at = found.end()
        while parameter := _PARAMETER.match(text, at):
            name, quoted, plain = parameter.groups()
            if name:
                value = plain if quoted is None else _ESCAPED.sub(r"\1", quoted)
                parameters.setdefault(name.lower(), value)
            at = parameter.end()
        return cls(found[1].lower(), parameters)

    @property
    def part_type(self) -> str:
        """The media type of the parts of a multipart body; "" if it does not say."""
        return ContentType.from_header(self.parameters.get("type", "")).media_type
