"""What the picture of each sample looks like, in numbers: a table that a test holds the service to.

python -m tests.service.renderings tests/service/renderings.csv    writes it anew; look at the difference
"""

import csv
import sys
import tempfile
from collections.abc import Iterable, Mapping
from dataclasses import astuple, dataclass, fields
from io import BytesIO
from pathlib import Path

import numpy as np
import requests
from PIL import Image

from datastore.embedded import Embedded
from tests.service.archive import Sample, write_samples
from tests.service.process import Service

TABLE = Path(__file__).with_suffix(".csv")


@dataclass(frozen=True)
class Rendering:
    """One picture: its size in pixels, and grey levels from 0 to 255 of all of it and of its quarters."""

    name: str
    mode: str
    columns: int
    rows: int
    mean: float
    deviation: float
    upper_left: float
    upper_right: float
    lower_left: float
    lower_right: float

    @classmethod
    def of(cls, name: str, picture: Image.Image) -> "Rendering":
        """The numbers of a picture."""
        grey = np.asarray(picture.convert("L"), np.float64)
        row, column = (grey.shape[0] + 1) // 2, (grey.shape[1] + 1) // 2
        quarters = (grey[:row, :column], grey[:row, -column:], grey[-row:, :column], grey[-row:, -column:])
        levels = (grey.mean(), grey.std(), *(quarter.mean() for quarter in quarters))
        return cls(name, picture.mode, *picture.size, *(round(float(level), 1) for level in levels))

    @property
    def levels(self) -> tuple[float, ...]:
        """All that is a grey level."""
        return astuple(self)[4:]


def read_table() -> Mapping[str, Rendering]:
    """The table, by the name of the sample."""
    with TABLE.open(newline="") as file:
        rows = [
            Rendering(row[0], row[1], int(row[2]), int(row[3]), *map(float, row[4:]))
            for row in list(csv.reader(file))[1:]
        ]
    return {row.name: row for row in rows}


def rendered(service: Service, sample: Sample, resource: str = "rendered") -> Image.Image | None:
    """The picture of the first frame; None where the sample has none."""
    url = "{}/studies/{}/series/{}/instances/{}".format(service.root, *sample.uids)
    answer = requests.get(f"{url}/frames/1/{resource}", headers={"Accept": "image/png"}, timeout=60)
    return Image.open(BytesIO(answer.content)) if answer.ok else None


def write_table(renderings: Iterable[Rendering], path: Path) -> None:
    """Write the table."""
    with path.open("w", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow([field.name for field in fields(Rendering)])
        writer.writerows(map(astuple, sorted(renderings, key=lambda one: one.name.lower())))


def main(target: Path) -> None:
    """Write the table of what the service renders now."""
    with tempfile.TemporaryDirectory() as folder:
        sources, store, work = (Path(folder, name) for name in ("samples", "store", "service"))
        for made in (sources, store, work):
            made.mkdir()
        samples = write_samples(sources)
        Embedded(store).fill([sources])
        service = Service(work, {"DATASTORE_ROOT": str(store)})
        try:
            pictures = ((sample.name, rendered(service, sample)) for sample in samples)
            write_table([Rendering.of(name, picture) for name, picture in pictures if picture], target)
        finally:
            service.stop()


if __name__ == "__main__":
    main(Path(sys.argv[1]))
