"""Thumbnails of all samples that have pixels, as a service answers them, on one sheet that a person can look at."""

import sys
import tempfile
from io import BytesIO
from pathlib import Path

import requests
from PIL import Image, ImageDraw, ImageFont

from datastore.embedded import Embedded
from tests.service.archive import Sample, write_samples
from tests.service.process import Service

SIDE, CAPTION, COLUMNS = 120, 14, 18
"""The sides of a thumbnail and the height of its caption in pixels, and how many are in a row."""

_LETTERS = 19


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
        Embedded(store).fill([sources])
        service = Service(work, {"DATASTORE_ROOT": str(store)})
        try:
            sheet(thumbnails(service, samples)).save(target, quality=80)
        finally:
            service.stop()


if __name__ == "__main__":
    main(Path(sys.argv[1]))
