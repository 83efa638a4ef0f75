"""The offers for instances, their frames and their bulk values (PS3.18 Section 8.7.3). Runs in the web processes."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache

from ahi.codecs.pixel_format import PixelFormat
from ahi.image_sets.frame_reference import lossless_encodings
from ahi.image_sets.prepared_reader import PreparedInstance
from dicomweb.media_types import APNG, DICOM, DICOM_JSON, DICOM_XML, GIF, JP2, JPEG, JSON, OCTET_STREAM, PNG, ZIP
from dicomweb.negotiation import Accept, ChosenOffer, Offer, not_acceptable
from dicomweb.transfer_syntax import EXPLICIT_VR_LITTLE_ENDIAN, FrameEncoding, transfer_syntax


@dataclass(frozen=True)
class InstanceKind:
    """The facts that the offers of an instance depend on: thousands of instances are of one or two kinds."""

    transfer_syntax_uid: str
    has_frames: bool
    pixels: PixelFormat | None

    @classmethod
    def of(cls, prepared: PreparedInstance) -> "InstanceKind":
        """The kind of an instance."""
        return cls(prepared.transfer_syntax_uid, bool(prepared.frames), prepared.pixels)

    @property
    def frames(self) -> tuple[Offer, ...]:
        """The offers for its frames."""
        return frame_offers(self.transfer_syntax_uid, self.pixels)

    @property
    def files(self) -> tuple[Offer, ...]:
        """The offers for its Part 10 file, by itself or in a ZIP file."""
        return instance_offers(self.transfer_syntax_uid, self.has_frames, self.pixels)


def agree(
    offers: Mapping[InstanceKind, Sequence[Offer]], accept: Accept, *, single: bool
) -> Mapping[InstanceKind, ChosenOffer]:
    """The choice for each kind, part by part (PS3.18 Section 8.7.8).

    Objects without frames have only one transfer syntax, and are sent in that whatever is requested. So is an image
    that does not exist in the requested one, as long as another image does: a series is not refused for one slice.
    NotAcceptable where no image exists as requested.
    """
    images = [kind for kind in offers if kind.has_frames]
    as_requested = {kind: accept.find(offers[kind], single=single) for kind in images}
    if images and not any(as_requested.values()):
        raise not_acceptable(offers[images[0]], single=single, multipart=True)
    lenient = accept.in_any_syntax
    return {kind: as_requested.get(kind) or lenient.choose(offers[kind], single=single) for kind in offers}


@lru_cache(1024)
def frame_offers(transfer_syntax_uid: str, pixels: PixelFormat | None = None) -> tuple[Offer, ...]:
    """The offers for a frame: native first if it can be decoded, then as stored, then encoded again.

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
    """The offers for a Part 10 file, by itself or in a ZIP file."""
    plain = (Offer(DICOM, EXPLICIT_VR_LITTLE_ENDIAN),)
    offers = frame_offers(transfer_syntax_uid, pixels) if has_frames else plain
    return tuple(replace(offer, media_type=media_type) for media_type in (DICOM, ZIP) for offer in offers)


def bulk_offers(media_type: str | None) -> tuple[Offer, ...]:
    """The offers for a bulk value: its own media type, if it has one, and plain bytes."""
    return (*((Offer(media_type),) if media_type else ()), Offer(OCTET_STREAM, EXPLICIT_VR_LITTLE_ENDIAN))


def plain_offers(media_types: Sequence[str]) -> tuple[Offer, ...]:
    """Offers of media types that have no transfer syntax."""
    return tuple(Offer(media_type) for media_type in media_types)


METADATA_OFFERS = (Offer(DICOM_JSON), Offer(JSON), Offer(DICOM_XML))
RENDERED_OFFERS = (Offer(JPEG), Offer(PNG), Offer(GIF), Offer(JP2), Offer(APNG))
THUMBNAIL_OFFERS = (Offer(JPEG), Offer(PNG))
