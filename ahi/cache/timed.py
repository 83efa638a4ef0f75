"""Results of functions, remembered in memory for some seconds. Runs in the web processes."""

import threading
from collections.abc import Callable
from typing import ParamSpec, TypeVar

from cachetools import TTLCache, cached

P = ParamSpec("P")
R = TypeVar("R")


def cached_for(
    seconds: float, function: Callable[P, R], max_weight: int = 1024, weigh: Callable[[R], int] = lambda _: 0
) -> Callable[P, R]:
    """Return the function with its results remembered by its arguments. Safe to share between threads.

    `max_weight` bounds the number of results plus the sum of what they `weigh`. No lock is held while the function
    runs, so two threads may run it with the same arguments at the same time.
    """
    results: TTLCache[object, R] = TTLCache(max_weight, seconds, getsizeof=lambda result: 1 + weigh(result))
    return cached(results, lock=threading.Lock())(function)
