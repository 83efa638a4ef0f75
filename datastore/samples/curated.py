"""The samples of a first start: a few patients that show what the service and its viewers can do."""

from pathlib import Path

from datastore.samples.ct import SLICES, write_images
from datastore.samples.documents import write_letter, write_report
from datastore.samples.shipped import write_shipped
from datastore.samples.slide import write_slide


def write_curated(folder: Path, slices: int = SLICES) -> None:
    """Write the files of all samples into a folder, the CT with that many `slices`."""
    write_images(folder, slices)
    write_report(folder, slices)
    write_letter(folder)
    write_shipped(folder)
    write_slide(folder)
