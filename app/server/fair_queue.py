"""The queue of a web process: the next request is that of the client on which the fewest threads work.

A client is an address here. It never has more than its share of the threads, so that a thread is left for others; its
other requests wait without one. One that is paused, as its client is slow to take the answer, has no thread of a share.
Beyond what may wait, requests are refused, and a refusal needs no thread of a share, either. A thread of their own has
those that are brief: whether the service lives is told while all other threads wait.
"""

from collections import Counter, OrderedDict, deque
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Protocol

REFUSED = ""
"""Stands for the client of a request that is refused: it counts for nobody."""


class Task(Protocol):
    """What waits for a thread: a connection with a request."""

    def service(self) -> None:
        """Answer it."""

    def cancel(self) -> None:
        """Let it go, at the end of the process."""

    def refuse(self, status: int) -> None:
        """Answer with an error when its turn comes."""


@dataclass(frozen=True)
class QueueLimits:
    """Bounds of one process: threads for one client; requests, waiting or being answered, of one client and of all.

    `runs_inline` tells requests whose answer waits for nothing, whatever hangs; they count for nobody.
    """

    threads_of_client: int
    requests_of_client: int
    requests_of_all: int
    runs_inline: Callable[[Any], bool] = lambda _: False


class FairQueue:
    """Requests that wait. Not safe for several threads: its owner has a lock."""

    def __init__(self, limits: QueueLimits, client_of: Callable[[Any], str]) -> None:
        self._limits = limits
        self._client_of = client_of
        self._waiting: OrderedDict[str, deque[Task]] = OrderedDict()
        self._working: Counter[str] = Counter()
        self._paused: Counter[str] = Counter()
        self._refused: deque[Task] = deque()
        self._inline: deque[Task] = deque()
        self._requests = 0

    def append(self, task: Task) -> None:
        """Queue a request; it is refused if too many wait: with 429 if they are its client's, else with 503."""
        if self._limits.runs_inline(task):
            self._inline.append(task)
            return
        client = self._client_of(task)
        begun = self._working[client] + self._paused[client]
        if begun + len(self._waiting.get(client, ())) >= self._limits.requests_of_client:
            self._refuse(task, 429)
        elif self._requests >= self._limits.requests_of_all:
            self._refuse(task, 503)
        else:
            self._requests += 1
            self._waiting.setdefault(client, deque()).append(task)

    @property
    def waiting(self) -> int:
        """The number of requests that wait, those of clients that have all their threads among them."""
        return len(self._inline) + len(self._refused) + sum(map(len, self._waiting.values()))

    @property
    def working(self) -> int:
        """The number of requests that are being answered, without those that are paused."""
        return self._working.total()

    def pop_inline(self) -> Task | None:
        """The next request that is brief, or refused: it needs no place."""
        found = self._inline or self._refused
        return found.popleft() if found else None

    def pop(self) -> tuple[str, Task] | None:
        """The next request and its client, None where none may be answered now.

        That of a client with few threads comes before that of one with many, else the order of arrival holds. The
        client is REFUSED for a request that is refused.
        """
        if self._refused:
            return REFUSED, self._refused.popleft()
        client = self._next_client()
        if client is None:
            return None
        tasks = self._waiting[client]
        task = tasks.popleft()
        if tasks:
            self._waiting.move_to_end(client)
        else:
            del self._waiting[client]
        self._working[client] += 1
        return client, task

    @property
    def has_inline(self) -> bool:
        """Whether `pop_inline` gives a request now."""
        return bool(self._inline or self._refused)

    @property
    def has_next(self) -> bool:
        """Whether `pop` gives a request now."""
        return bool(self._refused) or self._next_client() is not None

    def done(self, client: str) -> None:
        """A request that `pop` gave has been answered."""
        if client == REFUSED:
            return
        self._requests -= 1
        _take_one(self._working, client)

    def pause(self, client: str) -> None:
        """A request that `pop` gave waits for its client: it counts as begun, and not as being answered."""
        _take_one(self._working, client)
        self._paused[client] += 1

    def resume(self, client: str) -> None:
        """A request that was paused is being answered again."""
        _take_one(self._paused, client)
        self._working[client] += 1

    def may_resume(self, client: str) -> bool:
        """Whether a request that was paused keeps nobody waiting if it goes on now."""
        return not self._waiting and self._working[client] < self._limits.threads_of_client

    def requeue(self, client: str, task: Task) -> None:
        """Have `pop` give `task` when a request that was paused may go on, before others of its client."""
        _take_one(self._paused, client)
        self._waiting.setdefault(client, deque()).appendleft(task)

    def clear(self) -> None:
        """Cancel all that waits."""
        for tasks in (self._inline, self._refused, *self._waiting.values()):
            for task in tasks:
                task.cancel()
        self._inline.clear()
        self._refused.clear()
        self._waiting.clear()

    def _next_client(self) -> str | None:
        client = min(self._waiting, key=self._working.__getitem__, default=None)
        return None if client is None or self._working[client] >= self._limits.threads_of_client else client

    def _refuse(self, task: Task, status: int) -> None:
        task.refuse(status)
        self._refused.append(task)


def _take_one(counter: Counter[str], client: str) -> None:
    counter[client] -= 1
    if not counter[client]:
        del counter[client]
