"""Content negotiation (RFC 9110 Section 12, PS3.18 Section 8.7): what a client accepts, and which offer fits it best.

Runs in the web processes. `parse_accept` reads Accept values as DICOMweb clients write them. `Accept` is all that one
request says about media types, and chooses among the offers of a resource.
"""

import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from itertools import islice

from dicomweb.errors import BadRequest, NotAcceptable
from dicomweb.media_types import DICOM, DICOM_XML, OCTET_STREAM, ZIP
from dicomweb.parameters import parse_parameters
from dicomweb.texts import parse_decimal, split_list
from dicomweb.transfer_syntax import OLD_SPELLINGS, FrameEncoding

# One parameter: quoted values may hold any separator; unquoted ones may hold `/` (type=application/dicom) and `*`.
_PARAMETER = re.compile(r'\s*;\s*([\w.+-]+)\s*=\s*(?:"([^"\\]*(?:\\.[^"\\]*)*)"|([^;,\s"]*))')
_TYPE = re.compile(r"\s*([\w.+*-]+/[\w.+*-]+)\s*")
_LOST_PLUS = re.compile(r"(application/dicom) (json|xml)")  # an unescaped + in a query decodes to a blank

MAX_RANGES = 200
"""Media types in one value, at most: each of them is compared with each offer."""

_FILES = (DICOM, ZIP)
_NO_FRAMES = (*_FILES, DICOM_XML)
"""Media types that a request for octet-stream in any transfer syntax does not mean."""

_WRAPPINGS = {ZIP: (True, False), DICOM_XML: (False, True)}
"""Media types that are sent only alone, or only in multipart, whatever the resource."""

_AS_STORED_FIRST = {FrameEncoding.STORED: 0, FrameEncoding.NATIVE: 1}
"""The order of preference for `transfer-syntax=*`. Frames that are stored as native pixels have no other form."""


@dataclass(frozen=True)
class MediaRange:
    """One acceptable media type.

    For multipart/related `media_type` is that of the parts (its `type` parameter, `*/*` without one). `multipart` is
    None for a bare `*/*`, which fits both. `transfer_syntax` is a UID, `*`, or None if there is none. `refused` are
    types, or kinds such as `image/*`, within the range to which the same value gives a quality of 0.
    """

    media_type: str
    multipart: bool | None
    transfer_syntax: str | None
    quality: float
    refused: frozenset[str] = frozenset()

    def covers(self, media_type: str) -> bool:
        """Whether the type is in this range."""
        kind, _, name = self.media_type.partition("/")
        wanted_kind, _, wanted_name = media_type.lower().partition("/")
        if {f"{wanted_kind}/{wanted_name}", f"{wanted_kind}/*"} & self.refused:
            return False
        return kind in ("*", wanted_kind) and name in ("*", wanted_name)

    @property
    def specificity(self) -> int:
        """0 for `*/*`, 1 for `image/*`, 2 for a full type (RFC 9110 Section 12.5.1)."""
        return sum(word != "*" for word in self.media_type.split("/", 1))


ANYTHING = (MediaRange("*/*", None, None, 1.0),)


@lru_cache(64)  # clients send the same few, again and again
def parse_accept(text: str | None) -> tuple[MediaRange, ...]:
    """The ranges of an Accept value, the best first. A missing or blank value accepts anything.

    BadRequest if it has more than MAX_RANGES.
    """
    named = list(islice(_ranges(text or ""), MAX_RANGES + 1))
    if len(named) > MAX_RANGES:
        raise BadRequest(f"more than {MAX_RANGES} media types are named")
    if not named:
        return ANYTHING
    refused = [each for each in named if not each.quality > 0]
    within = [frozenset(each.media_type for each in refused if each.specificity > least) for least in range(3)]
    ranges = [replace(each, refused=within[each.specificity]) for each in named if each.quality > 0]
    return tuple(sorted(ranges, key=lambda r: (-r.quality, -r.specificity)))


def _ranges(text: str) -> Iterator[MediaRange]:
    for entry in split_list(text):
        if start := _TYPE.match(entry):
            parameters = []
            end = start.end()
            while found := _PARAMETER.match(entry, end):
                parameters.append((found[1].lower(), found[3] if found[2] is None else found[2]))
                end = found.end()
            yield _media_range(start[1].lower(), parameters)  # a stray `;`, or what we cannot read, may follow


def _media_range(name: str, parameters: Iterable[tuple[str, str]]) -> MediaRange:
    values = dict(reversed(list(parameters)))  # the first of a repeated parameter counts
    multipart: bool | None = None if name == "*/*" else name in ("multipart/related", "multipart/*")
    if multipart:
        name, _, within = values.get("type", "").strip("' ").partition(";")
        values = {**_syntax_within(within), **values}
        name = name.strip().lower()
        name = "*/*" if name in ("", "*") else name
    syntax = values.get("transfer-syntax") or None
    return MediaRange(OLD_SPELLINGS.get(name, name), multipart, syntax, _quality(values.get("q", "1")))


