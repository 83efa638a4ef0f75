"""Pieces of files in the body of an answer: a server that can sends them without reading them."""

import errno
import os
from collections.abc import Callable, Iterable, Iterator
from typing import BinaryIO


class FilePiece:
    """Bytes `start` to before `stop` of an open file, which is closed when nobody has the piece any more.

    `on_unreadable` is called once when the file cannot be read or is shorter than it was, and `again` then gives the
    bytes of the whole file; without it that is an OSError. Never fewer bytes come than there were.
    """

    def __init__(
        self,
        file: BinaryIO,
        start: int,
        stop: int,
        on_unreadable: Callable[[], None] | None = None,
        again: "Callable[[], Chunk] | None" = None,
    ) -> None:
        self.file = file
        self.start = start
        self.stop = stop
        self._on_unreadable = on_unreadable
        self.again = again
        self._instead: Chunk | None = None

    def __len__(self) -> int:
        return self.stop - self.start

    def cut(self, start: int, stop: int) -> "FilePiece":
        """The same piece without what lies before `start` and from `stop` on, both counted from its beginning."""
        self.start, self.stop = self.start + start, min(self.stop, self.start + stop)
        return self

    def __del__(self) -> None:
        self.file.close()

    def __bytes__(self) -> bytes:
        return self.read(self.start, self.stop)

    def read(self, start: int, stop: int) -> bytes:
        """Bytes of the file, from `start` to before `stop`."""
        if self._instead is None:
            try:
                return read_exactly(self.file.fileno(), start, stop)
            except OSError:
                self.forget()
                if self.again is None:
                    raise
            self._instead = self.again()
        instead = self._instead
        return instead.read(start, stop) if isinstance(instead, FilePiece) else instead[start:stop]

    def forget(self) -> None:
        """Tell that the file is not what it was: once, as a good one may soon take its place."""
        told, self._on_unreadable = self._on_unreadable, None
        if told:
            told()

    def is_there(self) -> bool:
        """Whether the file still reaches as far as the piece."""
        return os.fstat(self.file.fileno()).st_size >= self.stop


Chunk = bytes | FilePiece
"""What bodies are made of."""


def read_exactly(handle: int, start: int, stop: int) -> bytes:
    """All of these bytes of a file; OSError when there are fewer.

    The length is looked at afterwards: while a file is being cut, its last bytes may read as zeros.
    """
    content = os.pread(handle, max(0, stop - start), start)
    while content and len(content) < stop - start:  # 2 GiB at a time
        more = os.pread(handle, stop - start - len(content), start + len(content))
        if not more:
            break
        content += more
    if os.fstat(handle).st_size < stop:
        raise OSError(errno.EIO, "a cached file is shorter than it was")
    return content


def between(chunks: Iterable[Chunk], start: int, stop: int) -> Iterator[Chunk]:
    """The bytes `start` to before `stop` of chunks that follow one another."""
    offset = 0
    for chunk in chunks:
        first, last = max(0, start - offset), min(len(chunk), stop - offset)
        offset += len(chunk)
        if first < last:
            yield chunk.cut(first, last) if isinstance(chunk, FilePiece) else chunk[first:last]
