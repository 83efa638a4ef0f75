"""The sample files that pydicom brings along."""

from pathlib import Path

from pydicom import FileDataset, dcmread
from pydicom.data import get_testdata_file


def pydicom_path(name: str) -> Path:
    """Where a file is; a few are fetched when they are asked for first."""
    found = get_testdata_file(name, read=False)
    assert isinstance(found, str), f"pydicom has no file {name}"
    return Path(found)


def pydicom_file(name: str) -> FileDataset:
    """The data set of a file."""
    return dcmread(pydicom_path(name))
