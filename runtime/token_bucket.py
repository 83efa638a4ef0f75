"""A token bucket that threads of one process share: a rate, a burst, and a pause after a refusal."""

import threading
import time

_SLOWER = 0.8  # of the rate, after a refusal
_SLOWEST = 0.1  # of the full rate
_RECOVERY = 0.04  # of the full rate, for each second without a refusal
_REFUSAL_SECONDS = 1.0  # refusals within this time count once: they come from calls that were under way


class TokenBucket:
    """Allows `per_second` calls a second, and `burst` at once. Safe to share between threads.

    Refused calls make it slower, down to a tenth of the rate. It is at the full rate again after a while.
    """

    def __init__(self, per_second: float, burst: float) -> None:
        self._full_rate = self._rate = per_second
        self._burst = self._tokens = max(1.0, burst)
        self._counted_at = time.monotonic()
        self._refused_at = -_REFUSAL_SECONDS
        self._lock = threading.Lock()

    def take(self) -> None:
        """Wait until a call may be made, and count it. Threads come in the order in which they asked."""
        with self._lock:
            self._refill()
            self._tokens -= 1
            wait_seconds = max(0.0, -self._tokens / self._rate)
        if wait_seconds:
            time.sleep(wait_seconds)

    def try_take(self) -> bool:
        """Whether a call may be made now. A call that may be made is counted."""
        with self._lock:
            self._refill()
            if self._tokens < 1:
                return False
            self._tokens -= 1
            return True

    def charge(self, calls: int) -> None:
        """Count calls that were made without asking."""
        with self._lock:
            self._tokens -= calls

    def refused(self) -> None:
        """Note that a call was refused because there were too many: calls are made more slowly for a while."""
        with self._lock:
            self._refill()
            self._tokens = min(self._tokens, 0.0)
            if self._counted_at - self._refused_at >= _REFUSAL_SECONDS:
                self._refused_at = self._counted_at
                self._rate = max(self._full_rate * _SLOWEST, self._rate * _SLOWER)

    @property
    def per_second(self) -> float:
        """The calls a second that are allowed at the moment."""
        return self._rate

    def _refill(self) -> None:
        now = time.monotonic()
        elapsed = now - self._counted_at
        self._tokens = min(self._burst, self._tokens + elapsed * self._rate)
        self._rate = min(self._full_rate, self._rate + elapsed * _RECOVERY * self._full_rate)
        self._counted_at = now
