"""Thumbnails of all samples that have pixels, and of presentation states for some of them, as a service answers them.

They are put on one sheet that a person can look at.
"""

import sys
import tempfile
from io import BytesIO
from pathlib import Path

import requests
from PIL import Image, ImageDraw, ImageFont
from pydicom.dataset import FileMetaDataset
from pydicom.uid import ExplicitVRLittleEndian

from datastore.embedded import Embedded
from tests.service.archive import Sample, write_samples
from tests.service.process import Service
from tests.wado.rendering.made import made
from tests.wado.rendering.states import annotation, graphic, layer, state_for, words

SIDE, CAPTION, COLUMNS = 120, 14, 18
"""The sides of a thumbnail and the height of its caption in pixels, and how many are in a row."""

_LETTERS = 19


def write_states(folder: Path, samples: list[Sample]) -> list[Sample]:
    """Write a presentation state for each of three samples: with annotations and a shutter, turned, and of colours."""
    sources = {sample.name: sample.read() for sample in samples if sample.name in _STATES}
    written = []
    for name, attributes in _STATES.items():
        state = state_for(sources[name], colour=name == _COLOUR, **attributes)
        state.file_meta = FileMetaDataset()
        state.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
        path = folder / f"state-{name}"
        state.save_as(path, enforce_file_format=True)
        uids = (str(state[uid].value) for uid in ("StudyInstanceUID", "SeriesInstanceUID", "SOPInstanceUID"))
        written.append(Sample(f"PR-{name}", path, *uids))
    return written


_COLOUR = "SC_rgb.dcm"
_YELLOW, _GREEN = [62000, 30000, 58000], [48000, 12000, 52000]  # CIELab
_LAYERS = {
    "GraphicLayerSequence": [
        layer(name, order, GraphicLayerRecommendedDisplayCIELabValue=colour)
        for order, (name, colour) in enumerate((("LOW", _YELLOW), ("HIGH", _GREEN)))
    ]
}
_STATES: dict[str, dict[str, object]] = {
    "CT_small.dcm": {
        **_LAYERS,
        "RescaleSlope": "1",
        "RescaleIntercept": "-1024",
        "SoftcopyVOILUTSequence": [made(WindowCenter="40", WindowWidth="400")],
        "ShutterShape": "CIRCULAR",
        "CenterOfCircularShutter": [64, 64],
        "RadiusOfCircularShutter": 60,
        "ShutterPresentationValue": 16384,
        "GraphicAnnotationSequence": [
            annotation("LOW", graphic("ELLIPSE", 22, 92, 62, 92, 42, 80, 42, 104), words("A", (), (42, 80))),
            annotation("HIGH", graphic("POLYLINE", 60, 60, 70, 20), words("12 mm", (72, 20, 108, 34), (65, 40))),
        ],
    },
    "MR_small.dcm": {
        "ImageRotation": 90,
        "ImageHorizontalFlip": "Y",
        "PresentationLUTShape": "INVERSE",
        "SoftcopyVOILUTSequence": [made(WindowCenter="600", WindowWidth="1600")],
    },
    _COLOUR: {**_LAYERS, "GraphicAnnotationSequence": [annotation("LOW", words("colours", (10, 40, 90, 60)))]},
}
"""What each state says."""


def thumbnails(service: Service, samples: list[Sample]) -> list[tuple[str, Image.Image]]:
    """Those of the samples that can be rendered as an image, by name."""
    found = []
    for sample in sorted(samples, key=lambda sample: sample.name.lower()):
        url = "{}/studies/{}/series/{}/instances/{}".format(service.root, *sample.uids)
        if requests.get(f"{url}/rendered", {"viewport": "8,8"}, headers={"Accept": "image/gif"}, timeout=60).ok:
            answer = requests.get(f"{url}/thumbnail", {"viewport": f"{SIDE},{SIDE}"}, timeout=60)
            found.append((sample.name, Image.open(BytesIO(answer.content)).convert("RGB")))
    return found


def sheet(pictures: list[tuple[str, Image.Image]]) -> Image.Image:
    """The pictures in rows, each above its name, on a colour that no picture has."""
    rows = -(-len(pictures) // COLUMNS)
    made = Image.new("RGB", (COLUMNS * (SIDE + 6), rows * (SIDE + CAPTION + 4)), (24, 30, 66))
    drawing, font = ImageDraw.Draw(made), ImageFont.load_default(10)
    for number, (name, picture) in enumerate(pictures):
        x, y = number % COLUMNS * (SIDE + 6) + 3, number // COLUMNS * (SIDE + CAPTION + 4) + 2
        made.paste(picture, (x + (SIDE - picture.width) // 2, y + (SIDE - picture.height) // 2))
        drawing.text((x, y + SIDE + 1), name.removesuffix(".dcm")[:_LETTERS], (255, 255, 255), font)
    return made


def main(target: Path) -> None:
    """Write the sheet."""
    with tempfile.TemporaryDirectory() as folder:
        sources, store, work = (Path(folder, name) for name in ("samples", "store", "service"))
        for made in (sources, store, work):
            made.mkdir()
        samples = write_samples(sources)
        samples += write_states(sources, samples)
        Embedded(store).fill([sources])
        service = Service(work, {"DATASTORE_ROOT": str(store)})
        try:
            sheet(thumbnails(service, samples)).save(target, quality=80)
        finally:
            service.stop()


if __name__ == "__main__":
    main(Path(sys.argv[1]))
