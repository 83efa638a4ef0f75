"""Fetchers of a test: the real jobs over the real sockets, answered from threads of the test run."""

from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from socket import SHUT_RDWR, socket
from threading import Thread

from ahi.cache import Cache
from ahi.client import AhiClient
from ahi.fetchers import Fetchers, FetcherSockets, Workshop, serve


@contextmanager
def fetching(client: AhiClient, cache_root: Path, count: int = 2) -> Iterator[tuple[Fetchers, Cache]]:
    """Fetchers that ask `client`, and the cache that they share with who asks them."""
    sockets = FetcherSockets(count)
    cache = Cache(cache_root, 10**9)
    workshop = Workshop(client, cache)
    threads = [Thread(target=_serve, args=(one, workshop)) for one in sockets.listening]
    for thread in threads:
        thread.start()
    fetchers = Fetchers(sockets.paths)
    yield fetchers, cache
    for listening, thread in zip(sockets.listening, threads, strict=True):
        listening.shutdown(SHUT_RDWR)  # wakes `accept`
        thread.join()
    sockets.remove()


def _serve(listening: socket, workshop: Workshop) -> None:
    with suppress(OSError):
        serve(listening, workshop)
