"""The server of a FrameFetcher process: it receives requests, runs jobs in threads, and answers all waiters.

One thread leads: it listens to all connections. It runs a short job itself, so that no other thread has to wake up.
Before any other job it gives up the lead, and another thread listens. The number of threads bounds the concurrent calls
to AHI. A connection that closes cancels its request.

On SIGHUP a FrameFetcher leaves: a new one listens in its place, and it ends when it has answered all requests. It shuts
each connection for reading. A web process sees that before it sends, and turns to the new FrameFetcher.
"""

import logging
import os
import select
import socket
import threading
import time
from collections.abc import Callable

from ahi.workers.context import WorkerContext, is_run_inline
from ahi.workers.scheduler import Job, JobCall, JobRequest, JobScheduler, Prefetch, SchedulerLimits, Urgency
from dicomweb.errors import ProxyError, UpstreamBusy
from runtime.heartbeat import Heartbeat
from runtime.leave_signal import block_signal, wait_to_leave
from runtime.messages import encode_message
from runtime.peer_connection import READ, WRITE, PeerConnection
from runtime.shared_metrics import Metric
from runtime.timing import TimedPart, start_timing

log = logging.getLogger(__name__)

ClientConnection = PeerConnection[JobRequest | Prefetch, JobCall]

_BUSY = encode_message(
    (UpstreamBusy("the service has more to do than it can at the moment", retry_after_seconds=2), ())
)
_MAX_BACKGROUND_JOBS = 10_000  # queued; each is a reference to a frame
_POLL_SECONDS = 5.0  # the longest time without a heartbeat
_PAUSE_SECONDS = 0.1  # after an error of the poll, which may repeat: too many open files


def serve(
    listening: socket.socket, context: WorkerContext, limits: SchedulerLimits, heartbeat: Heartbeat | None = None
) -> None:
    """Answer every connection until SIGHUP, then the requests that came before it, and return."""
    block_signal()
    server = WorkerServer(listening, context, limits, heartbeat or Heartbeat())
    for number in range(limits.threads + 1):  # one more than run jobs: one always listens
        threading.Thread(target=server.work, name=f"job-{number}", daemon=True).start()
    wait_to_leave()
    server.leave()


