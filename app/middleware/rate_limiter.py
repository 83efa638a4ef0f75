"""A token bucket for each client, in memory that all web processes share.

A bucket is one number, the time at which it will be full again. This is the generic cell rate algorithm: a token bucket
that nothing has to refill. Processes write it without a lock: if two write at once, one request is not counted.
"""

import hashlib
import mmap
import secrets
import threading
import time

_BUCKETS = 2**15  # two clients may share a bucket; which ones changes with each start


class RateLimiter:
    """Limits each client to `per_second` requests, and `burst` requests at once. Must be made before the fork."""

    def __init__(self, per_second: float, burst: int) -> None:
        self._interval = 1 / per_second
        self._tolerance = (burst - 1) * self._interval
        self._memory = memoryview(mmap.mmap(-1, _BUCKETS * 8)).cast("d")
        self._key = secrets.token_bytes(16)
        self._lock = threading.Lock()

    def take(self, client: str, *, now: float | None = None) -> float:
        """Count one more request and return 0, or return the seconds until the client may make it.

        A request that must wait is not counted. `now` is a time of the monotonic clock.
        """
        now, bucket = time.monotonic() if now is None else now, self._bucket(client)
        with self._lock:
            full_at = max(self._memory[bucket], now)
            if full_at - now > self._tolerance:
                return full_at - now - self._tolerance
            self._memory[bucket] = full_at + self._interval
            return 0.0

    def wait(self, client: str) -> float:
        """The seconds until the client may make a request; it is not counted."""
        return max(0.0, self._memory[self._bucket(client)] - time.monotonic() - self._tolerance)

    def _bucket(self, client: str) -> int:
        digest = hashlib.blake2b(client.encode("utf-8", "replace"), key=self._key, digest_size=8).digest()
        return int.from_bytes(digest, "big") % _BUCKETS
