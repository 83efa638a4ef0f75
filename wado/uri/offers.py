"""The offers of the URI service for an object (PS3.18 Section 9.5): single parts, in the order of its defaults."""

from ahi.image_sets.prepared_reader import PreparedInstance
from dicomweb.media_types import DICOM, PLAIN_TEXT
from dicomweb.negotiation import Accept, Offer
from dicomweb.transfer_syntax import transfer_syntax
from wado.rendered.documents import document_of
from wado.rendering.objects import kind_of
from wado.rendering.presentation.references import SOP_CLASSES as STATES
from wado.representation import RENDERED_OFFERS, InstanceKind, plain_offers


def choose_offer(prepared: PreparedInstance, accept: Accept, frame_number: int | None) -> Offer:
    """The offer that the client takes: by default a picture of one frame, a page of a report, else the DICOM object.

    An object without pixel data comes as Explicit VR Little Endian whatever transfer syntax is named. NotAcceptable if
    the client takes none.
    """
    kind = InstanceKind.of(prepared)
    files = tuple(offer for offer in kind.files if offer.media_type == DICOM)
    rendered = _rendered(prepared)
    is_text = any(offer.media_type == PLAIN_TEXT for offer in rendered)
    one_frame = len(prepared.frames) == 1 or (kind.has_frames and frame_number is not None)
    offers = (*rendered, *files) if one_frame or is_text else (*files, *rendered)
    accept = accept if kind.has_frames else accept.in_any_syntax
    return accept.choose(offers, single=True, multipart=False).offer


def _rendered(prepared: PreparedInstance) -> tuple[Offer, ...]:
    """Pictures of an image, the encapsulated document, or the rendered form of any other object."""
    if prepared.frames:
        video = transfer_syntax(prepared.transfer_syntax_uid).video
        return RENDERED_OFFERS if prepared.pixels and not video else ()
    document = document_of(prepared)
    if document:
        return (Offer(document.media_type),) if document.media_type else ()
    if prepared.sop_class_uid in STATES:
        return RENDERED_OFFERS
    kind = kind_of(prepared.sop_class_uid)
    return () if kind.stored else plain_offers(kind.media_types)
