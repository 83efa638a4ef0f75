"""Objects without pixel data as documents and drawings (PS3.18 Section 8.7.4), and the icons that stand for them."""

from dataclasses import dataclass

from PIL import Image
from pydicom import Dataset
from pydicom.uid import UID

from dicomweb.errors import NotAcceptable
from dicomweb.media_types import HTML, JPEG, PLAIN_TEXT, PNG, SVG
from wado.rendering.ecg_layout import lay_out
from wado.rendering.encode import encode
from wado.rendering.geometry import fitted
from wado.rendering.icon import draw_icon
from wado.rendering.parameters import Rendering
from wado.rendering.report import Report
from wado.rendering.report_html import CONTENT_SECURITY_POLICY, encode_html
from wado.rendering.report_text import encode_text
from wado.rendering.values import date_time, quietly, text
from wado.rendering.vector_drawing import VectorDrawing, draw_raster, encode_svg
from wado.rendering.waveform import MAX_GROUPS, parse_statements, parse_waveforms

_STORAGE = "1.2.840.10008.5.1.4.1.1."
_ELECTROCARDIOGRAMS = tuple(f"{_STORAGE}{node}" for node in ("9.1.1", "9.1.2", "9.1.3", "9.1.4", "9.3.1"))
_RASTER = (2200, 3200)  # pixels that a waveform fits into by default

POLICIES = {HTML: CONTENT_SECURITY_POLICY, SVG: "default-src 'none'; sandbox"}
"""The Content-Security-Policy of pages and drawings that are made here; a stored document gets a stricter one."""


@dataclass(frozen=True)
class ObjectKind:
    """A family of SOP classes: its icon, and the media types of its rendered form, the default first.

    Without media types it has an icon only. `stored`: the rendered form is the encapsulated document itself.
    """

    sign: str
    media_types: tuple[str, ...] = ()
    stored: bool = False


_REPORT = (HTML, PLAIN_TEXT)
_KINDS = (  # by node of the SOP class UID, the first match counts (PS3.4 Section B.5)
    ("88.59", ObjectKind("key objects", _REPORT)),
    ("88", ObjectKind("report", _REPORT)),
    ("104.1", ObjectKind("document", ("application/pdf",), stored=True)),
    ("104.2", ObjectKind("document", ("text/xml",), stored=True)),
    ("104.3", ObjectKind("model", ("model/stl",), stored=True)),
    ("104.4", ObjectKind("model", ("model/obj",), stored=True)),
    ("104.5", ObjectKind("model", ("model/mtl",), stored=True)),
    ("9", ObjectKind("waveform", (SVG, PNG, JPEG))),
    ("11", ObjectKind("presentation")),
    ("481", ObjectKind("radiotherapy")),
    ("68", ObjectKind("model")),
)
_OTHER = ObjectKind("object")


def kind_of(sop_class_uid: str) -> ObjectKind:
    """The kind of an object without pixel data."""
    node = f"{sop_class_uid.removeprefix(_STORAGE)}."
    return next((kind for family, kind in _KINDS if node.startswith(f"{family}.")), _OTHER)


def encode_object(data_set: Dataset, media_type: str, root: str, rendering: Rendering) -> bytes:
    """A report or a waveform in a media type of its kind.

    URLs in it are below `root`. Viewport and quality of `rendering` apply to pictures in pixels. NotAcceptable where
    there is nothing that can be drawn.
    """
    match media_type:
        case "text/html":
            return encode_html(Report.from_data_set(data_set), root)
        case "text/plain":
            return encode_text(Report.from_data_set(data_set), root)
        case "image/svg+xml":
            return encode_svg(_draw_waveform(data_set))
        case _:
            drawn = draw_raster(_draw_waveform(data_set), *_RASTER)
            drawn = fitted(drawn, drawn.width, drawn.height, 1.0, rendering.viewport)
            return encode([drawn], media_type, rendering.quality, None, 0)


def draw_thumbnail(data_set: Dataset, width: int, height: int) -> Image.Image:
    """A picture of `width` x `height` pixels for an object without pixel data: its waveform, else an icon."""
    with quietly():
        kind, modality = kind_of(text(data_set, "SOPClassUID")), text(data_set, "Modality")
    if kind.sign == "waveform" and parse_waveforms(data_set):
        return draw_raster(_draw_waveform(data_set, 1), width, height)
    return draw_icon(kind.sign, modality, width, height)


def _draw_waveform(data_set: Dataset, most_groups: int = MAX_GROUPS) -> VectorDrawing:
    groups = parse_waveforms(data_set)[:most_groups]
    if not groups:
        raise NotAcceptable("the instance has no samples that can be drawn")
    statements = parse_statements(data_set)
    with quietly():
        uid = UID(text(data_set, "SOPClassUID"))
        title = f"{uid.name.removesuffix(' Storage')}  {date_time(data_set, 'AcquisitionDateTime')}"
        return lay_out(
            groups, electrocardiogram=uid.startswith(_ELECTROCARDIOGRAMS), title=title, statements=statements
        )
