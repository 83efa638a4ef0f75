"""The pool of FrameFetcher processes, as the web processes and the prefetch process see it.

Each FrameFetcher listens on a Unix socket that is bound before any fork. So every process can reach every FrameFetcher,
and a new FrameFetcher takes over the socket of one that died. A job is a function, pickled by name, and its arguments.
Its route decides which FrameFetcher runs it, so equal jobs meet in one process and run once.

    web process     FetcherPool.submit(route, job, ...)  →  JobFuture.result()
    FrameFetcher    worker.serve(socket, context, limits): JobRequest → JobScheduler → job(context, ...)
"""

import logging
import select
import socket
import tempfile
import threading
import time
import zlib
from collections.abc import Callable, Hashable, Iterable
from contextlib import AbstractContextManager, nullcontext, suppress
from pathlib import Path
from typing import Any, Generic, ParamSpec, TypeVar

from ahi.workers.context import JobFunction
from ahi.workers.scheduler import JobCall, JobRequest, Prefetch, Urgency
from dicomweb.errors import UpstreamBusy
from runtime.fairness import about_to_wait, current_client
from runtime.messages import encode_message, receive
from runtime.timing import TimedPart, current_timing, waited

log = logging.getLogger(__name__)
P = ParamSpec("P")
R = TypeVar("R")
Expecting = Callable[[float], AbstractContextManager[object]]
"""See `Heartbeat.expecting`."""


_BACKLOG = 1024
_ANSWER_SECONDS = 120.0  # the supervisor replaces a hung FrameFetcher before
_SOON_SECONDS = 0.001  # an answer that comes within this time is not worth another thread
_SEND_ATTEMPTS = 3  # the FrameFetcher of a connection may be replaced at any moment


class FetcherSockets:
    """The listening sockets of all FrameFetchers, in a folder that only this user can enter. Made before any fork."""

    def __init__(self, count: int) -> None:
        self._folder = tempfile.TemporaryDirectory(prefix="frame-fetchers-")
        self.paths = [str(Path(self._folder.name, f"FF{index}")) for index in range(count)]
        self.listening = [self._listen(path) for path in self.paths]

    @staticmethod
    def _listen(path: str) -> socket.socket:
        listening = socket.socket(socket.AF_UNIX)
        listening.bind(path)
        listening.listen(_BACKLOG)
        return listening

    def remove(self) -> None:
        """Close and delete them. The process that made them calls this at its end."""
        for listening in self.listening:
            listening.close()
        self._folder.cleanup()


class JobFuture(Generic[R]):
    """The future result of a job that was sent to a FrameFetcher."""

    def __init__(self, fetcher: "_Fetcher", job_request: JobRequest) -> None:
        self._fetcher = fetcher
        self._job_request = job_request
        self._sent_at = time.monotonic()
        self._connection = fetcher.send(job_request)
        self._answered = False

    def result(self) -> R:
        """Wait, and return or raise what the job did. If its FrameFetcher dies, the job is sent once more."""
        waits_since = time.monotonic()
        parts: tuple[TimedPart, ...] = ()
        try:
            with self._fetcher.expecting(_ANSWER_SECONDS):
                if not _has_answer(self._connection, _SOON_SECONDS):
                    about_to_wait()
                answer, parts = self._receive()
        finally:
            waited("fetchers", self._job_request.call.job.__name__, self._sent_at, waits_since, parts)
        self._answered = True
        self._fetcher.release(self._connection)
        if isinstance(answer, Exception):
            raise answer
        result: R = answer
        return result

    def _receive(self) -> tuple[Any, tuple[TimedPart, ...]]:
        try:
            return _answer(self._connection)
        except (EOFError, ConnectionError):
            self._connection.close()
        log.warning("fetcher lost, asking again")
        self._fetcher.close_idle()
        self._connection = self._fetcher.send(self._job_request)
        try:
            return _answer(self._connection)
        except (EOFError, ConnectionError) as error:
            self._connection.close()
            raise UpstreamBusy("the request could not be completed") from error

    def abandon(self) -> None:
        """Cancel a job whose result has not come: its FrameFetcher does not start it any more."""
        if not self._answered:
            self._connection.close()


