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
    """The first `length_bytes` of a file. One thread uses it.

    All windows are read into one buffer: new memory for each would take as long as the reading.
    """

    def __init__(self, descriptor: int, length_bytes: int) -> None:
        self._descriptor = descriptor
        self.length_bytes = length_bytes
        self._buffer = bytearray()
        self._start = self._stop = 0  # of the window within the file

    def read(self, start: int, count: int) -> bytes:
        """The bytes from `start` on, `count` of them; fewer at the end."""
        self._cover(start, count)
        upto = max(start, min(start + count, self._stop))
        return bytes(memoryview(self._buffer)[start - self._start : upto - self._start])

    def find(self, text: bytes, start: int) -> int:
        """The position of the next `text` at or after `start`; -1 if there is none."""
        while start + len(text) <= self.length_bytes:
            self._cover(start, len(text))
            found = self._buffer.find(text, start - self._start, self._stop - self._start)
            if found >= 0:
                return self._start + found
            start = self._stop - len(text) + 1
        return -1

    def sha256(self, start: int, stop: int) -> str:
        """The digest of a range, in hexadecimal digits."""
        digest = hashlib.sha256()
        while start < stop:
            self._cover(start, 1)
            upto = min(stop, self._stop)
            digest.update(memoryview(self._buffer)[start - self._start : upto - self._start])
            start = upto
        return digest.hexdigest()

    def _cover(self, start: int, count: int) -> None:
        """Move the window if it does not cover the range; OSError if the file is shorter."""
        stop = min(start + count, self.length_bytes)
        if self._start <= start <= stop <= self._stop:
            return
        stop = min(start + max(_WINDOW_BYTES, count), self.length_bytes)
        if len(self._buffer) < stop - start:
            self._buffer = bytearray(stop - start)
        self._start = self._stop = start
        with memoryview(self._buffer) as view:
            while self._stop < stop:
                filled = os.preadv(self._descriptor, [view[self._stop - start : stop - start]], self._stop)
                if not filled:
                    raise OSError("the file is shorter than it was")
                self._stop += filled


class MemoryBytes:
    """Bytes in memory."""

    def __init__(self, content: bytes) -> None:
        self._content = content

    def read(self, start: int, count: int) -> bytes:
        """The bytes from `start` on, `count` of them; fewer at the end."""
        return self._content[start : start + count]
