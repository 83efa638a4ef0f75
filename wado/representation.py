"""Which representation the client gets: what there is to offer, held against what it accepts (PS3.18 Section 8.7.8)."""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

from ahi.jobs import Form
from dicomweb.accept import MediaRange, parse_accept
from dicomweb.dicom_xml import DICOM_XML
from dicomweb.errors import NotAcceptable
from dicomweb.transfer_syntax import EXPLICIT_VR_LITTLE_ENDIAN, transfer_syntax

OCTET_STREAM = "application/octet-stream"
DICOM = "application/dicom"
ZIP = "application/zip"
DICOM_JSON = "application/dicom+json"
JPEG = "image/jpeg"
PNG = "image/png"

_FILES = (DICOM, ZIP)
_WRAPPINGS = {ZIP: (True, False), DICOM_XML: (False, True)}
"""Media types that come only alone, or only in multipart, whatever the resource."""

_LOST_PLUS = re.compile(r"(application/dicom) (json|xml)")  # an unescaped + in a query decodes to a blank


@dataclass(frozen=True)
class Offer:
    """One representation: a media type, in a transfer syntax where it carries one, made from one form of the frames."""

    media_type: str
    transfer_syntax_uid: str | None = None
    form: Form = Form.NATIVE

    @property
    def content_type(self) -> str:
        """What the bytes are labelled as."""
        if self.transfer_syntax_uid is None:
            return self.media_type
        return f"{self.media_type}; transfer-syntax={self.transfer_syntax_uid}"


@dataclass(frozen=True)
class Chosen:
    """What was agreed on. `multipart` is None where the client leaves it open."""

    offer: Offer
    multipart: bool | None


@dataclass(frozen=True)
class Accept:
    """What one request takes: the `accept` parameters of its query come before its header."""

    by_query: tuple[MediaRange, ...]
    by_header: tuple[MediaRange, ...]

    @classmethod
    def from_request(cls, query: Sequence[str], header: str | None) -> "Accept":
        """From the values of the `accept` parameter and of the Accept header."""
        text = ",".join(_LOST_PLUS.sub(r"\1+\2", value) for value in query)
        return cls(parse_accept(text) if text else (), parse_accept(header))

    def choose(self, offers: Sequence[Offer], *, single: bool, multipart: bool = True) -> Chosen:
        """The best offer; `single` and `multipart` say which wrappings the resource has. NotAcceptable if none fits."""
        for media_range in (*self.by_query, *self.by_header):
            for offer in _fitting(media_range, offers):
                alone, wrapped = _WRAPPINGS.get(offer.media_type, (single, multipart))
                if {True: wrapped, False: alone, None: True}[media_range.multipart]:
                    return Chosen(offer, media_range.multipart)
        raise NotAcceptable(_refusal(offers, single, multipart))


def _fitting(media_range: MediaRange, offers: Sequence[Offer]) -> Iterator[Offer]:
    """The offers in a range, the one to prefer first."""
    wanted = media_range.transfer_syntax
    if wanted == "*":
        # Viewers ask for octet-stream like this and mean a frame as it is stored, of whatever type that is. For Part 10
        # the server chooses: Explicit VR Little Endian is what every client reads.
        fitting = [offer for offer in offers if media_range.covers(offer.media_type) or _any_frame(media_range, offer)]
        yield from sorted(fitting, key=lambda offer: offer.form is Form.NATIVE and offer.media_type not in _FILES)
    elif wanted is None:
        yield from (offer for offer in offers if media_range.covers(offer.media_type))
        if media_range.media_type == OCTET_STREAM and not any(offer.form is Form.NATIVE for offer in offers):
            yield from offers  # all that there is of a video
    else:
        named = (offer for offer in offers if media_range.covers(offer.media_type))
        yield from (offer for offer in named if offer.transfer_syntax_uid == wanted)


def _any_frame(media_range: MediaRange, offer: Offer) -> bool:
    return media_range.media_type == OCTET_STREAM and offer.media_type not in _FILES


def _refusal(offers: Sequence[Offer], single: bool, multipart: bool) -> str:
    types = []
    for offer in offers:
        alone, wrapped = _WRAPPINGS.get(offer.media_type, (single, multipart))
        if wrapped:
            syntax = f"; transfer-syntax={offer.transfer_syntax_uid}" if offer.transfer_syntax_uid else ""
            types.append(f'multipart/related; type="{offer.media_type}"{syntax}')
        if alone:
            types.append(offer.content_type)
    return "not acceptable; offered: " + ", ".join(types)


def frame_offers(transfer_syntax_uid: str) -> tuple[Offer, ...]:
    """What a stored frame can be had as: native first where a decoder gives that, as stored last."""
    stored = transfer_syntax(transfer_syntax_uid)
    native = Offer(OCTET_STREAM, EXPLICIT_VR_LITTLE_ENDIAN)
    if stored.native:
        return (native,)
    as_stored = Offer(stored.media_type, stored.uid, Form.STORED)
    return (as_stored,) if stored.video else (native, as_stored)


def instance_offers(transfer_syntax_uid: str, has_frames: bool) -> tuple[Offer, ...]:
    """What a Part 10 object can be had as, by itself or in a ZIP file."""
    offers = frame_offers(transfer_syntax_uid) if has_frames else (Offer(DICOM, EXPLICIT_VR_LITTLE_ENDIAN),)
    return tuple(replace(offer, media_type=media_type) for media_type in _FILES for offer in offers)


def bulk_offers(media_type: str | None) -> tuple[Offer, ...]:
    """What a bulk value can be had as: bytes, and the type that it has by nature, if any."""
    return (*((Offer(media_type),) if media_type else ()), Offer(OCTET_STREAM, EXPLICIT_VR_LITTLE_ENDIAN))


METADATA_OFFERS = (Offer(DICOM_JSON), Offer("application/json"), Offer(DICOM_XML))
RENDERED_OFFERS = (Offer(JPEG), Offer(PNG))
