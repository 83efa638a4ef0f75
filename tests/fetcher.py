"""A fetcher of a test, in a process of its own as in the service."""

from collections.abc import Iterator
from contextlib import contextmanager
from multiprocessing import get_context
from pathlib import Path
from socket import socket

from ahi.cache.cache import Cache
from ahi.client.calls import AhiClient
from ahi.image_sets.version_cache import VersionCache
from ahi.workers.context import WorkerContext
from ahi.workers.pool import FetcherPool, FetcherSockets
from ahi.workers.scheduler import SchedulerLimits
from ahi.workers.worker import serve

CACHE_MAX_BYTES = 10**9


@contextmanager
def fetching(
    cache_root: Path, *, fresh_seconds: float, deadline_seconds: float = 3
) -> Iterator[tuple[FetcherPool, Cache]]:
    """The way to a fetcher that asks AHI where the environment says, and the cache that they share."""
    sockets = FetcherSockets(1)
    arguments = (sockets.listening[0], cache_root, fresh_seconds, deadline_seconds)
    process = get_context("spawn").Process(target=_serve, args=arguments, daemon=True)  # this one has threads
    process.start()
    fetchers = FetcherPool(sockets.paths)
    try:
        yield fetchers, Cache(cache_root, CACHE_MAX_BYTES)
    finally:
        fetchers.close()
        process.terminate()
        process.join()
        process.close()
        sockets.remove()


def _serve(listening: socket, cache_root: Path, fresh_seconds: float, deadline_seconds: float) -> None:
    client = AhiClient(region="us-east-1", deadline_seconds=deadline_seconds)
    context = WorkerContext(client, Cache(cache_root, CACHE_MAX_BYTES), VersionCache(fresh_seconds))
    serve(listening, context, SchedulerLimits())
