"""The times of changes, by name, in memory that processes share: what was read before a change is not current.

Made before the fork. Times are seconds of the monotonic clock, which all processes of a machine share. Names share a
bounded number of places, so a name may seem to have changed with another one: it is then read again, once.
"""

import mmap
import time
import zlib

_BYTES = 8
_PLACES = 4096


class Changes:
    """The times of the last changes. Safe to share between threads and processes."""

    def __init__(self) -> None:
        self._times = memoryview(mmap.mmap(-1, _PLACES * _BYTES)).cast("d")

    def note(self, name: str) -> None:
        """Note that what has this name has just changed."""
        self._times[_place(name)] = time.monotonic()

    def is_current(self, name: str, read_at: float) -> bool:
        """Whether what has this name has not changed since `read_at`, when its reading began."""
        return self._times[_place(name)] < read_at


def _place(name: str) -> int:
    return zlib.crc32(name.encode()) % _PLACES
