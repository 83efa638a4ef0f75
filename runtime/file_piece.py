"""Pieces of files in the body of an answer, which the server can send without reading them."""

import errno
import os
from collections.abc import Callable, Iterable, Iterator
from typing import BinaryIO


class FilePiece:
    """Bytes `start` to before `stop` of an open file, which is closed when the piece is no longer referenced.

    If the file cannot be read or is shorter than it was, `on_unreadable` is called once, and `again` returns the bytes
    of the whole file. Without `again` that is an OSError. Fewer bytes than announced are never returned.
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
        """Shorten the piece to its bytes `start` to before `stop`, counted from its beginning; the piece itself."""
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
        """Call `on_unreadable`, only once: a good file may soon take the place of this one."""
        on_unreadable, self._on_unreadable = self._on_unreadable, None
        if on_unreadable:
            on_unreadable()

    def is_there(self) -> bool:
        """Whether the file still reaches as far as the piece."""
        return os.fstat(self.file.fileno()).st_size >= self.stop


Chunk = bytes | FilePiece
"""One part of a body."""


def read_exactly(handle: int, start: int, stop: int) -> bytes:
    """The bytes `start` to before `stop` of a file; OSError if there are fewer.

    The length is checked afterwards: while a file is being cut short, its last bytes may read as zeros.
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
    """The bytes `start` to before `stop` of consecutive chunks."""
    offset = 0
    for chunk in chunks:
        first, last = max(0, start - offset), min(len(chunk), stop - offset)
        offset += len(chunk)
        if first < last:
            yield chunk.cut(first, last) if isinstance(chunk, FilePiece) else chunk[first:last]
