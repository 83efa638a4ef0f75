"""One run for equal work at the same time. Runs in the FrameFetcher processes."""

import threading
from collections.abc import Callable, Hashable
from concurrent.futures import Future
from typing import Any, TypeVar

R = TypeVar("R")


class SharedRuns:
    """Functions by key. The first thread runs the function; those that come meanwhile get its result or its error."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._futures: dict[Hashable, Future[Any]] = {}

    def run(self, key: Hashable, function: Callable[[], R]) -> R:
        """Return the result of `function`, or of the run under this key that has begun already."""
        with self._lock:
            future = self._futures.get(key)
            is_first = future is None
            if future is None:
                future = self._futures[key] = Future()
        if is_first:
            try:
                future.set_result(function())
            except BaseException as error:  # noqa: BLE001 - raised below, in every thread that waits
                future.set_exception(error)
            finally:
                with self._lock:
                    del self._futures[key]
        result: R = future.result()
        return result