def _syntax_within(text: str) -> dict[str, str]:
    """The transfer syntax that clients write into the quotes of a type: `type="image/jpeg; transfer-syntax=..."`."""
    name, _, value = text.partition("=")
    return {"transfer-syntax": value.strip()} if name.strip().lower() == "transfer-syntax" else {}


def parse_quality(text: str) -> float:
    """A quality value (RFC 9110 Section 12.4.2), cut to the range from 0 to 1; ValueError if it is not a number."""
    return min(max(parse_decimal(text), 0.0), 1.0)


def _quality(text: str) -> float:
    try:
        return parse_quality(text)
    except ValueError:
        return 1.0


def parse_names(text: str) -> list[str]:
    """The names of a list such as `charset`, in lower case, the best first; names of quality 0 are left out."""
    weighed = []
    for entry in text.lower().split(","):
        name, *parameters = entry.split(";")
        pairs = (parameter.partition("=") for parameter in parameters)
        quality = next((_quality(value) for key, _, value in pairs if key.strip() == "q"), 1.0)
        weighed.append((quality, name.strip()))
    return [name for quality, name in sorted(weighed, key=lambda pair: -pair[0]) if quality > 0]


@dataclass(frozen=True)
class Offer:
    """One representation of a resource: a media type, and the transfer syntax if that type carries one.

    `form` tells in which encoding the frames are taken.
    """

    media_type: str
    transfer_syntax_uid: str | None = None
    form: FrameEncoding = FrameEncoding.NATIVE

    @property
    def content_type(self) -> str:
        """The Content-Type of the representation, or of its part."""
        if self.transfer_syntax_uid is None:
            return self.media_type
        return f"{self.media_type}; transfer-syntax={self.transfer_syntax_uid}"


@dataclass(frozen=True)
class ChosenOffer:
    """The offer that the client gets. `multipart` is None if the client accepts it alone and in multipart."""

    offer: Offer
    multipart: bool | None


@dataclass(frozen=True)
class FileChoice:
    """The encoding of Part 10 objects where the client leaves the choice to the service; the operator sets it.

    `unnamed` is for a request that names neither `application/dicom` nor a transfer syntax, `any` for
    `transfer-syntax=*`. `application/dicom` by itself is always Explicit VR Little Endian (PS3.18 Section 8.7.3.5.2).
    """

    unnamed: FrameEncoding = FrameEncoding.NATIVE
    any: FrameEncoding = FrameEncoding.STORED


@dataclass(frozen=True)
class Accept:
    """The media types that one request accepts: its `accept` parameters come before its Accept header."""

    by_query: tuple[MediaRange, ...]
    by_header: tuple[MediaRange, ...]
    files: FileChoice = FileChoice()

    @classmethod
    def from_request(cls, query_string: bytes, header: str | None) -> "Accept":
        """Read the query parameters `accept` and `transfer-syntax`, and the Accept header (PS3.18 Section 8.3.3).

        BadRequest if there are more than MAX_RANGES.
        """
        parameters = parse_parameters(query_string)
        accepted = [value for name, value in parameters if name == "accept"]
        syntax = next((value for name, value in parameters if name == "transfer-syntax"), None)
        return cls.from_values(accepted, header, syntax)

    @classmethod
    def from_values(cls, accepted: Sequence[str], header: str | None, transfer_syntax: str | None = None) -> "Accept":
        """Read the values of the `accept` parameters and of the Accept header.

        `transfer_syntax` is the query parameter. It is for types in `accept` that name none (PS3.18 Section 8.7.8).
        """
        text = ",".join(_LOST_PLUS.sub(r"\1+\2", value) for value in accepted)
        ranges = parse_accept(text) if text.strip() else ()
        by_query = (replace(each, transfer_syntax=each.transfer_syntax or transfer_syntax or None) for each in ranges)
        return cls(tuple(by_query), parse_accept(header))

    @property
    def means_bulk_data(self) -> bool:
        """Whether octet-stream in multipart is accepted and no DICOM object: then the bulk data of objects is meant."""
        ranges = (*self.by_query, *self.by_header)
        octets = any(each.multipart and each.media_type == OCTET_STREAM for each in ranges)
        return octets and not any(each.covers(media_type) for each in ranges for media_type in _FILES)

    @property
    def in_any_syntax(self) -> "Accept":
        """A copy with the same media types, without transfer syntaxes."""
        by_query, by_header = (
            tuple(replace(media_range, transfer_syntax=None) for media_range in ranges)
            for ranges in (self.by_query, self.by_header)
        )
        return Accept(by_query, by_header, self.files)

    def choose(self, offers: Sequence[Offer], *, single: bool, multipart: bool = True) -> ChosenOffer:
        """The best offer. NotAcceptable, which names the offers, if none fits.

        `single` and `multipart` tell whether the resource is sent alone and in multipart.
        """
        chosen = self.find(offers, single=single, multipart=multipart)
        if chosen is None:
            raise not_acceptable(offers, single=single, multipart=multipart)
        return chosen

    def find(self, offers: Sequence[Offer], *, single: bool, multipart: bool = True) -> ChosenOffer | None:
        """The best offer as `choose` gives it, or None."""
        for media_range in (*self.by_query, *self.by_header):
            for offer in _fitting(media_range, offers, self.files):
                alone, wrapped = _WRAPPINGS.get(offer.media_type, (single, multipart))
                if {True: wrapped, False: alone, None: True}[media_range.multipart]:
                    return ChosenOffer(offer, media_range.multipart)
        return None

    def find_stored(self, offers: Sequence[Offer], media_type: str, *, multipart: bool) -> Offer | None:
        """The offer as stored, if the client accepts it in this wrapping; a file must have that media type. Else None.

        A range that names no transfer syntax accepts it, since the Content-Type tells the transfer syntax.
        """
        stored = (offer for offer in offers if offer.form is FrameEncoding.STORED)
        alike = [offer for offer in stored if offer.media_type == media_type or media_type not in _FILES]
        for media_range in (*self.by_query, *self.by_header):
            taken = [offer for offer in _fitting(media_range, offers, self.files) if offer in alike]
            if taken and media_range.multipart in (None, multipart):
                return taken[0]
        return None


