"""The sample images of pydicom and pydicom-data, which an empty embedded data store can be filled with."""

from collections.abc import Iterator
from importlib.resources import files
from pathlib import Path

_FOLDERS = (
    ("pydicom", "data/test_files"),
    ("pydicom", "data/charset_files"),
    ("pydicom", "data/palettes"),
    ("data_store", "data"),
)
_NO_SAMPLES = frozenset({".py", ".pyc", ".md", ".txt", ".json", ".dump", ".icc"})


def sample_files() -> list[Path]:
    """All files that may be DICOM, sorted by path; nothing is downloaded."""
    return sorted(_sample_files())


def _sample_files() -> Iterator[Path]:
    for package, folder in _FOLDERS:
        for path in Path(str(files(package))).joinpath(folder).rglob("*"):
            if path.is_file() and path.suffix not in _NO_SAMPLES:
                yield path