class WorkerServer:
    """The scheduler, the connections and the lead. `work` is the function that every thread runs."""

    def __init__(
        self, listening: socket.socket, context: WorkerContext, limits: SchedulerLimits, heartbeat: Heartbeat
    ) -> None:
        listening.setblocking(False)
        self._listening = listening
        self._context = context
        self._heartbeat = heartbeat
        self._scheduler = JobScheduler(limits)
        self._scheduler_lock = threading.Lock()
        self._process_metrics = context.cache.process_metrics
        self._lead = threading.Lock()
        self._thread = _ThreadState()
        self._poll = select.epoll()
        self._poll.register(listening, READ)
        self._leave_reader, self._leave_writer = os.pipe()
        self._poll.register(self._leave_reader, READ)
        self._is_leaving = False
        self._has_left = threading.Event()
        self._connections: dict[int, ClientConnection] = {}
        self._background_jobs = 0
        context.background.bind(self._submit_background)

    def work(self) -> None:
        """Lead or run jobs, for ever."""
        while True:
            if not self._thread.leads:
                self._lead.acquire()
                self._thread.leads = True
            while job := self._next():
                self._run(job)
            if self._thread.leads:
                self._listen()

    def leave(self) -> None:
        """Accept nothing new, and return when all requests have been answered."""
        os.write(self._leave_writer, b".")
        self._has_left.wait()

    def _next(self) -> Job | None:
        """Take the next job. Refuse those that have waited for too long."""
        late: list[ClientConnection] = []
        with self._scheduler_lock:
            while (job := self._scheduler.take()) and self._scheduler.is_late(job):
                self._process_metrics.add(Metric.JOBS_REFUSED)
                late += self._scheduler.finish(job)
            self._process_metrics.add(Metric.PREFETCHES, job is not None and job.urgency is None)
            self._process_metrics.set(Metric.JOBS_QUEUED, self._scheduler.queued)
            self._process_metrics.set(Metric.JOBS_RUNNING, self._scheduler.running)
            self._heartbeat.set_waiting(self._scheduler.queued)
        for connection in late:
            connection.answer(_BUSY)
        return job

    def _run(self, job: Job) -> None:
        if self._thread.leads and not is_run_inline(self._context, job.call):
            self._thread.leads = False
            self._lead.release()
        self._beat()
        answer = _answer(job, self._context)
        self._beat()
        with self._scheduler_lock:
            waiters = self._scheduler.finish(job)
        self._process_metrics.add(Metric.JOBS_DONE)
        for waiter in waiters:
            waiter.answer(answer)

    def _beat(self) -> None:
        """Report that this thread starts or ends a job. A leader runs only short jobs, so it still listens."""
        self._heartbeat.step()
        if self._thread.leads:
            self._heartbeat.listened()

    def _listen(self) -> None:
        """Wait for events on any connection, and handle them."""
        self._heartbeat.listened()
        try:
            for descriptor, event in self._poll.poll(_POLL_SECONDS):
                if descriptor == self._listening.fileno():
                    self._accept()
                elif descriptor == self._leave_reader:
                    self._start_leaving()
                elif connection := self._connections.get(descriptor):
                    self._handle(connection, event)
            if self._is_leaving and not self._connections:
                self._has_left.set()
        except Exception:
            log.exception("connections could not be listened to")
            time.sleep(_PAUSE_SECONDS)

    def _start_leaving(self) -> None:
        """Read only what has been sent already."""
        self._is_leaving = True
        self._poll.unregister(self._leave_reader)
        self._poll.unregister(self._listening)
        for connection in self._connections.values():
            connection.stop_reading()

    def _accept(self) -> None:
        if self._is_leaving:
            return
        try:
            accepted, _ = self._listening.accept()
        except BlockingIOError:  # the other side has closed it again
            return
        accepted.setblocking(False)
        self._connections[accepted.fileno()] = PeerConnection(accepted, self._poll)
        self._poll.register(accepted, READ)

    def _handle(self, connection: ClientConnection, event: int) -> None:
        if event & WRITE:
            connection.send_more()
        if event & ~WRITE:
            messages = connection.read()
            for message in messages or ():
                self._receive(message, connection)
            if messages is None and (event & select.EPOLLHUP or not connection.owes_answer):
                self._drop(connection)

    def _receive(self, message: JobRequest | Prefetch, connection: ClientConnection) -> None:
        """Queue what a message requests; answer at once when the queue is full."""
        is_queued = True
        with self._scheduler_lock:
            match message:
                case Prefetch():
                    self._scheduler.prefetch(message)
                case JobRequest(call):
                    connection.pending_call = call
                    is_queued = self._scheduler.submit(message, connection)
        if not is_queued:
            self._process_metrics.add(Metric.JOBS_REFUSED)
            connection.answer(_BUSY)

    def _submit_background(self, call: JobCall) -> bool:
        """Queue a background job, which runs when no client waits. Return False when there are too many."""
        with self._scheduler_lock:
            if self._background_jobs >= _MAX_BACKGROUND_JOBS:
                return False
            self._background_jobs += 1
            return self._scheduler.submit(
                JobRequest(call, Urgency.BACKGROUND), _BackgroundWaiter(self._background_done)
            )

    def _background_done(self) -> None:
        with self._scheduler_lock:
            self._background_jobs -= 1

    def _drop(self, connection: ClientConnection) -> None:
        """Forget a connection that the other side has closed, and cancel its request."""
        del self._connections[connection.descriptor]
        connection.close()
        with self._scheduler_lock:
            if connection.pending_call:
                self._scheduler.cancel(connection.pending_call, connection)


class _BackgroundWaiter:
    """Takes the place of a connection for a job whose result nobody needs."""

    def __init__(self, done: Callable[[], None]) -> None:
        self._done = done

    def answer(self, _content: bytes) -> None:
        """Report that the job is done."""
        self._done()


class _ThreadState(threading.local):
    """The state of one thread."""

    leads = False


def _answer(job: Job, context: WorkerContext) -> bytes:
    """Run a job and encode its result, or its error, with the times that it took."""
    parts: list[TimedPart] = []
    timing = start_timing()
    timing.tell, timing.traceparent = parts.append, job.traceparent
    function = job.call.job
    try:
        return encode_message((function(context, *job.call.arguments), tuple(parts)))
    except ProxyError as error:
        return encode_message((error, tuple(parts)))
    except Exception:  # the outermost frame of a job: the log has the traceback, the web process an error to raise
        log.exception("job failed job=%s", function.__name__)
        return encode_message((RuntimeError("a job failed in its fetcher; the log says why"), tuple(parts)))
