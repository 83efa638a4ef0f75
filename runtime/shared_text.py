"""A text in memory that processes share: one process writes it, others read it, whole or not at all.

There are two places. A text is written to the one that nobody reads, and then one word says that it counts. A writer
that is killed leaves the text before.
"""

import mmap

_WORD_BYTES = 8
_ATTEMPTS = 100


class SharedText:
    """Bytes of a bounded length. Must be made before the fork. Two processes must not write at the same time."""

    def __init__(self, most_bytes: int) -> None:
        self.most_bytes = most_bytes
        self._place_bytes = _WORD_BYTES + most_bytes + -most_bytes % _WORD_BYTES
        self._memory = memoryview(mmap.mmap(-1, _WORD_BYTES + 2 * self._place_bytes))
        self._edition = self._memory[:_WORD_BYTES].cast("Q")

    def write(self, text: bytes) -> None:
        """Put a text in the place of the one before; ValueError if it is too long."""
        if len(text) > self.most_bytes:
            raise ValueError(f"a text of {len(text)} bytes is longer than {self.most_bytes}")
        edition = self._edition[0] + 1
        place = self._place(edition)
        place[:_WORD_BYTES].cast("Q")[0] = len(text)
        place[_WORD_BYTES : _WORD_BYTES + len(text)] = text
        self._edition[0] = edition

    def read(self) -> bytes:
        """The text that was written last; empty before the first, or while texts are written faster than read."""
        for _ in range(_ATTEMPTS):
            edition = self._edition[0]
            place = self._place(edition)
            length = min(place[:_WORD_BYTES].cast("Q")[0], self.most_bytes)
            text = bytes(place[_WORD_BYTES : _WORD_BYTES + length])
            if self._edition[0] == edition:
                return text
        return b""

    def _place(self, edition: int) -> memoryview:
        start = _WORD_BYTES + edition % 2 * self._place_bytes
        return self._memory[start : start + self._place_bytes]
