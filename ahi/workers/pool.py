"""The FrameFetcher processes: whatever is slow is done there, as jobs that they are handed.

A fetcher listens on a Unix socket that was bound before any fork, so that every web process can reach every fetcher and
a fetcher that died can be started again on the same socket. A job is a function with its arguments, pickled by name;
its route decides which fetcher does it, so that one run serves everyone who waits for the same.

    web process     FetcherPool.submit(route, job, ...)  →  JobFuture.result()
    fetcher         worker.serve(socket, context, limits): JobRequest → JobScheduler → job(context, ...)
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
_ANSWER_SECONDS = 120.0  # a fetcher that takes longer is hung, and its supervisor replaces it before
_SOON_SECONDS = 0.001  # an answer that comes within this time is not worth another thread
_TRIES = 3  # to send a message: the fetcher of a connection may be replaced at any moment


class FetcherSockets:
    """The listening sockets of all fetchers, in a folder that only this user can enter. Made before any fork."""

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
        """Delete them; for the process that made them, when all is over."""
        for listening in self.listening:
            listening.close()
        self._folder.cleanup()


class JobFuture(Generic[R]):
    """A job that a fetcher works on; `result` waits for it."""

    def __init__(self, fetcher: "_Fetcher", job_request: JobRequest) -> None:
        self._fetcher = fetcher
        self._job_request = job_request
        self._asked_at = time.monotonic()
        self._connection = fetcher.send(job_request)
        self._answered = False

    def result(self) -> R:
        """What the job returned or raised; a fetcher that dies on the way is asked once more when it is back."""
        since = time.monotonic()
        parts: tuple[TimedPart, ...] = ()
        try:
            with self._fetcher.expecting(_ANSWER_SECONDS):
                if not _has_answer(self._connection, _SOON_SECONDS):
                    about_to_wait()
                answer, parts = self._receive()
        finally:
            waited("fetchers", self._job_request.request.job.__name__, self._asked_at, since, parts)
        self._answered = True
        self._fetcher.idle(self._connection)
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
        self._fetcher.forget()
        self._connection = self._fetcher.send(self._job_request)
        try:
            return _answer(self._connection)
        except (EOFError, ConnectionError) as error:
            self._connection.close()
            raise UpstreamBusy("the request could not be completed") from error

    def abandon(self) -> None:
        """Nobody waits for the answer, if it has not come yet; the fetcher sees that, and need not begin."""
        if not self._answered:
            self._connection.close()


def _has_answer(connection: socket.socket, seconds: float) -> bool:
    """Whether something comes within so many seconds."""
    poll = select.poll()
    poll.register(connection, select.POLLIN)
    return bool(poll.poll(seconds * 1000))


def _answer(connection: socket.socket) -> tuple[Any, tuple[TimedPart, ...]]:
    """What a job returned or raised, and what its time went into."""
    outcome, parts = receive(connection)
    return outcome, parts


class _Fetcher:
    """The connections from this process to one fetcher. Each carries one question at a time."""

    def __init__(self, path: str, expecting: Expecting) -> None:
        self._path = path
        self.expecting = expecting
        self._lock = threading.Lock()
        self._idle: list[socket.socket] = []

    def send(self, message: JobRequest | Prefetch) -> socket.socket:
        """Send a message; the connection on which its answer comes."""
        content = encode_message(message)
        for _ in range(_TRIES):
            with self._lock:
                connection = self._idle.pop() if self._idle else None
            connection = connection or self._connect()
            try:
                connection.sendall(content)
                return connection
            except ConnectionError:  # its fetcher was replaced, or leaves just now
                connection.close()
                self.forget()
        raise UpstreamBusy("the service is starting or stopping")

    def idle(self, connection: socket.socket) -> None:
        with self._lock:
            self._idle.append(connection)

    def __del__(self) -> None:
        self.forget()

    def forget(self) -> None:
        """Close what is idle: its fetcher has died, and none of these leads to the next one."""
        with self._lock:
            idle, self._idle = self._idle, []
        for connection in idle:
            connection.close()

    def _connect(self) -> socket.socket:
        try:
            end = socket.socket(socket.AF_UNIX)
        except OSError as error:
            raise UpstreamBusy("the service has too many files open") from error
        try:
            end.connect(self._path)
        except OSError as error:
            end.close()
            raise UpstreamBusy("the service is starting or stopping") from error
        return end


class FetcherPool:
    """All fetchers, seen from another process."""

    def __init__(self, paths: list[str], urgency: Urgency = Urgency.CLIENT, expecting: Expecting = nullcontext) -> None:
        """`urgency` is that of all that is submitted here; `expecting` is entered around each wait for an answer."""
        self._fetchers = [_Fetcher(path, expecting) for path in paths]
        self._urgency = urgency

    def __len__(self) -> int:
        """How many there are; none in a service that only searches the index."""
        return len(self._fetchers)

    def submit(self, route: str, job: JobFunction[P, R], *arguments: P.args, **_none: P.kwargs) -> JobFuture[R]:
        """Hand the job to the fetcher of its route. Equal jobs that run at the same time are one."""
        timing = current_timing()
        traceparent = timing.traceparent if timing else ""
        job_request = JobRequest(JobCall(job, arguments), self._urgency, traceparent, current_client())
        return JobFuture(self._of(route), job_request)

    def run(self, route: str, job: JobFunction[P, R], *arguments: P.args, **_none: P.kwargs) -> R:
        """Hand over the job and wait for its result."""
        return self.submit(route, job, *arguments, **_none).result()

    def prefetch(self, scope: str, job: JobFunction[P, R], routed: Iterable[tuple[str, tuple[Hashable, ...]]]) -> None:
        """Have jobs done when no client waits: pairs of route and arguments, best first, instead of those of the scope.

        Nobody waits for the results, and nothing is said when they do not come.
        """
        requests: dict[_Fetcher, list[JobCall]] = {fetcher: [] for fetcher in self._fetchers}
        for route, arguments in routed:
            requests[self._of(route)].append(JobCall(job, arguments))
        for fetcher, best_first in requests.items():
            with suppress(UpstreamBusy, ConnectionError):
                fetcher.idle(fetcher.send(Prefetch(scope, tuple(best_first))))

    def _of(self, route: str) -> _Fetcher:
        return self._fetchers[zlib.crc32(route.encode()) % len(self._fetchers)]
