"""What is cut out of a body of bytes and pieces of files is what is cut out of its bytes, and files are closed."""

from itertools import product
from pathlib import Path

import pytest

from runtime.file_piece import Chunk, FilePiece, between

TEXT = b"head0123456789tail"


def _chunks(folder: Path) -> list[Chunk]:
    path = folder / "file"
    path.write_bytes(b"..0123456789..")
    return [b"head", FilePiece(path.open("rb", buffering=0), 2, 12), b"", b"tail"]


@pytest.mark.parametrize(("start", "stop"), [(a, b) for a, b in product(range(19), repeat=2) if a <= b])
def test_a_part_of_a_body_is_that_part_of_its_bytes(start: int, stop: int, tmp_path: Path) -> None:
    assert b"".join(map(bytes, between(_chunks(tmp_path), start, stop))) == TEXT[start:stop]


def test_a_file_stays_a_file_and_is_closed_when_nobody_has_it(tmp_path: Path) -> None:
    chunks = _chunks(tmp_path)
    file = next(chunk.file for chunk in chunks if isinstance(chunk, FilePiece))
    found = list(between(chunks, 6, 8))
    assert [type(chunk) for chunk in found] == [FilePiece]
    del chunks, found
    assert file.closed


def test_a_file_that_is_shorter_is_told_once(tmp_path: Path) -> None:
    told: list[str] = []
    path = tmp_path / "file"
    path.write_bytes(b"01234")
    piece = FilePiece(path.open("rb", buffering=0), 0, 12, lambda: told.append("file"))
    for _ in range(3):
        with pytest.raises(OSError, match="shorter"):
            bytes(piece)
    piece.forget()
    assert told == ["file"]