def _has_answer(connection: socket.socket, seconds: float) -> bool:
    """Whether an answer, or its end, comes within so many seconds."""
    poll = select.poll()
    poll.register(connection, select.POLLIN)
    return bool(poll.poll(seconds * 1000))


def _answer(connection: socket.socket) -> tuple[Any, tuple[TimedPart, ...]]:
    """Receive what a job returned or raised, and the times that it took."""
    outcome, parts = receive(connection)
    return outcome, parts


class _Fetcher:
    """The connections from this process to one FrameFetcher. Each carries one request at a time."""

    def __init__(self, path: str, expecting: Expecting) -> None:
        self._path = path
        self.expecting = expecting
        self._lock = threading.Lock()
        self._idle: list[socket.socket] = []

    def send(self, message: JobRequest | Prefetch) -> socket.socket:
        """Send a message, and return the connection on which its answer comes."""
        content = encode_message(message)
        for _ in range(_SEND_ATTEMPTS):
            with self._lock:
                connection = self._idle.pop() if self._idle else None
            connection = connection or self._connect()
            try:
                connection.sendall(content)
                return connection
            except ConnectionError:  # its FrameFetcher was replaced, or is leaving
                connection.close()
                self.close_idle()
        raise UpstreamBusy("the service is starting or stopping")

    def release(self, connection: socket.socket) -> None:
        """Keep a connection for the next request."""
        with self._lock:
            self._idle.append(connection)

    def __del__(self) -> None:
        self.close_idle()

    def close_idle(self) -> None:
        """Close the idle connections. None of them leads to the successor of a FrameFetcher that has died."""
        with self._lock:
            idle, self._idle = self._idle, []
        for connection in idle:
            connection.close()

    def _connect(self) -> socket.socket:
        try:
            connection = socket.socket(socket.AF_UNIX)
        except OSError as error:
            raise UpstreamBusy("the service has too many files open") from error
        try:
            connection.connect(self._path)
        except OSError as error:
            connection.close()
            raise UpstreamBusy("the service is starting or stopping") from error
        return connection


class FetcherPool:
    """All FrameFetchers, seen from another process. Safe to share between threads."""

    def __init__(self, paths: list[str], urgency: Urgency = Urgency.CLIENT, expecting: Expecting = nullcontext) -> None:
        """`urgency` is that of all jobs of this pool; `expecting` is entered around each wait for an answer."""
        self._fetchers = [_Fetcher(path, expecting) for path in paths]
        self._urgency = urgency

    def __len__(self) -> int:
        """The number of FrameFetchers; 0 in a service that only searches the index."""
        return len(self._fetchers)

    def submit(self, route: str, job: JobFunction[P, R], *arguments: P.args, **_none: P.kwargs) -> JobFuture[R]:
        """Send a job to the FrameFetcher of its route. Equal jobs at the same time run once.

        UpstreamBusy while the FrameFetcher cannot be reached.
        """
        timing = current_timing()
        traceparent = timing.traceparent if timing else ""
        job_request = JobRequest(JobCall(job, arguments), self._urgency, traceparent, current_client())
        return JobFuture(self._fetcher_of(route), job_request)

    def run(self, route: str, job: JobFunction[P, R], *arguments: P.args, **_none: P.kwargs) -> R:
        """Send a job and wait for its result."""
        return self.submit(route, job, *arguments, **_none).result()

    def prefetch(self, scope: str, job: JobFunction[P, R], routed: Iterable[tuple[str, tuple[Hashable, ...]]]) -> None:
        """Run jobs when no client waits: pairs of route and arguments, best first. They replace those of the scope.

        Results and errors are not reported.
        """
        calls: dict[_Fetcher, list[JobCall]] = {fetcher: [] for fetcher in self._fetchers}
        for route, arguments in routed:
            calls[self._fetcher_of(route)].append(JobCall(job, arguments))
        for fetcher, best_first in calls.items():
            with suppress(UpstreamBusy, ConnectionError):
                fetcher.release(fetcher.send(Prefetch(scope, tuple(best_first))))

    def close(self) -> None:
        """Close the connections that no request uses."""
        for fetcher in self._fetchers:
            fetcher.close_idle()

    def _fetcher_of(self, route: str) -> _Fetcher:
        return self._fetchers[zlib.crc32(route.encode()) % len(self._fetchers)]
