"""Slow work that many threads need at once: an own thread does it once, and nobody holds a lock meanwhile."""

import threading
import time
from collections.abc import Callable
from concurrent.futures import Future, wait
from typing import Generic, TypeVar

T = TypeVar("T")


class SingleFlight(Generic[T]):
    """Runs `work`, never twice at a time."""

    def __init__(self, work: Callable[[], T]) -> None:
        self._work = work
        self._lock = threading.Lock()  # held for as long as it takes to start a thread
        self._flight: Future[T] | None = None
        self._ended_at = 0.0

    def latest(self, max_age_seconds: float) -> "Future[T]":
        """The run that is under way or ended less than `max_age_seconds` ago; else a run that begins now."""
        with self._lock:
            old = self._flight
            if old and not (old.done() and time.monotonic() - self._ended_at >= max_age_seconds):
                return old
            flight: Future[T] = Future()
            threading.Thread(target=self._run, args=(flight,), daemon=True).start()
            self._flight = flight
            return flight

    def _run(self, flight: "Future[T]") -> None:
        try:
            result = self._work()
        except BaseException as error:  # noqa: BLE001 - it is raised where the result is wanted
            self._ended_at = time.monotonic()
            flight.set_exception(error)
        else:
            self._ended_at = time.monotonic()
            flight.set_result(result)


def ended(flight: "Future[T]", seconds: float) -> bool:
    """Wait `seconds` at most for a run; whether it has ended."""
    return bool(wait([flight], seconds).done)
