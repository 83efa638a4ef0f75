"""Whether a service behind this one is away, told once by all processes together: when it goes and when it is back."""

import fcntl
import logging
import mmap
import os
import struct
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

log = logging.getLogger(__name__)

_SINCE = struct.Struct("d")
"""Seconds of the monotonic clock, which all processes share; 0 while it answers."""


class Outage:
    """The state of one service. Made before the fork, then shared by all processes and their threads."""

    def __init__(self, name: str) -> None:
        """`name` is that of the service in the log."""
        self._name = name
        self._descriptor = os.memfd_create(name)
        os.ftruncate(self._descriptor, _SINCE.size)
        self._memory = mmap.mmap(self._descriptor, _SINCE.size)
        self._lock = threading.Lock()

    def __del__(self) -> None:
        self._memory.close()
        os.close(self._descriptor)

    def begins(self, reason: str) -> None:
        """It does not answer."""
        if self._since:
            return
        with self._alone():
            if not self._since:
                log.error("%s does not answer: %s", self._name, reason)
                _SINCE.pack_into(self._memory, 0, time.monotonic())

    def is_over(self) -> None:
        """It has answered; to be called whenever it does, and cheap while it always does."""
        if not self._since:
            return
        with self._alone():
            if self._since:
                log.warning("%s answers again after=%.1fs", self._name, time.monotonic() - self._since)
                _SINCE.pack_into(self._memory, 0, 0.0)

    @property
    def _since(self) -> float:
        since: float = _SINCE.unpack_from(self._memory)[0]
        return since

    @contextmanager
    def _alone(self) -> Iterator[None]:
        """No other thread, and no other process: the kernel takes its lock back from one that dies."""
        with self._lock:
            fcntl.lockf(self._descriptor, fcntl.LOCK_EX)
            try:
                yield
            finally:
                fcntl.lockf(self._descriptor, fcntl.LOCK_UN)
