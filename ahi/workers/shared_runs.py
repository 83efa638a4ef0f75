"""One run for equal work at the same time. Runs in the FrameFetcher processes."""

import threading
from collections.abc import Callable, Hashable
from concurrent.futures import Future
from typing import Any, TypeVar

R = TypeVar("R")


class SharedRuns:
    """Runs of the same key at the same time are one run; everyone gets its result, or its error."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._flying: dict[Hashable, Future[Any]] = {}

    def run(self, key: Hashable, job: Callable[[], R]) -> R:
        """What `job` returns or raises, for the first who comes; the same for who comes meanwhile."""
        with self._lock:
            flight = self._flying.get(key)
            first = flight is None
            if flight is None:
                flight = self._flying[key] = Future()
        if first:
            try:
                flight.set_result(job())
            except BaseException as error:  # noqa: BLE001 - handed on below, to everyone who waits
                flight.set_exception(error)
            finally:
                with self._lock:
                    del self._flying[key]
        result: R = flight.result()
        return result
