"""Bytes of a file that is too long for memory, read in windows."""

import hashlib
import os
from typing import Protocol

_WINDOW_BYTES = 2**20


class Bytes(Protocol):
    """A sequence of bytes of which parts can be read."""

    def read(self, start: int, count: int) -> bytes:
        """The bytes from `start` on, `count` of them; fewer at the end."""


class FileBytes:
    """The first `length_bytes` of a file. One thread uses it."""

    def __init__(self, descriptor: int, length_bytes: int) -> None:
        self._descriptor = descriptor
        self.length_bytes = length_bytes
        self._window, self._window_start = b"", 0

    def read(self, start: int, count: int) -> bytes:
        """The bytes from `start` on, `count` of them; fewer at the end."""
        window = self._covering(start, count)
        at = start - self._window_start
        return window[at : at + count]

    def find(self, text: bytes, start: int) -> int:
        """The position of the next `text` at or after `start`; -1 if there is none."""
        while start + len(text) <= self.length_bytes:
            window = self._covering(start, len(text))
            if (found := window.find(text, start - self._window_start)) >= 0:
                return self._window_start + found
            start = self._window_start + len(window) - len(text) + 1
        return -1

    def sha256(self, start: int, stop: int) -> str:
        """The digest of a range, in hexadecimal digits."""
        digest = hashlib.sha256()
        while start < stop:
            window = self._covering(start, 1)
            with memoryview(window)[start - self._window_start :][: stop - start] as piece:
                digest.update(piece)
                start += len(piece)
        return digest.hexdigest()

    def _covering(self, start: int, count: int) -> bytes:
        """The window, moved if it does not cover the range."""
        stop = min(start + count, self.length_bytes)
        if not self._window_start <= start <= stop <= self._window_start + len(self._window):
            most = min(max(_WINDOW_BYTES, count), max(0, self.length_bytes - start))
            self._window, self._window_start = self._pread(start, most), start
        return self._window

    def _pread(self, start: int, count: int) -> bytes:
        """Read all of a range; OSError if the file is shorter."""
        pieces = []
        while count > 0:
            piece = os.pread(self._descriptor, count, start)
            if not piece:
                raise OSError("the file is shorter than it was")
            pieces.append(piece)
            start, count = start + len(piece), count - len(piece)
        return pieces[0] if len(pieces) == 1 else b"".join(pieces)


class MemoryBytes:
    """Bytes in memory."""

    def __init__(self, content: bytes) -> None:
        self._content = content

    def read(self, start: int, count: int) -> bytes:
        """The bytes from `start` on, `count` of them; fewer at the end."""
        return self._content[start : start + count]
