"""Memory that processes share, and a lock for it. Made before the fork.

It costs no file descriptor: all locks are bytes of one file in memory.
"""

import fcntl
import itertools
import mmap
import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache

_places = itertools.count()


@cache
def _locks() -> int:
    """The file whose bytes are locked. It is never closed: a process that closes it loses all its locks."""
    return os.memfd_create("locks")


class LockedMemory:
    """Zeroed bytes. Reading and writing take no lock by themselves."""

    def __init__(self, length_bytes: int) -> None:
        self.bytes = mmap.mmap(-1, length_bytes)
        self._file, self._place = _locks(), next(_places)
        self._lock = threading.Lock()

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Alone among threads and processes. The lock of a process that dies goes with it."""
        with self._lock:
            fcntl.lockf(self._file, fcntl.LOCK_EX, 1, self._place)
            try:
                yield
            finally:
                fcntl.lockf(self._file, fcntl.LOCK_UN, 1, self._place)
