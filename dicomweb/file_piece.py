"""Pieces of files in the body of an answer: a server that can sends them without reading them."""

import os
from collections.abc import Iterable, Iterator
from typing import BinaryIO


class FilePiece:
    """Bytes `start` to before `stop` of an open file, which is closed when nobody has the piece any more."""

    def __init__(self, file: BinaryIO, start: int, stop: int) -> None:
        self.file = file
        self.start = start
        self.stop = stop

    def __len__(self) -> int:
        return self.stop - self.start

    def cut(self, start: int, stop: int) -> "FilePiece":
        """The same piece without what lies before `start` and from `stop` on, both counted from its beginning."""
        self.start, self.stop = self.start + start, min(self.stop, self.start + stop)
        return self

    def __del__(self) -> None:
        self.file.close()

    def __bytes__(self) -> bytes:
        return os.pread(self.file.fileno(), len(self), self.start)


Chunk = bytes | FilePiece
"""What bodies are made of."""


def between(chunks: Iterable[Chunk], start: int, stop: int) -> Iterator[Chunk]:
    """The bytes `start` to before `stop` of chunks that follow one another."""
    offset = 0
    for chunk in chunks:
        first, last = max(0, start - offset), min(len(chunk), stop - offset)
        offset += len(chunk)
        if first < last:
            yield chunk.cut(first, last) if isinstance(chunk, FilePiece) else chunk[first:last]
