"""Which representation the client gets: what there is to offer, held against what it accepts (PS3.18 Section 8.7.8)."""

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache

from ahi.codecs.frames import PixelFormat
from ahi.image_sets.prepared_reader import PreparedInstance
from ahi.workers.jobs import FrameEncoding, lossless_encodings
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
GIF = "image/gif"
APNG = "image/apng"
JP2 = "image/jp2"

_FILES = (DICOM, ZIP)
_WRAPPINGS = {ZIP: (True, False), DICOM_XML: (False, True)}
"""Media types that come only alone, or only in multipart, whatever the resource."""

_AS_STORED_FIRST = {FrameEncoding.STORED: 0, FrameEncoding.NATIVE: 1}
"""What `transfer-syntax=*` prefers; what is stored as native pixels has no other stored form."""

_LOST_PLUS = re.compile(r"(application/dicom) (json|xml)")  # an unescaped + in a query decodes to a blank


@dataclass(frozen=True)
class Offer:
    """One representation: a media type, in a transfer syntax where it carries one, made from one form of the frames."""

    media_type: str
    transfer_syntax_uid: str | None = None
    form: FrameEncoding = FrameEncoding.NATIVE

    @property
    def content_type(self) -> str:
        """What the bytes are labelled as."""
        if self.transfer_syntax_uid is None:
            return self.media_type
        return f"{self.media_type}; transfer-syntax={self.transfer_syntax_uid}"


@dataclass(frozen=True)
class ChosenOffer:
    """What was agreed on. `multipart` is None where the client leaves it open."""

    offer: Offer
    multipart: bool | None


@dataclass(frozen=True)
class FileChoice:
    """What the operator prefers for Part 10 objects where the client leaves it to us.

    `unnamed` is for a request that names neither `application/dicom` nor a transfer syntax, `any` for
    `transfer-syntax=*`. `application/dicom` by itself is always Explicit VR Little Endian (PS3.18 Section 8.7.3.5.2).
    """

    unnamed: FrameEncoding = FrameEncoding.NATIVE
    any: FrameEncoding = FrameEncoding.STORED


@dataclass(frozen=True)
class Accept:
    """What one request takes: the `accept` parameters of its query come before its header."""

    by_query: tuple[MediaRange, ...]
    by_header: tuple[MediaRange, ...]
    files: FileChoice = FileChoice()

    @classmethod
    def from_request(cls, query: Sequence[str], header: str | None, transfer_syntax: str | None = None) -> "Accept":
        """From the values of the `accept` parameter and of the Accept header.

        `transfer_syntax` is the query parameter, for what `accept` parameters name without one (PS3.18 Section 8.7.8).
        """
        text = ",".join(_LOST_PLUS.sub(r"\1+\2", value) for value in query)
        ranges = parse_accept(text) if text else ()
        by_query = (replace(each, transfer_syntax=each.transfer_syntax or transfer_syntax or None) for each in ranges)
        return cls(tuple(by_query), parse_accept(header))

    @property
    def means_bulk_data(self) -> bool:
        """Whether it is octet-stream in multipart, and no DICOM object: asked of objects that means their bulk data."""
        ranges = (*self.by_query, *self.by_header)
        octets = any(each.multipart and each.media_type == OCTET_STREAM for each in ranges)
        return octets and not any(each.covers(media_type) for each in ranges for media_type in _FILES)

    @property
    def in_any_syntax(self) -> "Accept":
        """The same media types, whatever transfer syntaxes were named."""
        by_query, by_header = (
            tuple(replace(media_range, transfer_syntax=None) for media_range in ranges)
            for ranges in (self.by_query, self.by_header)
        )
        return Accept(by_query, by_header, self.files)

    def choose(self, offers: Sequence[Offer], *, single: bool, multipart: bool = True) -> ChosenOffer:
        """The best offer; `single` and `multipart` say which wrappings the resource has. NotAcceptable if none fits."""
        chosen = self.find(offers, single=single, multipart=multipart)
        if chosen is None:
            raise NotAcceptable(_refusal(offers, single, multipart))
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
        """The offer as stored, of that media type if it is a file, if the client takes it in this wrapping; else None.

        A range that names no transfer syntax takes it: what comes is labelled as what it is.
        """
        stored = (offer for offer in offers if offer.form is FrameEncoding.STORED)
        alike = [offer for offer in stored if offer.media_type == media_type or media_type not in _FILES]
        for media_range in (*self.by_query, *self.by_header):
            taken = [offer for offer in _fitting(media_range, offers, self.files) if offer in alike]
            if taken and media_range.multipart in (None, multipart):
                return taken[0]
        return None


def _fitting(media_range: MediaRange, offers: Sequence[Offer], files: FileChoice) -> Iterator[Offer]:
    """The offers in a range, the one to prefer first."""
    wanted = media_range.transfer_syntax
    if wanted == "*":
        fitting = [offer for offer in offers if _meant(media_range, offer)]
        yield from _in_order(files.any if _are_files(fitting) else FrameEncoding.STORED, fitting)
    elif wanted is None:
        fitting = [offer for offer in offers if media_range.covers(offer.media_type)]
        left_open = media_range.specificity < 2 and _are_files(fitting)
        yield from _in_order(files.unnamed if left_open else FrameEncoding.NATIVE, fitting)
        if media_range.media_type == OCTET_STREAM and not any(offer.form is FrameEncoding.NATIVE for offer in offers):
            yield from offers  # all that there is of a video
    else:
        yield from (offer for offer in offers if offer.transfer_syntax_uid == wanted and _meant(media_range, offer))


