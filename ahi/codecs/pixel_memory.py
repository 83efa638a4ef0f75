"""The bound of the memory for pixels that one process decodes, encodes or renders. Runs in the FrameFetchers.

A frame of some kilobytes may hold an image of many megapixels, and there are dozens of threads. So each thread takes
its share before its pixels exist, in the order of requests, and gives it back when it no longer needs them.
"""

import threading
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager

from dicomweb.errors import UpstreamBusy

SMALL_BYTES = 2**22
"""Frames up to 4 MiB need no share: the number of threads bounds them."""

PATIENCE_SECONDS = 60.0


class PixelMemory:
    """The bound of one process: `max_bytes` of native pixels. Safe to share between threads.

    Work on pixels needs a few times as much for a moment.
    """

    def __init__(self, max_bytes: int, patience_seconds: float = PATIENCE_SECONDS) -> None:
        self._max_bytes = max_bytes
        self._patience_seconds = patience_seconds
        self._lock = threading.Lock()
        self._taken_bytes = 0
        self._queue: deque[tuple[int, threading.Event]] = deque()
        self._own = threading.local()

    @contextmanager
    def taking(self, size_bytes: int) -> Iterator[None]:
        """Take so many bytes, or the whole bound; UpstreamBusy where other threads do not give them back in time.

        A thread takes no second share: it would wait for threads that may wait for it.
        """
        if size_bytes <= SMALL_BYTES or getattr(self._own, "has_share", False):
            yield
            return
        share = min(size_bytes, self._max_bytes)
        self._take(share)
        self._own.has_share = True
        try:
            yield
        finally:
            self._own.has_share = False
            self._give_back(share)

    def _take(self, share: int) -> None:
        turn = threading.Event()
        with self._lock:
            self._queue.append((share, turn))
            self._hand_out()
        if turn.wait(self._patience_seconds):
            return
        with self._lock:
            if turn.is_set():  # just now
                return
            self._queue.remove((share, turn))
            self._hand_out()
        raise UpstreamBusy("the service has more large images to work on than it can at the moment")

    def _give_back(self, share: int) -> None:
        with self._lock:
            self._taken_bytes -= share
            self._hand_out()

    def _hand_out(self) -> None:
        """Give the next threads their shares, as far as there is room. The lock is held."""
        while self._queue and self._taken_bytes + self._queue[0][0] <= self._max_bytes:
            share, turn = self._queue.popleft()
            self._taken_bytes += share
            turn.set()
