"""Results of functions, remembered in memory for some seconds. Runs in the web processes."""

import threading
import time
from collections.abc import Callable
from contextlib import suppress
from typing import ParamSpec, TypeVar

from cachetools import TTLCache
from cachetools.keys import hashkey

P = ParamSpec("P")
R = TypeVar("R")


def cached_for(
    seconds: float,
    function: Callable[P, R],
    max_weight: int = 1024,
    weigh: Callable[[R], int] = lambda _: 0,
    is_current: Callable[..., bool] = lambda _read_at, *_arguments: True,
) -> Callable[P, R]:
    """Return the function with its results remembered by its arguments. Safe to share between threads.

    `max_weight` bounds the number of results plus the sum of what they `weigh`. A result is read again if it is not
    current: `is_current` gets the monotonic time at which its reading began, and the arguments. No lock is held while
    the function runs, so two threads may run it with the same arguments at the same time.
    """
    results: TTLCache[object, tuple[float, R]] = TTLCache(
        max_weight, seconds, getsizeof=lambda remembered: 1 + weigh(remembered[1])
    )
    lock = threading.Lock()

    def remembered(*arguments: P.args, **named: P.kwargs) -> R:
        key = hashkey(*arguments, **named)  # type: ignore[arg-type]  # what is remembered has hashable arguments
        with lock:
            found = results.get(key)
        if found and is_current(found[0], *arguments, **named):
            return found[1]
        read_at = time.monotonic()
        result = function(*arguments, **named)
        with lock, suppress(ValueError):  # it weighs more than `max_weight`
            results[key] = read_at, result
        return result

    return remembered
