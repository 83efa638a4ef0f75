"""What a fetcher does next: what clients wait for, then what they will ask for soon, then what nobody waits for.

Requests go round among clients: the one for which the fewest threads work is next. Equal requests are one ticket,
whoever asks. All of this is bounded, nothing is looked at again and again, and nothing
here knows sockets or threads: who calls it, one at a time, is told by return values.
"""

import time
from collections import Counter, OrderedDict, deque
from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass, field
from enum import IntEnum
from typing import Any

PREFETCH_SECONDS = 10.0  # a prefetch that was not begun by then is for a viewer that has moved on or gone
_MOST_PREFETCHES = 4096


class Urgency(IntEnum):
    """Who waits for a job."""

    CLIENT = 0
    BACKGROUND = 1


@dataclass(frozen=True)
class Request:
    """A job and its arguments, which must be hashable: equal requests at the same time are one."""

    job: Callable[..., Any]
    arguments: tuple[Hashable, ...]


@dataclass(frozen=True)
class JobRequest:
    """A request that somebody waits for."""

    request: Request
    urgency: Urgency = Urgency.CLIENT
    traceparent: str = ""
    """The trace that it belongs to, "" if it is in none."""

    client: str = ""
    """Who waits, as far as the web process knows."""


@dataclass(frozen=True)
class Prefetch:
    """What is likely to be asked for next in a scope, best first. It replaces what the scope had."""

    scope: str
    requests: tuple[Request, ...]


@dataclass
class Job:
    """A request, who waits for its answer, and since when."""

    request: Request
    since: float
    waiting: list[Any] = field(default_factory=list)
    urgency: Urgency | None = None  # None for a prefetch
    running: bool = False
    clients: set[str] = field(default_factory=set)
    """In whose queues it stands."""

    served: str = ""
    """In whose turn it was taken."""

    traceparent: str = ""
    """Of the first who asked and is traced."""


@dataclass(frozen=True)
class SchedulerLimits:
    """How much one fetcher takes on."""

    threads: int = 32
    most_waiting: int = 1024
    patience_seconds: float = 10.0

    @property
    def most_prefetching(self) -> int:
        """Threads that prefetches may have: a client always finds one soon."""
        return max(1, self.threads * 3 // 4)


class JobScheduler:
    """The tickets of a fetcher."""

    def __init__(self, limits: SchedulerLimits, clock: Callable[[], float] = time.monotonic) -> None:
        self._limits = limits
        self._clock = clock
        self._tickets: dict[Request, Job] = {}
        self._of_clients: OrderedDict[str, deque[Job]] = OrderedDict()
        self._served: Counter[str] = Counter()
        self._background: deque[Job] = deque()
        self._scopes: OrderedDict[str, tuple[float, deque[Request]]] = OrderedDict()
        self._running = {True: 0, False: 0}  # by whether a client waited at the start
        self.queued = 0
        """How many questions of clients wait for a thread."""

    def ask(self, question: JobRequest, who: Any) -> bool:
        """Queue a question, or join an equal one; False, and nothing is done, where too many wait already."""
        ticket = self._tickets.get(question.request)
        if ticket is None:
            if question.urgency is Urgency.CLIENT and self.queued >= self._limits.most_waiting:
                return False
            ticket = self._tickets[question.request] = Job(question.request, self._clock())
        ticket.waiting.append(who)
        ticket.traceparent = ticket.traceparent or question.traceparent
        if ticket.running:
            return True
        if ticket.urgency is None or question.urgency < ticket.urgency:
            ticket.urgency, ticket.since = question.urgency, self._clock()  # where it stood before it is passed over
            self.queued += question.urgency is Urgency.CLIENT
            if question.urgency is Urgency.BACKGROUND:
                self._background.append(ticket)
        if question.urgency is Urgency.CLIENT and question.client not in ticket.clients:
            ticket.clients.add(question.client)
            self._of_clients.setdefault(question.client, deque()).append(ticket)
        return True

    def leave(self, request: Request, who: Any) -> None:
        """Somebody no longer waits; what nobody waits for is not begun."""
        ticket = self._tickets.get(request)
        if ticket is None or who not in ticket.waiting:
            return
        ticket.waiting.remove(who)
        if not ticket.waiting and not ticket.running:
            del self._tickets[request]
            self.queued -= ticket.urgency is Urgency.CLIENT

    def prefetch(self, wish: Prefetch) -> None:
        """Put a scope first, with these requests instead of those it had; the oldest scopes make room."""
        self._scopes.pop(wish.scope, None)
        if wish.requests:
            self._scopes[wish.scope] = (self._clock(), deque(wish.requests))
        while sum(len(requests) for _, requests in self._scopes.values()) > _MOST_PREFETCHES:
            self._scopes.popitem(last=False)

    def take(self) -> Job | None:
        """What to begin now; None when all threads are busy or there is nothing."""
        if self.running >= self._limits.threads:
            return None
        ticket = self._next_of_clients()
        if ticket is None and self._running[False] < self._limits.most_prefetching:
            ticket = self._next_prefetch() or self._next(self._background, Urgency.BACKGROUND)
        if ticket is None:
            return None
        ticket.running = True
        self.queued -= ticket.urgency is Urgency.CLIENT
        self._running[ticket.urgency is Urgency.CLIENT] += 1
        return ticket

    def done(self, ticket: Job) -> Sequence[Any]:
        """Who waits for the answer of a ticket that was taken."""
        del self._tickets[ticket.request]
        self._running[ticket.urgency is Urgency.CLIENT] -= 1
        if ticket.urgency is Urgency.CLIENT:
            self._served[ticket.served] -= 1
            if not self._served[ticket.served]:
                del self._served[ticket.served]
        return ticket.waiting

    @property
    def running(self) -> int:
        """How many tickets are taken and not done."""
        return sum(self._running.values())

    def late(self, ticket: Job) -> bool:
        """Whether a client has waited for its turn for longer than it is worth."""
        return ticket.urgency is Urgency.CLIENT and self._clock() - ticket.since > self._limits.patience_seconds

    def _next_of_clients(self) -> Job | None:
        while self._of_clients:
            client = min(self._of_clients, key=self._served.__getitem__)
            ticket = self._next(self._of_clients[client], Urgency.CLIENT)
            if self._of_clients[client]:
                self._of_clients.move_to_end(client)
            else:
                del self._of_clients[client]
            if ticket:
                self._served[client] += 1
                ticket.served = client
                return ticket
        return None

    def _next(self, queue: deque[Job], urgency: Urgency) -> Job | None:
        while queue:
            ticket = queue.popleft()
            current = self._tickets.get(ticket.request) is ticket  # else everybody has left
            if current and not ticket.running and ticket.urgency is urgency:
                return ticket
        return None

    def _next_prefetch(self) -> Job | None:
        while self._scopes:
            scope, (since, requests) = next(reversed(self._scopes.items()))
            if self._clock() - since > PREFETCH_SECONDS or not requests:
                del self._scopes[scope]
                continue
            request = requests.popleft()
            if request not in self._tickets:
                ticket = self._tickets[request] = Job(request, since)
                return ticket
        return None
