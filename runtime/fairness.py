"""Fairness among clients within one process: clients take turns, and not threads.

Python runs one thread at a time, and threads take turns. A client with many requests at once would get most of that
time. So code that computes for milliseconds does so in a section (`computing`, `in_turns`), of which two run at a time.
If a section is forgotten, others are slower. If a section waits for something, others wait 2 seconds at most.
"""

import threading
import time
from collections import Counter, OrderedDict, deque
from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import TypeVar

T = TypeVar("T")

_AT_ONCE = 2
_PATIENCE_SECONDS = 2.0
_REMEMBERED_WAITS = 8  # so many make up what is usual, the last one most


class _Thread(threading.local):
    client = ""
    computes = False
    on_wait: Callable[[], None] | None = None
    pause: Callable[[], AbstractContextManager[None]] = nullcontext


_thread = _Thread()


@contextmanager
def serving(
    client: str,
    on_wait: Callable[[], None] | None = None,
    pause: Callable[[], AbstractContextManager[None]] = nullcontext,
) -> Iterator[None]:
    """A context in which the current thread works for `client`.

    `about_to_wait` calls `on_wait`, and `pausing` gives what `pause` returns.
    """
    _thread.client, _thread.on_wait, _thread.pause = client, on_wait, pause
    try:
        yield
    finally:
        _thread.client, _thread.on_wait, _thread.pause = "", None, nullcontext


def about_to_wait() -> None:
    """Tell that the current thread is going to wait for milliseconds, so that another one may go on at once.

    Nothing depends on it: without it, others go on some milliseconds later.
    """
    if _thread.on_wait:
        _thread.on_wait()


def pausing() -> AbstractContextManager[None]:
    """A context in which the current thread waits for seconds and hardly computes: another may take its place."""
    return _thread.pause()


def current_client() -> str:
    """The client that the current thread works for; "" if it works for none."""
    return _thread.client


class UsualWait:
    """A kind of wait. While it usually takes longer than `long_seconds`, each one is told in advance."""

    def __init__(self, long_seconds: float = 0.0015) -> None:
        self._long_seconds = long_seconds
        self._usual_seconds = 0.0  # of two threads that write it at once, one is forgotten

    @contextmanager
    def waiting(self) -> Iterator[None]:
        """Wait within this context; `about_to_wait` is called before, if the last ones took long."""
        if self._usual_seconds > self._long_seconds:
            about_to_wait()
        started = time.monotonic()
        try:
            yield
        finally:
            self._usual_seconds += (time.monotonic() - started - self._usual_seconds) / _REMEMBERED_WAITS


class FairSemaphore:
    """A semaphore with `places` for threads. A free place goes to the waiting client that holds the fewest.

    Clients that hold equally many take turns. A thread that works for no client counts as the client "".
    """

    def __init__(self, places: int) -> None:
        self._lock = threading.Lock()
        self._free = places
        self._holding: Counter[str] = Counter()
        self._waiting: OrderedDict[str, deque[threading.Lock]] = OrderedDict()

    def acquire(self, timeout: float) -> str | None:
        """Wait `timeout` seconds at most for a place; the client to `release` it for, None if there was none."""
        client, ticket = current_client(), threading.Lock()
        with self._lock:
            if self._free:
                self._free -= 1
                self._holding[client] += 1
                return client
            ticket.acquire()
            self._waiting.setdefault(client, deque()).append(ticket)
        if ticket.acquire(timeout=timeout):
            return client
        with self._lock:
            if ticket not in self._waiting.get(client, ()):  # it was handed over just now
                return client
            self._remove(client, ticket)
        return None

    def release(self, client: str) -> None:
        """Give a place back, or hand it to a client that waits."""
        with self._lock:
            self._holding[client] -= 1
            if not self._holding[client]:
                del self._holding[client]
            if not self._waiting:
                self._free += 1
                return
            following = min(self._waiting, key=self._holding.__getitem__)
            ticket = self._waiting[following][0]
            self._remove(following, ticket)
            if following in self._waiting:
                self._waiting.move_to_end(following)
            self._holding[following] += 1
            ticket.release()

    def _remove(self, client: str, ticket: threading.Lock) -> None:
        self._waiting[client].remove(ticket)
        if not self._waiting[client]:
            del self._waiting[client]


_places = FairSemaphore(_AT_ONCE)


@contextmanager
def computing() -> Iterator[None]:
    """A context that computes for long. Two run at a time, and clients take turns.

    It begins after 2 seconds at the latest, so it may wait for anything. Contexts may be nested.
    """
    if _thread.computes:
        yield
        return
    client = _places.acquire(_PATIENCE_SECONDS)
    _thread.computes = True
    try:
        yield
    finally:
        _thread.computes = False
        if client is not None:
            _places.release(client)


def in_turns(items: Iterable[T]) -> Iterator[T]:
    """The items; the caller's work on each of them is a section of `computing`."""
    for item in items:
        with computing():
            yield item
