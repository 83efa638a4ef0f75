"""What objects that are no images are rendered as (PS3.18 Section 8.7.4), and the icons that stand for them."""

import hashlib
from dataclasses import dataclass

from PIL import Image
from pydicom import Dataset
from pydicom.uid import UID

from ahi.workers.context import WorkerContext
from dicomweb.errors import NotAcceptable, NotFound
from dicomweb.media_types import JPEG, PNG
from dicomweb.negotiation import Offer
from runtime.timing import measured
from wado.locate import LocatedInstance
from wado.rendering.ecg_layout import lay_out
from wado.rendering.encode import FORMATS, encode
from wado.rendering.geometry import fitted
from wado.rendering.icon import draw_icon
from wado.rendering.parameters import Rendering
from wado.rendering.report import Report
from wado.rendering.report_html import CONTENT_SECURITY_POLICY, encode_html
from wado.rendering.report_text import encode_text
from wado.rendering.values import date_time, parse_head, quietly, text
from wado.rendering.vector_drawing import VectorDrawing, draw_raster, encode_svg
from wado.rendering.waveform import MAX_GROUPS, parse_statements, parse_waveforms

_STORAGE = "1.2.840.10008.5.1.4.1.1."
_ELECTROCARDIOGRAMS = tuple(f"{_STORAGE}{node}" for node in ("9.1.1", "9.1.2", "9.1.3", "9.1.4", "9.3.1"))
_DOCUMENT = "00420011"
_RASTER = (2200, 3200)  # pixels that a waveform fits into where nothing else is asked for

POLICIES = {"text/html": CONTENT_SECURITY_POLICY, "image/svg+xml": "default-src 'none'; sandbox"}
"""The Content-Security-Policy of pages and drawings that are made here; a stored document gets a stricter one."""

_PADDED = frozenset({"text/xml", "model/obj", "model/mtl"})  # a NUL would make these ill-formed


@dataclass(frozen=True)
class ObjectKind:
    """What is known of a family of SOP classes. `stored` are the types that are the encapsulated document itself."""

    sign: str
    media_types: tuple[str, ...] = ()
    stored: bool = False

    @property
    def offers(self) -> tuple[Offer, ...]:
        """What it can be rendered as, the default first; nothing where it has an icon only."""
        return tuple(Offer(media_type) for media_type in self.media_types)


_REPORT = ("text/html", "text/plain")
_KINDS: tuple[
    tuple[str, ObjectKind], ...
] = (  # the first whose node, or a node above, is the SOP class: PS3.4 Section B.5
    ("88.59", ObjectKind("key objects", _REPORT)),
    ("88", ObjectKind("report", _REPORT)),
    ("104.1", ObjectKind("document", ("application/pdf",), stored=True)),
    ("104.2", ObjectKind("document", ("text/xml",), stored=True)),
    ("104.3", ObjectKind("model", ("model/stl",), stored=True)),
    ("104.4", ObjectKind("model", ("model/obj",), stored=True)),
    ("104.5", ObjectKind("model", ("model/mtl",), stored=True)),
    ("9", ObjectKind("waveform", ("image/svg+xml", PNG, JPEG))),
    ("11", ObjectKind("presentation")),
    ("481", ObjectKind("radiotherapy")),
    ("68", ObjectKind("model")),
)
_OTHER = ObjectKind("object")


def kind_of(sop_class_uid: str) -> ObjectKind:
    """The kind of an object without pixel data."""
    node = f"{sop_class_uid.removeprefix(_STORAGE)}."
    return next((kind for family, kind in _KINDS if node.startswith(f"{family}.")), _OTHER)


def document(instance: LocatedInstance, media_type: str) -> bytes:
    """The encapsulated document, without the byte that makes its length even (PS3.3 Section C.24.2)."""
    try:
        body = instance.image_set.block(instance.bulk(_DOCUMENT).where)
    except NotFound:
        raise NotAcceptable("the instance holds no document") from None
    return body.removesuffix(b"\0") if media_type in _PADDED else body


@dataclass(frozen=True)
class ObjectPicture:
    """What to render: a data set (Explicit VR Little Endian), for whom (URLs are below `root`), as which media type.

    Of `rendering` the viewport and the quality count, and for drawings in pixels only.
    """

    head: bytes
    root: str
    media_type: str
    rendering: Rendering = Rendering()

    @property
    def cache_name(self) -> str:
        """Changes with everything that changes the bytes."""
        shown = (self.rendering.viewport, self.rendering.quality) if self.media_type in FORMATS else ()
        digest = hashlib.sha256(repr((self.root, self.media_type, *shown)).encode() + self.head).hexdigest()
        return f"rendered/{digest[:2]}/{digest}"


def render_object(context: WorkerContext, picture: ObjectPicture) -> bytes:
    """The rendered object: a job for a fetcher. NotAcceptable where there is nothing that can be drawn."""
    kept = context.cache.read(picture.cache_name)
    if kept is not None:
        return kept
    with measured("render", picture.media_type):
        rendered = _rendered(parse_head(picture.head), picture)
    context.cache.put(picture.cache_name, rendered)
    return rendered


def _waveform(data_set: Dataset, most: int = MAX_GROUPS) -> VectorDrawing:
    groups = parse_waveforms(data_set)[:most]
    if not groups:
        raise NotAcceptable("the instance has no samples that can be drawn")
    statements = parse_statements(data_set)
    with quietly():
        uid = UID(text(data_set, "SOPClassUID"))
        title = f"{uid.name.removesuffix(' Storage')}  {date_time(data_set, 'AcquisitionDateTime')}"
        return lay_out(
            groups, electrocardiogram=uid.startswith(_ELECTROCARDIOGRAMS), title=title, statements=statements
        )


def _rendered(data_set: Dataset, picture: ObjectPicture) -> bytes:
    match picture.media_type:
        case "text/html":
            return encode_html(Report.from_data_set(data_set), picture.root)
        case "text/plain":
            return encode_text(Report.from_data_set(data_set), picture.root)
        case "image/svg+xml":
            return encode_svg(_waveform(data_set))
        case media_type:
            drawn = draw_raster(_waveform(data_set), *_RASTER)
            drawn = fitted(drawn, drawn.width, drawn.height, 1.0, picture.rendering.viewport)
            return encode([drawn], media_type, picture.rendering.quality, None, 0)


@dataclass(frozen=True)
class ObjectThumbnail:
    """What stands for an object without pixel data, as columns and rows of an image of the media type."""

    head: bytes
    columns: int
    rows: int
    media_type: str


def render_thumbnail(_workshop: WorkerContext, wanted: ObjectThumbnail) -> bytes:
    """The encoded thumbnail: a job for a fetcher."""
    with measured("render", wanted.media_type):
        return encode([thumbnail(wanted.head, wanted.columns, wanted.rows)], wanted.media_type, None, None, 0)


def thumbnail(head: bytes, width: int, height: int) -> Image.Image:
    """A picture that stands for an object without pixel data: a drawing of its waveform, else an icon."""
    data_set = parse_head(head)
    with quietly():
        kind, modality = kind_of(text(data_set, "SOPClassUID")), text(data_set, "Modality")
    if kind.sign == "waveform" and parse_waveforms(data_set):
        return draw_raster(_waveform(data_set, 1), width, height)
    return draw_icon(kind.sign, modality, width, height)
