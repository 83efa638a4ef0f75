"""A job for a fetcher that takes a while; in a module of its own, as fetchers know jobs by their names."""

import time

from ahi.workers.context import WorkerContext

SECONDS = 0.05


def slow_job(_context: WorkerContext, number: int) -> int:
    """The number, a while later."""
    time.sleep(SECONDS)
    return number
