"""Encapsulated documents as they are stored (PS3.3 Section C.24.2). Runs in the web processes."""

from ahi.image_sets.prepared_reader import BulkValue, PreparedInstance
from dicomweb.errors import NotAcceptable, NotFound
from wado.locate import LocatedInstance

_ENCAPSULATED_DOCUMENT = "00420011"
_PADDED = frozenset({"text/xml", "model/obj", "model/mtl"})  # a NUL would make these ill-formed


def document_of(prepared: PreparedInstance) -> BulkValue | None:
    """The encapsulated document, a PDF for example, if there is one."""
    return next((value for value in prepared.bulk if value.path == _ENCAPSULATED_DOCUMENT), None)


def read_document(instance: LocatedInstance, media_type: str) -> bytes:
    """The bytes of the encapsulated document, without padding where that would harm; NotAcceptable without one."""
    try:
        body = instance.image_set.block(instance.bulk(_ENCAPSULATED_DOCUMENT).where)
    except NotFound:
        raise NotAcceptable("the instance holds no document") from None
    return body.removesuffix(b"\0") if media_type in _PADDED else body
