"""The outage of a service behind this one, logged once by all processes together: when it begins and when it ends."""

import fcntl
import logging
import mmap
import os
import struct
import threading
import time

log = logging.getLogger(__name__)

_SINCE = struct.Struct("d")
"""The begin of the outage in seconds of the monotonic clock, which all processes share; 0 while there is none."""


class Outage:
    """The state of one service. Made before the fork, then shared by all processes and their threads."""

    def __init__(self, name: str) -> None:
        """`name` is the name of the service in the log."""
        self._name = name
        self._descriptor = os.memfd_create(name)
        os.ftruncate(self._descriptor, _SINCE.size)
        self._memory = mmap.mmap(self._descriptor, _SINCE.size)
        self._lock = threading.Lock()

    def __del__(self) -> None:
        self._memory.close()
        os.close(self._descriptor)

    def begins(self, reason: str) -> None:
        """Note that the service does not answer."""
        if not self._since and self._change(time.monotonic()) is not None:
            log.error("%s does not answer: %s", self._name, reason)

    def is_over(self) -> None:
        """Note that the service has answered. Call it for each answer: it is cheap while there is no outage."""
        if self._since and (since := self._change(0.0)) is not None:
            log.warning("%s answers again after=%.1fs", self._name, time.monotonic() - since)

    @property
    def seconds(self) -> float | None:
        """The time since the service does not answer; None while there is no outage."""
        since = self._since
        return time.monotonic() - since if since else None

    @property
    def _since(self) -> float:
        since: float = _SINCE.unpack_from(self._memory)[0]
        return since

    def _change(self, since: float) -> float | None:
        """Set the begin; the one before, or None if nothing changed or another thread or process is about to change it.

        Nobody waits: a process that is frozen with the lock would stop all others. The kernel takes the lock back from
        a process that dies.
        """
        if not self._lock.acquire(blocking=False):
            return None
        try:
            fcntl.lockf(self._descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            try:
                before = self._since
                if bool(before) == bool(since):
                    return None
                _SINCE.pack_into(self._memory, 0, since)
                return before
            finally:
                fcntl.lockf(self._descriptor, fcntl.LOCK_UN)
        except OSError:  # another process has it
            return None
        finally:
            self._lock.release()
