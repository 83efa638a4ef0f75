"""The scheduler of a FrameFetcher: client requests first, then prefetches, then background jobs.

Clients take turns: the client with the fewest running jobs is next. Equal calls are one job, whoever requests them.
All queues are bounded. The scheduler knows neither sockets nor threads, and its caller must hold a lock.
The values (`JobCall`, `JobRequest`, `Prefetch`) are made in the processes that send jobs.
"""

import time
from collections import Counter, OrderedDict, deque
from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass, field
from enum import IntEnum
from typing import Any

PREFETCH_SECONDS = 10.0  # a prefetch that has not begun by then is for a viewer that has moved on
_MAX_PREFETCHES = 4096


class Urgency(IntEnum):
    """The order in which requests are served."""

    CLIENT = 0
    BACKGROUND = 1


@dataclass(frozen=True)
class JobCall:
    """A job and its arguments, which must be hashable: equal calls at the same time are one."""

    job: Callable[..., Any]
    arguments: tuple[Hashable, ...]


@dataclass(frozen=True)
class JobRequest:
    """A call whose result somebody waits for."""

    call: JobCall
    urgency: Urgency = Urgency.CLIENT
    traceparent: str = ""
    """The trace that it belongs to, "" without one."""

    client: str = ""
    """The client that waits, as far as the web process knows."""


@dataclass(frozen=True)
class Prefetch:
    """The calls that a client will probably need next in a scope, best first. They replace those of the scope."""

    scope: str
    calls: tuple[JobCall, ...]


@dataclass
class Job:
    """A call, the waiters that receive its result, and when it was queued (seconds of the clock)."""

    call: JobCall
    since: float
    waiters: list[Any] = field(default_factory=list)
    urgency: Urgency | None = None  # None for a prefetch
    running: bool = False
    clients: set[str] = field(default_factory=set)
    """The clients in whose queues it is."""

    charged_client: str = ""
    """The client in whose turn it was taken."""

    traceparent: str = ""
    """The trace of the first request that has one."""


@dataclass(frozen=True)
class SchedulerLimits:
    """The limits of one FrameFetcher."""

    threads: int = 32
    max_queued: int = 1024
    patience_seconds: float = 10.0

    @property
    def max_prefetching(self) -> int:
        """Threads that prefetches and background jobs may use: a client soon finds a free one."""
        return max(1, self.threads * 3 // 4)


class JobScheduler:
    """The jobs of a FrameFetcher. Calls must not overlap."""

    def __init__(self, limits: SchedulerLimits, clock: Callable[[], float] = time.monotonic) -> None:
        self._limits = limits
        self._clock = clock
        self._jobs: dict[JobCall, Job] = {}
        self._client_queues: OrderedDict[str, deque[Job]] = OrderedDict()
        self._running_by_client: Counter[str] = Counter()
        self._background: deque[Job] = deque()
        self._prefetches: OrderedDict[str, tuple[float, deque[JobCall]]] = OrderedDict()
        self._running = {True: 0, False: 0}  # by whether a client waited at the start
        self.queued = 0
        """The number of client requests that wait for a thread."""

    def submit(self, request: JobRequest, waiter: Any) -> bool:
        """Queue a request, or join an equal job. Return False, and do nothing, when the queue is full."""
        job = self._jobs.get(request.call)
        if job is None:
            if request.urgency is Urgency.CLIENT and self.queued >= self._limits.max_queued:
                return False
            job = self._jobs[request.call] = Job(request.call, self._clock())
        job.waiters.append(waiter)
        job.traceparent = job.traceparent or request.traceparent
        if not job.running:
            self._enqueue(job, request)
        return True

    def _enqueue(self, job: Job, request: JobRequest) -> None:
        if job.urgency is None or request.urgency < job.urgency:
            job.urgency, job.since = request.urgency, self._clock()  # its old place in a queue is skipped
            self.queued += request.urgency is Urgency.CLIENT
            if request.urgency is Urgency.BACKGROUND:
                self._background.append(job)
        if request.urgency is Urgency.CLIENT and request.client not in job.clients:
            job.clients.add(request.client)
            self._client_queues.setdefault(request.client, deque()).append(job)

    def cancel(self, call: JobCall, waiter: Any) -> None:
        """Remove a waiter. A job without waiters is not started."""
        job = self._jobs.get(call)
        if job is None or waiter not in job.waiters:
            return
        job.waiters.remove(waiter)
        if not job.waiters and not job.running:
            del self._jobs[call]
            self.queued -= job.urgency is Urgency.CLIENT

    def prefetch(self, prefetch: Prefetch) -> None:
        """Replace the calls of a scope and serve it first. The oldest scopes make room."""
        self._prefetches.pop(prefetch.scope, None)
        if prefetch.calls:
            self._prefetches[prefetch.scope] = (self._clock(), deque(prefetch.calls))
        while sum(len(calls) for _, calls in self._prefetches.values()) > _MAX_PREFETCHES:
            self._prefetches.popitem(last=False)

    def take(self) -> Job | None:
        """Return the job to start now; None when all threads are busy or nothing is queued."""
        if self.running >= self._limits.threads:
            return None
        job = self._next_for_clients()
        if job is None and self._running[False] < self._limits.max_prefetching:
            job = self._next_prefetch() or self._next(self._background, Urgency.BACKGROUND)
        if job is None:
            return None
        job.running = True
        self.queued -= job.urgency is Urgency.CLIENT
        self._running[job.urgency is Urgency.CLIENT] += 1
        return job

    def finish(self, job: Job) -> Sequence[Any]:
        """Remove a job that was taken, and return its waiters."""
        del self._jobs[job.call]
        self._running[job.urgency is Urgency.CLIENT] -= 1
        if job.urgency is Urgency.CLIENT:
            self._running_by_client[job.charged_client] -= 1
            if not self._running_by_client[job.charged_client]:
                del self._running_by_client[job.charged_client]
        return job.waiters

    @property
    def running(self) -> int:
        """The number of jobs that are taken and not finished."""
        return sum(self._running.values())

    def is_late(self, job: Job) -> bool:
        """Whether a client has waited for longer than `patience_seconds`."""
        return job.urgency is Urgency.CLIENT and self._clock() - job.since > self._limits.patience_seconds

    def _next_for_clients(self) -> Job | None:
        while self._client_queues:
            client = min(self._client_queues, key=self._running_by_client.__getitem__)
            job = self._next(self._client_queues[client], Urgency.CLIENT)
            if self._client_queues[client]:
                self._client_queues.move_to_end(client)
            else:
                del self._client_queues[client]
            if job:
                self._running_by_client[client] += 1
                job.charged_client = client
                return job
        return None

    def _next(self, queue: deque[Job], urgency: Urgency) -> Job | None:
        while queue:
            job = queue.popleft()
            is_wanted = self._jobs.get(job.call) is job  # else all its waiters have left
            if is_wanted and not job.running and job.urgency is urgency:
                return job
        return None

    def _next_prefetch(self) -> Job | None:
        while self._prefetches:
            scope, (since, calls) = next(reversed(self._prefetches.items()))
            if self._clock() - since > PREFETCH_SECONDS or not calls:
                del self._prefetches[scope]
                continue
            call = calls.popleft()
            if call not in self._jobs:
                job = self._jobs[call] = Job(call, since)
                return job
        return None
