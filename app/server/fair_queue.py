"""The queue of a web process: the client for which the fewest threads work is next.

A client is an address. It never has more than its share of the threads, so that a thread is left for others; its other
requests wait. A request that is paused, because its client is slow to take the answer, has no thread of the share.
Requests above the limits are refused. Refusals, and requests that run inline, need no thread of a share: `/live` is
answered while all threads wait.
"""

from collections import Counter, OrderedDict, deque
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Protocol

REFUSED = ""
"""The client of requests that are refused or run inline: they count for nobody."""


class Task(Protocol):
    """A connection with a request that waits for a thread."""

    def service(self) -> None:
        """Answer the request."""

    def cancel(self) -> None:
        """Drop the request, at the end of the process."""

    def refuse(self, status: int) -> None:
        """Have `service` answer with an error of this status."""


@dataclass(frozen=True)
class QueueLimits:
    """The limits of one process: threads for one client; requests, waiting or being answered, of one client and of all.

    `runs_inline` is true of requests whose answers wait for nothing. They have no limit.
    """

    threads_of_client: int
    requests_of_client: int
    requests_of_all: int
    runs_inline: Callable[[Any], bool] = lambda _: False


class FairQueue:
    """The requests that wait. Not safe to share between threads: its owner has a lock."""

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
        """Queue a request. If too many wait it is refused: with 429 if its client has too many, else with 503."""
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
        """The number of requests that wait, also those of clients that have all their threads."""
        return len(self._inline) + len(self._refused) + sum(map(len, self._waiting.values()))

    @property
    def working(self) -> int:
        """The number of requests that are being answered, without those that are paused."""
        return self._working.total()

    def pop_inline(self) -> Task | None:
        """The next request that runs inline, or is refused: it needs no place."""
        tasks = self._inline or self._refused
        return tasks.popleft() if tasks else None

    def pop(self) -> tuple[str, Task] | None:
        """The next request and its client; None if no request may be answered now.

        Clients with few threads come first, else the order of arrival holds. The client of a request that is refused is
        REFUSED.
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
        """Note that a request from `pop` has been answered."""
        if client == REFUSED:
            return
        self._requests -= 1
        _take_one(self._working, client)

    def pause(self, client: str) -> None:
        """Note that a request from `pop` waits for its client: it counts as begun, and not as being answered."""
        _take_one(self._working, client)
        self._paused[client] += 1

    def resume(self, client: str) -> None:
        """Note that a request that was paused is being answered again."""
        _take_one(self._paused, client)
        self._working[client] += 1

    def may_resume(self, client: str) -> bool:
        """Whether a request that was paused delays no other if it goes on now."""
        return not self._waiting and self._working[client] < self._limits.threads_of_client

    def requeue(self, client: str, task: Task) -> None:
        """Queue `task` in front of its client's others: `pop` returns it when a request that was paused may go on."""
        _take_one(self._paused, client)
        self._waiting.setdefault(client, deque()).appendleft(task)

    def clear(self) -> None:
        """Cancel all requests that wait."""
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
