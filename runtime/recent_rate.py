"""The rate of something over the last minute. Safe to share between threads."""

import threading
import time
from collections.abc import Callable

_SECONDS = 60


class RecentRate:
    """Counts in places of a second each, of which there are as many as seconds in a minute."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._lock = threading.Lock()
        self._counts = [0] * _SECONDS
        self._seconds = [-_SECONDS] * _SECONDS
        self._began_at = clock()

    def add(self, number: int) -> None:
        """Note that so many are done now."""
        second = int(self._clock())
        place = second % _SECONDS
        with self._lock:
            if self._seconds[place] != second:
                self._seconds[place], self._counts[place] = second, 0
            self._counts[place] += number

    @property
    def per_second(self) -> float:
        """The mean of the last minute, or of the time since the start if that is shorter."""
        now = self._clock()
        with self._lock:
            pairs = zip(self._seconds, self._counts, strict=True)
            recent = sum(count for second, count in pairs if now - _SECONDS < second)
        return recent / max(1.0, min(float(_SECONDS), now - self._began_at))
