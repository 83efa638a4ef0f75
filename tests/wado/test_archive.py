"""The size of a ZIP file is known before it is made, for any number and size of entries."""

import zipfile
from collections.abc import Iterator
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from runtime.file_piece import Chunk
from wado.archive import encode_zip, zip_length
from wado.part10 import Part10


@dataclass(frozen=True)
class File:
    """What a ZIP file needs to know of a Part 10 object."""

    number: int | str
    length_bytes: int
    sized: bool = True
    series: str = "1.2.3"

    @property
    def instance(self) -> SimpleNamespace:
        uid = f"1.2.3.{self.number}" if isinstance(self.number, int) else self.number
        return SimpleNamespace(series_instance_uid=self.series, prepared=SimpleNamespace(sop_instance_uid=uid))

    def chunks(self, fetched: Iterator[Chunk]) -> Iterator[Chunk]:
        return iter([bytes(self.length_bytes // 2), bytes(self.length_bytes - self.length_bytes // 2)])


def _encoded(files: list[Part10]) -> bytes:
    return b"".join(encode_zip(((file, iter(())) for file in files), None))


@pytest.mark.parametrize("sizes", [[], [0], [1, 2, 3], [200, 10, 3000], [10] * 30, [5000, 5000]])
@pytest.mark.parametrize(("most_bytes", "most_files"), [(2**31 - 1, 65_535), (1000, 65_535), (2**31 - 1, 2), (150, 2)])
def test_the_size_is_that_of_the_file(
    sizes: list[int], most_bytes: int, most_files: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What needs 64 bits is put down in other fields: here with bounds that files of a few bytes reach."""
    monkeypatch.setattr(zipfile, "ZIP64_LIMIT", most_bytes)
    monkeypatch.setattr(zipfile, "ZIP_FILECOUNT_LIMIT", most_files)
    files: list[Any] = [File(number, size) for number, size in enumerate(sizes)]
    encoded = _encoded(files)
    assert zip_length(files) == len(encoded)
    with zipfile.ZipFile(BytesIO(encoded)) as archive:
        assert [entry.file_size for entry in archive.infolist()] == sizes


def test_what_is_not_known_of_one_file_is_not_known_of_all() -> None:
    files: list[Any] = [File(1, 10), File(2, 10, sized=False)]
    assert zip_length(files) is None


ODD = [
    "uid.a1",
    "uid.b1",
    "a1",
    "A1",
    "1 2",
    "12",
    "../../etc/passwd",
    "/1",
    "..",
    "",
    "C:\\1",
    "9" * 256,
    "1.2.",
    "1.2",
]


def test_objects_with_odd_uids_have_entries_of_their_own(tmp_path: Path) -> None:
    """Names that differ in their digits only by case, by blanks or by letters were one; some were absolute."""
    files: list[Any] = [
        File(uid, number, series=series) for number, uid in enumerate(ODD) for series in ("1.2", "..", "")
    ]
    encoded = _encoded(files)
    assert zip_length(files) == len(encoded)
    with zipfile.ZipFile(BytesIO(encoded)) as archive:
        archive.extractall(tmp_path)
    found = [path.relative_to(tmp_path) for path in tmp_path.rglob("*.dcm")]
    assert len({str(path).casefold() for path in found}) == len(files)
    assert {len(path.parts) for path in found} == {2}
    assert sorted(tmp_path.joinpath(path).stat().st_size for path in found) == sorted(
        file.length_bytes for file in files
    )
