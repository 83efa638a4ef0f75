"""Which representations an instance, its frames and its bulk values can be had in (PS3.18 Section 8.7.3)."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache

from ahi.codecs.frames import PixelFormat
from ahi.image_sets.frame_reference import lossless_encodings
from ahi.image_sets.prepared_reader import PreparedInstance
from dicomweb.media_types import APNG, DICOM, DICOM_JSON, DICOM_XML, GIF, JP2, JPEG, JSON, OCTET_STREAM, PNG, ZIP
from dicomweb.negotiation import Accept, ChosenOffer, Offer, not_acceptable
from dicomweb.transfer_syntax import EXPLICIT_VR_LITTLE_ENDIAN, FrameEncoding, transfer_syntax


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
        raise not_acceptable(offers[images[0]], single=single, multipart=True)
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
    return tuple(replace(offer, media_type=media_type) for media_type in (DICOM, ZIP) for offer in offers)


def bulk_offers(media_type: str | None) -> tuple[Offer, ...]:
    """What a bulk value can be had as: bytes, and the type that it has by nature, if any."""
    return (*((Offer(media_type),) if media_type else ()), Offer(OCTET_STREAM, EXPLICIT_VR_LITTLE_ENDIAN))


METADATA_OFFERS = (Offer(DICOM_JSON), Offer(JSON), Offer(DICOM_XML))
RENDERED_OFFERS = (Offer(JPEG), Offer(PNG), Offer(GIF), Offer(JP2), Offer(APNG))
THUMBNAIL_OFFERS = (Offer(JPEG), Offer(PNG))
