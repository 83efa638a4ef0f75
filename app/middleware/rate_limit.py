"""How many requests a client makes: a token bucket for each, in memory that all web processes share.

A bucket is one number, the time at which it will be full again (the generic cell rate algorithm, which is a token
bucket that nobody has to fill). Processes write it without a lock: when two do so at once, one request is not counted.
"""

import hashlib
import math
import mmap
import secrets
import threading
import time

from flask import Flask, Response, g, request

from app.auth.gate import LINKED, blueprint_name
from app.auth.principal import ANYONE
from dicomweb.errors import TooManyRequests

_BUCKETS = 2**15  # two clients may meet in one bucket, and then share it; which ones changes with each start


class RateLimiter:
    """So many requests a second, and `burst` at once. Made before the fork."""

    def __init__(self, per_second: float, burst: int) -> None:
        self._interval = 1 / per_second
        self._tolerance = (burst - 1) * self._interval
        self._memory = memoryview(mmap.mmap(-1, _BUCKETS * 8)).cast("d")
        self._key = secrets.token_bytes(16)
        self._lock = threading.Lock()

    def take(self, client: str, *, now: float | None = None) -> float:
        """0 if the client may make one more request, which is counted; else the seconds until it may, uncounted."""
        now, at = time.monotonic() if now is None else now, self._bucket(client)
        with self._lock:
            full = max(self._memory[at], now)
            if full - now > self._tolerance:
                return full - now - self._tolerance
            self._memory[at] = full + self._interval
            return 0.0

    def wait(self, client: str) -> float:
        """The seconds until the client may make a request, which is not counted."""
        return max(0.0, self._memory[self._bucket(client)] - time.monotonic() - self._tolerance)

    def _bucket(self, client: str) -> int:
        digest = hashlib.blake2b(client.encode("utf-8", "replace"), key=self._key, digest_size=8).digest()
        return int.from_bytes(digest, "big") % _BUCKETS


def add_failed_login_limit(app: Flask, rate: RateLimiter) -> None:
    """Who was refused too often is not asked for credentials for a while. To be added before the gate."""

    @app.before_request
    def before() -> None:
        if request.blueprint is not None:
            _check(rate.wait(_refused()))

    @app.after_request
    def after(response: Response) -> Response:
        if response.status_code == 401:
            rate.take(_refused())
        return response


def add_rate_limit(app: Flask, rate: RateLimiter, open_blueprint: str) -> None:
    """429 for a client, by its name or else its address, that asks too often. To be added after the gate."""

    @app.before_request
    def before() -> None:
        if request.blueprint is not None and blueprint_name(request.blueprint) != open_blueprint:
            known = g.principal not in (ANYONE, LINKED)
            _check(rate.take(f"user {g.principal.user}" if known else f"address {request.remote_addr}"))


def _refused() -> str:
    return f"refused {request.remote_addr}"


def _check(seconds: float) -> None:
    if seconds:
        raise TooManyRequests("you ask too often", math.ceil(seconds))
