"""The parameters of the URI service (PS3.18 Section 9.4.1), parsed into a typed value."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace

from dicomweb.errors import BadRequest
from dicomweb.media_types import DICOM
from dicomweb.negotiation import ANYTHING, Accept, MediaRange, parse_accept
from dicomweb.uids import is_well_formed, parse_uid
from wado.rendered.charset import Charsets
from wado.target import Target, parse_frame_numbers
from wado.uri.rendering import UriRendering

_UNFIT_SYNTAXES = ("1.2.840.10008.1.2", "1.2.840.10008.1.2.2")
"""Implicit VR Little Endian and Explicit VR Big Endian, which must not be used on the web (PS3.18 Section 9.4.1)."""


@dataclass(frozen=True)
class UriQuery:
    """One request. `content_types` is empty where the parameter is absent; `frame_number` counts from 1."""

    target: Target
    content_types: tuple[MediaRange, ...]
    transfer_syntax: str | None
    frame_number: int | None
    rendering: UriRendering
    charsets: Charsets

    @classmethod
    def from_parameters(cls, parameters: Iterable[tuple[str, str]]) -> "UriQuery":
        """From names, which are case-sensitive, and values; the first of a repeated name counts.

        BadRequest if a parameter is missing or malformed.
        """
        values: dict[str, str] = {}
        for name, value in parameters:
            values.setdefault(name, value.strip())
        if values.get("requestType") != "WADO":
            raise BadRequest("requestType is not WADO")
        if values.get("anonymize", "no") != "no":
            raise BadRequest("anonymize is not offered: objects are delivered as they are")
        content_type = values.get("contentType")
        return cls(
            Target(*(_uid(values, name) for name in ("studyUID", "seriesUID", "objectUID"))),
            parse_accept(content_type) if content_type else (),
            _transfer_syntax(values.get("transferSyntax")),
            _frame_number(values.get("frameNumber")),
            UriRendering.from_values(values),
            Charsets.from_parameter(values.get("charset")),
        )

    def accept(self, header: str | None) -> Accept:
        """The media types that the client takes: `contentType`, or without it the single parts of the Accept header."""
        single = tuple(media_range for media_range in parse_accept(header) if not media_range.multipart)
        ranges = self.content_types or single or ANYTHING
        if self.transfer_syntax:
            ranges = tuple(_in_syntax(media_range, self.transfer_syntax) for media_range in ranges)
        return Accept((), ranges)


def _in_syntax(media_range: MediaRange, transfer_syntax: str) -> MediaRange:
    """The range with `transferSyntax`, which applies to DICOM objects only: a wider range then means these."""
    if not media_range.covers(DICOM):
        return media_range
    return replace(media_range, media_type=DICOM, transfer_syntax=transfer_syntax)


def _uid(values: Mapping[str, str], name: str) -> str:
    if not values.get(name):
        raise BadRequest(f"{name} is missing")
    return parse_uid(values[name], name)


def _transfer_syntax(text: str | None) -> str | None:
    if not text or text == "*":
        return text or None
    if not is_well_formed(text):
        raise BadRequest("transferSyntax is neither a UID nor *")
    if text in _UNFIT_SYNTAXES:
        raise BadRequest("transferSyntax is Implicit VR Little Endian or Explicit VR Big Endian: ask for another one")
    return text


def _frame_number(text: str | None) -> int | None:
    if not text:
        return None
    try:
        (number,) = parse_frame_numbers(text)
    except (BadRequest, ValueError):
        raise BadRequest("frameNumber is one positive number") from None
    return number