def offered_types(offers: Sequence[Offer], *, single: bool, multipart: bool) -> list[str]:
    """The offers as Accept values: in multipart, alone, or both, as the resource and the media types are sent."""
    types = []
    for offer in offers:
        alone, wrapped = _WRAPPINGS.get(offer.media_type, (single, multipart))
        if wrapped:
            syntax = f"; transfer-syntax={offer.transfer_syntax_uid}" if offer.transfer_syntax_uid else ""
            types.append(f'multipart/related; type="{offer.media_type}"{syntax}')
        if alone:
            types.append(offer.content_type)
    return types


def not_acceptable(offers: Sequence[Offer], *, single: bool, multipart: bool) -> NotAcceptable:
    """The error for a client that accepts none of the offers; its text names them."""
    types = offered_types(offers, single=single, multipart=multipart)
    return NotAcceptable(f"not acceptable; offered: {', '.join(types)}")


def _fitting(media_range: MediaRange, offers: Sequence[Offer], files: FileChoice) -> Iterator[Offer]:
    """The offers in a range, the preferred one first."""
    wanted = media_range.transfer_syntax
    if wanted == "*":
        fitting = [offer for offer in offers if _is_meant(media_range, offer)]
        yield from _in_order(files.any if _are_files(fitting) else FrameEncoding.STORED, fitting)
    elif wanted is None:
        fitting = [offer for offer in offers if media_range.covers(offer.media_type)]
        left_open = media_range.specificity < 2 and _are_files(fitting)
        yield from _in_order(files.unnamed if left_open else FrameEncoding.NATIVE, fitting)
        if media_range.media_type == OCTET_STREAM and not any(offer.form is FrameEncoding.NATIVE for offer in offers):
            yield from offers  # a video has no other form
    else:
        yield from (offer for offer in offers if _is_in_syntax(media_range, offer))


def _in_order(preferred: FrameEncoding, offers: Sequence[Offer]) -> Sequence[Offer]:
    """The offers as stored first, or in the order they have, which is native first."""
    if preferred is FrameEncoding.NATIVE:
        return offers
    return sorted(offers, key=lambda offer: _AS_STORED_FIRST.get(offer.form, len(_AS_STORED_FIRST)))


def _are_files(offers: Sequence[Offer]) -> bool:
    return any(offer.media_type in _FILES for offer in offers)


def _is_in_syntax(media_range: MediaRange, offer: Offer) -> bool:
    """Whether a range that names a transfer syntax has the offer; a type without any ignores the parameter."""
    if offer.transfer_syntax_uid is None:
        return media_range.covers(offer.media_type)
    return offer.transfer_syntax_uid == media_range.transfer_syntax and _is_meant(media_range, offer)


def _is_meant(media_range: MediaRange, offer: Offer) -> bool:
    """Whether a range means the offer, if the transfer syntax is right.

    Viewers ask for octet-stream and expect a frame in that transfer syntax, of whatever type that is.
    """
    any_frame = media_range.media_type == OCTET_STREAM and offer.media_type not in _NO_FRAMES
    return any_frame or media_range.covers(offer.media_type)
