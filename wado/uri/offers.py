"""What the URI service offers of an object (PS3.18 Section 9.5): always a single part, in the order of its defaults."""

from ahi.image_sets.prepared_reader import BulkValue, PreparedInstance
from dicomweb.media_types import DICOM
from dicomweb.negotiation import Accept, Offer
from dicomweb.transfer_syntax import transfer_syntax
from wado.rendered.objects import kind_of
from wado.rendering.presentation.references import SOP_CLASSES as STATES
from wado.representation import RENDERED_OFFERS, InstanceKind

_DOCUMENT = "00420011"


def choose_offer(prepared: PreparedInstance, accept: Accept, frame_number: int | None) -> Offer:
    """By default a picture of one frame, a page of a report, and of all else the DICOM object.

    NotAcceptable if the client takes none. An object without pixel data comes as Explicit VR Little Endian whatever
    transfer syntax is named.
    """
    kind = InstanceKind.of(prepared)
    files = tuple(offer for offer in kind.files if offer.media_type == DICOM)
    rendered = _rendered(prepared)
    is_text = any(offer.media_type == "text/plain" for offer in rendered)
    one_frame = len(prepared.frames) == 1 or (kind.has_frames and frame_number is not None)
    offers = (*rendered, *files) if one_frame or is_text else (*files, *rendered)
    taken = accept if kind.has_frames else accept.in_any_syntax
    return taken.choose(offers, single=True, multipart=False).offer


def _rendered(prepared: PreparedInstance) -> tuple[Offer, ...]:
    """Pictures of an image, the document that is encapsulated, or what else the object can be rendered as."""
    if prepared.frames:
        video = transfer_syntax(prepared.transfer_syntax_uid).video
        return RENDERED_OFFERS if prepared.pixels and not video else ()
    document = document_of(prepared)
    if document:
        return (Offer(document.media_type),) if document.media_type else ()
    if prepared.sop_class_uid in STATES:
        return RENDERED_OFFERS
    kind = kind_of(prepared.sop_class_uid)
    return () if kind.stored else kind.offers


def document_of(prepared: PreparedInstance) -> BulkValue | None:
    """The encapsulated document, a PDF say, if there is one."""
    return next((value for value in prepared.bulk if value.path == _DOCUMENT), None)
