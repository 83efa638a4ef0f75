"""Which request is answered next: that of the client on which the fewest threads work.

A client, which is an address here, never has more than its share of the threads, so that a thread is left for others;
its other requests wait without one. Beyond what may wait, requests are refused, and a refusal needs no turn.
"""

from collections import Counter, OrderedDict, deque
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Protocol


class Task(Protocol):
    """What waits for a thread: a connection with a request."""

    def service(self) -> None:
        """Answer it."""

    def cancel(self) -> None:
        """Let it go, at the end of the process."""

    def refuse(self, status: int) -> None:
        """Answer with an error when its turn comes."""


@dataclass(frozen=True)
class Bounds:
    """Of one process: threads for one client; requests, waiting or being answered, of one client and of all."""

    share: int
    of_client: int
    of_all: int


class Turns:
    """Requests that wait; always used under a lock, which is that of app.crew."""

    def __init__(self, bounds: Bounds, client_of: Callable[[Any], str], lock: Any) -> None:
        self._bounds = bounds
        self._client_of = client_of
        self._lock = lock
        self._waiting: OrderedDict[str, deque[Task]] = OrderedDict()
        self._working: Counter[str] = Counter()
        self._refused: deque[Task] = deque()

    def append(self, task: Task) -> None:
        """A request has come; it is refused if too many wait: 429 if they are its client's, else 503."""
        client = self._client_of(task)
        waiting = self._waiting.get(client, ())
        if self._working[client] + len(waiting) >= self._bounds.of_client:
            self._refuse(task, 429)
        elif self._working.total() + sum(map(len, self._waiting.values())) >= self._bounds.of_all:
            self._refuse(task, 503)
        else:
            self._waiting.setdefault(client, deque()).append(task)

    def __len__(self) -> int:
        """How many may be answered now; those of clients that have their share may not."""
        return len(self._refused) + sum(
            min(len(tasks), self._bounds.share - self._working[client]) for client, tasks in self._waiting.items()
        )

    def popleft(self) -> "Task | _Turn":
        """The next one; that of a client with few threads before that of one with many, else in the order of coming."""
        if self._refused:
            return self._refused.popleft()
        client = min(self._waiting, key=self._working.__getitem__)
        task = self._waiting[client].popleft()
        if self._waiting[client]:
            self._waiting.move_to_end(client)
        else:
            del self._waiting[client]
        self._working[client] += 1
        return _Turn(task, lambda: self._done(client))

    def _refuse(self, task: Task, status: int) -> None:
        task.refuse(status)
        self._refused.append(task)

    def _done(self, client: str) -> None:
        with self._lock:
            self._working[client] -= 1
            if not self._working[client]:
                del self._working[client]


@dataclass(frozen=True)
class _Turn:
    """A task that says when it is over."""

    task: Task
    done: Callable[[], None]

    def service(self) -> None:
        try:
            self.task.service()
        finally:
            self.done()

    def cancel(self) -> None:
        self.task.cancel()