def _in_order(preferred: FrameEncoding, offers: Sequence[Offer]) -> Sequence[Offer]:
    """The offers as stored first, or in the order they have, which is native first."""
    if preferred is FrameEncoding.NATIVE:
        return offers
    return sorted(offers, key=lambda offer: _AS_STORED_FIRST.get(offer.form, len(_AS_STORED_FIRST)))


def _are_files(offers: Sequence[Offer]) -> bool:
    return any(offer.media_type in _FILES for offer in offers)


def _meant(media_range: MediaRange, offer: Offer) -> bool:
    """Whether a range that names a transfer syntax means the offer, if that is the one.

    Viewers ask for octet-stream and mean a frame in that transfer syntax, of whatever type that is.
    """
    any_frame = media_range.media_type == OCTET_STREAM and offer.media_type not in _FILES
    return any_frame or media_range.covers(offer.media_type)


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


@dataclass(frozen=True)
class InstanceKind:
    """What an instance can be had as depends on: thousands of instances are one kind or two."""

    transfer_syntax_uid: str
    has_frames: bool
    pixels: PixelFormat | None

    @classmethod
    def of(cls, prepared: PreparedInstance) -> "InstanceKind":
        """The kind of an instance."""
        return cls(prepared.transfer_syntax_uid, bool(prepared.frames), prepared.pixels)

    @property
    def frames(self) -> tuple[Offer, ...]:
        """What its frames can be had as."""
        return frame_offers(self.transfer_syntax_uid, self.pixels)

    @property
    def files(self) -> tuple[Offer, ...]:
        """What a Part 10 object can be had as, by itself or in a ZIP file."""
        return instance_offers(self.transfer_syntax_uid, self.has_frames, self.pixels)


def agree(
    offers: Mapping[InstanceKind, Sequence[Offer]], accept: Accept, *, single: bool
) -> Mapping[InstanceKind, ChosenOffer]:
    """A choice for each kind, part by part (PS3.18 Section 8.7.8).

    Objects without frames know but one transfer syntax and come in that. So does an image that cannot be had in the
    transfer syntax asked for, as long as another one can: a series is not refused for one slice. NotAcceptable where
    no image can be had as asked.
    """
    images = [kind for kind in offers if kind.has_frames]
    as_asked = {kind: accept.find(offers[kind], single=single) for kind in images}
    if images and not any(as_asked.values()):
        raise NotAcceptable(_refusal(offers[images[0]], single, multipart=True))
    lenient = accept.in_any_syntax
    return {kind: as_asked.get(kind) or lenient.choose(offers[kind], single=single) for kind in offers}


@lru_cache(1024)
def frame_offers(transfer_syntax_uid: str, pixels: PixelFormat | None = None) -> tuple[Offer, ...]:
    """What a stored frame can be had as: native first where a decoder gives that, then as stored, then encoded again.

    Without a description of its pixels it cannot be encoded again.
    """
    stored = transfer_syntax(transfer_syntax_uid)
    native = Offer(OCTET_STREAM, EXPLICIT_VR_LITTLE_ENDIAN)
    forms = lossless_encodings(transfer_syntax_uid, pixels)
    encoded = (Offer(transfer_syntax(uid).media_type, uid, form) for uid, form in forms.items())
    if stored.native:
        return (native, *encoded)
    as_stored = Offer(stored.media_type, stored.uid, FrameEncoding.STORED)
    return (as_stored,) if stored.video else (native, as_stored, *encoded)


@lru_cache(1024)
def instance_offers(transfer_syntax_uid: str, has_frames: bool, pixels: PixelFormat | None = None) -> tuple[Offer, ...]:
    """What a Part 10 object can be had as, by itself or in a ZIP file."""
    plain = (Offer(DICOM, EXPLICIT_VR_LITTLE_ENDIAN),)
    offers = frame_offers(transfer_syntax_uid, pixels) if has_frames else plain
    return tuple(replace(offer, media_type=media_type) for media_type in _FILES for offer in offers)


def bulk_offers(media_type: str | None) -> tuple[Offer, ...]:
    """What a bulk value can be had as: bytes, and the type that it has by nature, if any."""
    return (*((Offer(media_type),) if media_type else ()), Offer(OCTET_STREAM, EXPLICIT_VR_LITTLE_ENDIAN))


METADATA_OFFERS = (Offer(DICOM_JSON), Offer("application/json"), Offer(DICOM_XML))
RENDERED_OFFERS = (Offer(JPEG), Offer(PNG), Offer(GIF), Offer(JP2), Offer(APNG))
THUMBNAIL_OFFERS = (Offer(JPEG), Offer(PNG))
