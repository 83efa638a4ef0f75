"""The grey transformations of a state, which replace those of the image (PS3.4 Section N.2, PS3.3 Section C.11)."""

import numpy as np
from PIL import Image
from pydicom import Dataset
from pydicom.valuerep import DSfloat

from wado.rendering.lut import Lut
from wado.rendering.modality import modality_of, modality_span
from wado.rendering.overlay import GROUPS
from wado.rendering.presentation.references import applies
from wado.rendering.values import items, text

_MODALITY = ("ModalityLUTSequence", "RescaleSlope", "RescaleIntercept", "RescaleType")
_VOI = ("VOILUTSequence", "WindowCenter", "WindowWidth", "VOILUTFunction")
_PRESENTATION = ("PresentationLUTSequence", "PresentationLUTShape")


def without_overlays(image: Dataset) -> Dataset:
    """The data set of an image without its overlays, which are only drawn if the state activates them."""
    flat = Dataset()
    flat.update({tag: image.get_item(tag) for tag in image.keys() if tag.group not in GROUPS})  # noqa: SIM118 - iteration would parse all
    return flat


def transformed(image: Dataset, state: Dataset, frame_number: int) -> Dataset:
    """The data set of a grey image with the modality LUT, VOI LUT and presentation LUT of a state instead of its own.

    `image` has the attributes of the functional groups of the frame. Only the state decides whether low values are
    white (PS3.3 Section C.11.6). Without a VOI LUT, the full range of possible values is shown.
    """
    flat = without_overlays(image)
    if not text(image, "PhotometricInterpretation").startswith("MONOCHROME"):
        return flat
    for keyword in (*_MODALITY, *_VOI, *_PRESENTATION):
        flat.pop(keyword, None)
    _copy(state, flat, (*_MODALITY, *_PRESENTATION))
    sop_instance_uid = text(image, "SOPInstanceUID")
    for voi in items(state, "SoftcopyVOILUTSequence"):
        if applies(voi, sop_instance_uid, frame_number):
            _copy(voi, flat, _VOI)
            break
    else:
        _show_all(flat)
    flat.PhotometricInterpretation = "MONOCHROME2"
    return flat


def coloured(grey: Image.Image, state: Dataset) -> Image.Image:
    """Grey levels in the palette of a pseudo-color state, stretched over all levels; unchanged without a palette."""
    tables = [Lut.of_palette(state, colour) for colour in ("Red", "Green", "Blue")]
    readable = [table for table in tables if table]
    if len(readable) < len(tables) or grey.mode != "L":
        return grey
    levels = np.arange(256) / 255
    palette = [
        table.of(table.first + levels * (len(table.entries) - 1)) / (2**table.bits - 1) * 255 for table in readable
    ]
    return Image.fromarray(np.rint(np.stack(palette, axis=-1)).astype(np.uint8)[np.asarray(grey)])


def _copy(source: Dataset, target: Dataset, keywords: tuple[str, ...]) -> None:
    for keyword in keywords:
        if keyword in source:
            target.add(source[keyword])


def _show_all(data_set: Dataset) -> None:
    """Set a window over all possible modality values."""
    lowest, highest = modality_span(data_set, modality_of(data_set))
    if highest > lowest:
        data_set.WindowCenter = DSfloat((lowest + highest) / 2, auto_format=True)
        data_set.WindowWidth = DSfloat(highest - lowest, auto_format=True)
        data_set.VOILUTFunction = "LINEAR_EXACT"
