"""What a fetcher does next: what clients wait for, then what they will ask for soon, then what nobody waits for.

Requests go round among clients: the one for which the fewest threads work is next. Equal requests are one job,
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
class JobCall:
    """A job and its arguments, which must be hashable: equal requests at the same time are one."""

    job: Callable[..., Any]
    arguments: tuple[Hashable, ...]


@dataclass(frozen=True)
class JobRequest:
    """A request that somebody waits for."""

    request: JobCall
    urgency: Urgency = Urgency.CLIENT
    traceparent: str = ""
    """The trace that it belongs to, "" if it is in none."""

    client: str = ""
    """Who waits, as far as the web process knows."""


@dataclass(frozen=True)
class Prefetch:
    """What is likely to be asked for next in a scope, best first. It replaces what the scope had."""

    scope: str
    requests: tuple[JobCall, ...]


@dataclass
class Job:
    """A request, who waits for its answer, and since when."""

    request: JobCall
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
    """The jobs of a fetcher."""

    def __init__(self, limits: SchedulerLimits, clock: Callable[[], float] = time.monotonic) -> None:
        self._limits = limits
        self._clock = clock
        self._jobs: dict[JobCall, Job] = {}
        self._of_clients: OrderedDict[str, deque[Job]] = OrderedDict()
        self._served: Counter[str] = Counter()
        self._background: deque[Job] = deque()
        self._scopes: OrderedDict[str, tuple[float, deque[JobCall]]] = OrderedDict()
        self._running = {True: 0, False: 0}  # by whether a client waited at the start
        self.queued = 0
        """How many questions of clients wait for a thread."""

    def ask(self, job_request: JobRequest, who: Any) -> bool:
        """Queue a question, or join an equal one; False, and nothing is done, where too many wait already."""
        job = self._jobs.get(job_request.request)
        if job is None:
            if job_request.urgency is Urgency.CLIENT and self.queued >= self._limits.most_waiting:
                return False
            job = self._jobs[job_request.request] = Job(job_request.request, self._clock())
        job.waiting.append(who)
        job.traceparent = job.traceparent or job_request.traceparent
        if job.running:
            return True
        if job.urgency is None or job_request.urgency < job.urgency:
            job.urgency, job.since = job_request.urgency, self._clock()  # where it stood before it is passed over
            self.queued += job_request.urgency is Urgency.CLIENT
            if job_request.urgency is Urgency.BACKGROUND:
                self._background.append(job)
        if job_request.urgency is Urgency.CLIENT and job_request.client not in job.clients:
            job.clients.add(job_request.client)
            self._of_clients.setdefault(job_request.client, deque()).append(job)
        return True

    def leave(self, request: JobCall, who: Any) -> None:
        """Somebody no longer waits; what nobody waits for is not begun."""
        job = self._jobs.get(request)
        if job is None or who not in job.waiting:
            return
        job.waiting.remove(who)
        if not job.waiting and not job.running:
            del self._jobs[request]
            self.queued -= job.urgency is Urgency.CLIENT

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
        job = self._next_of_clients()
        if job is None and self._running[False] < self._limits.most_prefetching:
            job = self._next_prefetch() or self._next(self._background, Urgency.BACKGROUND)
        if job is None:
            return None
        job.running = True
        self.queued -= job.urgency is Urgency.CLIENT
        self._running[job.urgency is Urgency.CLIENT] += 1
        return job

    def done(self, job: Job) -> Sequence[Any]:
        """Who waits for the answer of a job that was taken."""
        del self._jobs[job.request]
        self._running[job.urgency is Urgency.CLIENT] -= 1
        if job.urgency is Urgency.CLIENT:
            self._served[job.served] -= 1
            if not self._served[job.served]:
                del self._served[job.served]
        return job.waiting

    @property
    def running(self) -> int:
        """How many jobs are taken and not done."""
        return sum(self._running.values())

    def late(self, job: Job) -> bool:
        """Whether a client has waited for its turn for longer than it is worth."""
        return job.urgency is Urgency.CLIENT and self._clock() - job.since > self._limits.patience_seconds

    def _next_of_clients(self) -> Job | None:
        while self._of_clients:
            client = min(self._of_clients, key=self._served.__getitem__)
            job = self._next(self._of_clients[client], Urgency.CLIENT)
            if self._of_clients[client]:
                self._of_clients.move_to_end(client)
            else:
                del self._of_clients[client]
            if job:
                self._served[client] += 1
                job.served = client
                return job
        return None

    def _next(self, queue: deque[Job], urgency: Urgency) -> Job | None:
        while queue:
            job = queue.popleft()
            current = self._jobs.get(job.request) is job  # else everybody has left
            if current and not job.running and job.urgency is urgency:
                return job
        return None

    def _next_prefetch(self) -> Job | None:
        while self._scopes:
            scope, (since, requests) = next(reversed(self._scopes.items()))
            if self._clock() - since > PREFETCH_SECONDS or not requests:
                del self._scopes[scope]
                continue
            request = requests.popleft()
            if request not in self._jobs:
                job = self._jobs[request] = Job(request, since)
                return job
        return None
