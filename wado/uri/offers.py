"""What the URI service offers of an object (PS3.18 Section 9.5): always a single part, in the order of its defaults."""

from ahi.prepared import BulkValue, PreparedInstance
from dicomweb.transfer_syntax import transfer_syntax
from wado.representation import DICOM, RENDERED_OFFERS, Accept, Kind, Offer

_DOCUMENT = "00420011"


def choose_offer(prepared: PreparedInstance, accept: Accept, frame_number: int | None) -> Offer:
    """A picture by default of one frame, the DICOM object of all else; NotAcceptable if the client takes neither.

    An object without pixel data comes as Explicit VR Little Endian whatever transfer syntax is named.
    """
    kind = Kind.of(prepared)
    files = tuple(offer for offer in kind.files if offer.media_type == DICOM)
    video = transfer_syntax(prepared.transfer_syntax_uid).video
    pictures = RENDERED_OFFERS if prepared.frames and prepared.pixels and not video else ()
    one_frame = len(prepared.frames) == 1 or frame_number is not None
    document = document_of(prepared)
    natural = (Offer(document.media_type),) if document and document.media_type else ()
    offers = (*pictures, *files) if one_frame else (*files, *pictures)
    taken = accept if kind.has_frames else accept.in_any_syntax
    return taken.choose((*offers, *natural), single=True, multipart=False).offer


def document_of(prepared: PreparedInstance) -> BulkValue | None:
    """The encapsulated document, a PDF say, if there is one."""
    return next((value for value in prepared.bulk if value.path == _DOCUMENT), None)
