"""The size of a ZIP file is known before it is made, for any number and size of entries."""

import zipfile
from collections.abc import Iterator
from dataclasses import dataclass
from io import BytesIO
from types import SimpleNamespace

import pytest

from dicomweb.file_piece import Chunk
from wado.archive import encode_zip, zip_length
from wado.part10 import Part10


@dataclass(frozen=True)
class File:
    """What a ZIP file needs to know of a Part 10 object."""

    number: int
    length_bytes: int
    sized: bool = True

    @property
    def instance(self) -> SimpleNamespace:
        prepared = SimpleNamespace(sop_instance_uid=f"1.2.3.{self.number}")
        return SimpleNamespace(series_instance_uid="1.2.3", prepared=prepared)

    def chunks(self, fetched: Iterator[Chunk]) -> Iterator[Chunk]:
        return iter([bytes(self.length_bytes // 2), bytes(self.length_bytes - self.length_bytes // 2)])


def _encoded(files: list[Part10]) -> bytes:
    return b"".join(encode_zip(files, lambda _: iter(())))


@pytest.mark.parametrize("sizes", [[], [0], [1, 2, 3], [200, 10, 3000], [10] * 30, [5000, 5000]])
@pytest.mark.parametrize(("most_bytes", "most_files"), [(2**31 - 1, 65_535), (1000, 65_535), (2**31 - 1, 2), (150, 2)])
def test_the_size_is_that_of_the_file(
    sizes: list[int], most_bytes: int, most_files: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What needs 64 bits is put down in other fields: here with bounds that files of a few bytes reach."""
    monkeypatch.setattr(zipfile, "ZIP64_LIMIT", most_bytes)
    monkeypatch.setattr(zipfile, "ZIP_FILECOUNT_LIMIT", most_files)
    files: list = [File(number, size) for number, size in enumerate(sizes)]
    encoded = _encoded(files)
    assert zip_length(files) == len(encoded)
    with zipfile.ZipFile(BytesIO(encoded)) as archive:
        assert [entry.file_size for entry in archive.infolist()] == sizes


def test_what_is_not_known_of_one_file_is_not_known_of_all() -> None:
    files: list = [File(1, 10), File(2, 10, sized=False)]
    assert zip_length(files) is None
