"""Fairness among clients within one process: places go round among clients, and long computations make pauses.

Python runs one thread at a time. A client that has many requests answered at once would get most of that time, because
the interpreter goes round among threads and not among clients. So code that computes for long calls `give_way` between
pieces of its work. Where it is forgotten, others are slower, and nothing else happens: no lock is involved.
"""

import threading
import time
from collections import Counter, OrderedDict, deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager

_SLICE_SECONDS = 0.005
"""CPU time of a thread between two looks at who else is there."""

_LONGEST_PAUSE_SECONDS = 0.25

Competition = Callable[[str], tuple[int, int]]
"""For a client: how many of its requests are being answered, and how many other clients have requests."""


class _Thread(threading.local):
    client = ""
    competition: Competition | None = None
    used_seconds = 0.0


_thread = _Thread()


@contextmanager
def serving(client: str, competition: Competition) -> Iterator[None]:
    """Until the end of this context, the current thread works for `client`."""
    _thread.client, _thread.competition = client, competition
    _thread.used_seconds = time.thread_time()
    try:
        yield
    finally:
        _thread.client, _thread.competition = "", None


def current_client() -> str:
    """The client that the current thread works for; "" where it works for none."""
    return _thread.client


def give_way() -> None:
    """Pause, for 0.25 seconds at most, if this thread has computed for a while and other clients have requests.

    All threads of one client together then get the share of one client.
    """
    if _thread.competition is None:
        return
    now = time.thread_time()
    used = now - _thread.used_seconds
    if used < _SLICE_SECONDS:
        return
    own, others = _thread.competition(_thread.client)
    if others:
        time.sleep(min(used * (own * (others + 1) - 1), _LONGEST_PAUSE_SECONDS))
    _thread.used_seconds = now


class FairSemaphore:
    """`places` that threads hold; the next free one goes to the waiting client that holds the fewest.

    Clients that hold equally many take turns. A thread that works for no client counts as the client "".
    """

    def __init__(self, places: int) -> None:
        self._lock = threading.Lock()
        self._free = places
        self._holding: Counter[str] = Counter()
        self._waiting: OrderedDict[str, deque[threading.Lock]] = OrderedDict()

    def acquire(self, timeout: float) -> str | None:
        """Wait for a place for `timeout` seconds at most; the client to `release` it for, None if none came free."""
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
        """Give a place back, to who waits for it."""
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
