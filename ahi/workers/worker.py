"""One FrameFetcher process: questions come in over its socket, threads do the jobs, answers go to all who asked.

One thread leads, which is to listen to all connections. It also does what it hears of: a job that is brief as it is, so
that no other thread is woken for it or takes the interpreter from it; before any other it lets go of the lead, so that
another one listens meanwhile. How many threads there are is how many calls to AHI there are at the same time. A
connection that closes takes its question with it.

On SIGHUP a fetcher leaves: another one listens in its place, and it ends when it has answered all that it was asked.
Each connection is shut for what comes, which a web process sees before it has sent anything and so turns to the other.
"""

import logging
import os
import select
import socket
import threading
import time
from collections.abc import Callable
from contextlib import suppress

from ahi.workers.context import WorkerContext, is_run_inline
from ahi.workers.scheduler import Job, JobCall, JobRequest, JobScheduler, Prefetch, SchedulerLimits, Urgency
from dicomweb.errors import ProxyError, UpstreamBusy
from runtime.heartbeat import Heartbeat
from runtime.leave_signal import block_signal, wait_to_leave
from runtime.messages import Unpacker, encode_message
from runtime.shared_metrics import Metric
from runtime.timing import TimedPart, start_timing

log = logging.getLogger(__name__)

_BUSY = encode_message(
    (UpstreamBusy("the service has more to do than it can at the moment", retry_after_seconds=2), ())
)
_PIECE_BYTES = 2**18
_READ, _WRITE = select.EPOLLIN, select.EPOLLOUT
_NOTHING = memoryview(b"")
_MOST_IN_BACKGROUND = 10_000  # jobs of our own that wait; each is a reference to a frame
_ROUND_SECONDS = 5.0  # the longest that is listened without a beat
_PAUSE_SECONDS = 0.1  # where listening fails, as it does again and again when there are too many open files


def serve(
    listening: socket.socket, context: WorkerContext, limits: SchedulerLimits, heartbeat: Heartbeat | None = None
) -> None:
    """The life of a fetcher: answer every connection until SIGHUP, then what it was asked before."""
    block_signal()
    server = WorkerServer(listening, context, limits, heartbeat or Heartbeat())
    for number in range(limits.threads + 1):  # somebody always listens
        threading.Thread(target=server.work, name=f"job-{number}", daemon=True).start()
    wait_to_leave()
    server.leave()


class WorkerServer:
    """The scheduler, the connections, and the lead. Of all threads `work` is what they do."""

    def __init__(
        self, listening: socket.socket, context: WorkerContext, limits: SchedulerLimits, heartbeat: Heartbeat
    ) -> None:
        listening.setblocking(False)
        self._listening = listening
        self._workshop = context
        self._heartbeat = heartbeat
        self._scheduler = JobScheduler(limits)
        self._desk_lock = threading.Lock()
        self._process_metrics = context.cache.process_metrics
        self._lead = threading.Lock()
        self._own = _Own()
        self._poll = select.epoll()
        self._poll.register(listening, _READ)
        self._told_to_leave, self._tell_to_leave = os.pipe()
        self._poll.register(self._told_to_leave, _READ)
        self._leaves = False
        self._left = threading.Event()
        self._conversations: dict[int, _Conversation] = {}
        self._in_background = 0
        context.background.bind(self._take_background)

    def work(self) -> None:
        """Lead, or do jobs, for ever."""
        while True:
            if not self._own.leads:
                self._lead.acquire()
                self._own.leads = True
            while taken := self._next():
                self._do(taken)
            if self._own.leads:
                self._listen()

    def leave(self) -> None:
        """Take nothing new, and return when all that was asked has been answered."""
        os.write(self._tell_to_leave, b".")
        self._left.wait()

    def _next(self) -> Job | None:
        """What to do now."""
        late: list[_Conversation] = []
        with self._desk_lock:
            while (taken := self._scheduler.take()) and self._scheduler.late(taken):
                self._process_metrics.add(Metric.JOBS_REFUSED)
                late += self._scheduler.done(taken)
            self._process_metrics.add(Metric.PREFETCHES, taken is not None and taken.urgency is None)
            self._process_metrics.set(Metric.JOBS_QUEUED, self._scheduler.queued)
            self._process_metrics.set(Metric.JOBS_RUNNING, self._scheduler.running)
            self._heartbeat.set_waiting(self._scheduler.queued)
        for conversation in late:
            conversation.answer(_BUSY)
        return taken

    def _do(self, taken: Job) -> None:
        if self._own.leads and not is_run_inline(self._workshop, taken.request):
            self._own.leads = False
            self._lead.release()
        self._beat()
        answer = _answer(taken, self._workshop)
        self._beat()
        with self._desk_lock:
            waiting = self._scheduler.done(taken)
        self._process_metrics.add(Metric.JOBS_DONE)
        for conversation in waiting:
            conversation.answer(answer)

    def _beat(self) -> None:
        """This thread begins something, or has done it. Who leads does nothing else meanwhile that takes long."""
        self._heartbeat.step()
        if self._own.leads:
            self._heartbeat.listened()

    def _listen(self) -> None:
        """Wait until something is said on any connection."""
        self._heartbeat.listened()
        try:
            for descriptor, event in self._poll.poll(_ROUND_SECONDS):
                if descriptor == self._listening.fileno():
                    self._accept()
                elif descriptor == self._told_to_leave:
                    self._begin_to_leave()
                elif conversation := self._conversations.get(descriptor):
                    self._attend(conversation, event)
            if self._leaves and not self._conversations:
                self._left.set()
        except Exception:
            log.exception("connections could not be listened to")
            time.sleep(_PAUSE_SECONDS)

    def _begin_to_leave(self) -> None:
        """Hear only what has been sent already."""
        self._leaves = True
        self._poll.unregister(self._told_to_leave)
        self._poll.unregister(self._listening)
        for conversation in self._conversations.values():
            conversation.take_no_more()

    def _accept(self) -> None:
        if self._leaves:
            return
        try:
            connection, _ = self._listening.accept()
        except BlockingIOError:  # it has gone again
            return
        connection.setblocking(False)
        self._conversations[connection.fileno()] = _Conversation(connection, self._poll)
        self._poll.register(connection, _READ)

    def _attend(self, conversation: "_Conversation", event: int) -> None:
        if event & _WRITE:
            conversation.go_on()
        if event & ~_WRITE:
            said = conversation.hear()
            for message in said or ():
                self._receive(message, conversation)
            if said is None and (event & select.EPOLLHUP or not conversation.is_owed):
                self._lost(conversation)

    def _receive(self, message: JobRequest | Prefetch, conversation: "_Conversation") -> None:
        """A message from a web process."""
        taken = True
        with self._desk_lock:
            match message:
                case Prefetch():
                    self._scheduler.prefetch(message)
                case JobRequest(request):
                    conversation.asked = request
                    taken = self._scheduler.ask(message, conversation)
        if not taken:
            self._process_metrics.add(Metric.JOBS_REFUSED)
            conversation.answer(_BUSY)

    def _take_background(self, request: JobCall) -> bool:
        """Queue a job of our own, if there are not too many; its turn comes when nobody waits for anything."""
        with self._desk_lock:
            if self._in_background >= _MOST_IN_BACKGROUND:
                return False
            self._in_background += 1
            return self._scheduler.ask(JobRequest(request, Urgency.BACKGROUND), _Nobody(self._background_done))

    def _background_done(self) -> None:
        with self._desk_lock:
            self._in_background -= 1

    def _lost(self, conversation: "_Conversation") -> None:
        """A connection closed; nobody waits there any more."""
        del self._conversations[conversation.descriptor]
        conversation.close()
        with self._desk_lock:
            if conversation.asked:
                self._scheduler.leave(conversation.asked, conversation)


class _Nobody:
    """Stands for the conversation where nobody waits for the result of a job."""

    def __init__(self, done: Callable[[], None]) -> None:
        self._done = done

    def answer(self, _content: bytes) -> None:
        """The job is done."""
        self._done()


class _Own(threading.local):
    """What one thread knows of itself."""

    leads = False


class _Conversation:
    """One connection: a question at a time, or prefetches, which have no answer.

    Any thread may answer; who leads hears, and sends the rest of an answer that was more than the socket took at once.
    """

    def __init__(self, connection: socket.socket, poll: select.epoll) -> None:
        self._connection = connection
        self.descriptor = connection.fileno()
        self._poll = poll
        self._unpacker = Unpacker()
        self._lock = threading.Lock()
        self._unsent = _NOTHING
        self._ends = self._heard_all = False
        self.asked: JobCall | None = None

    @property
    def is_owed(self) -> bool:
        """Whether nothing more comes, but an answer has still to be sent."""
        with self._lock:
            return self._ends and bool(self.asked or self._unsent)

    def hear(self) -> list[JobRequest | Prefetch] | None:
        """The messages that are whole now; None when nothing more comes."""
        try:
            piece = self._connection.recv(_PIECE_BYTES)
        except BlockingIOError:
            return []
        except OSError:
            return None
        if not piece and self._ends:
            with self._lock:
                self._heard_all = True
                self._wish()
        return list(self._unpacker.feed(piece)) if piece else None

    def take_no_more(self) -> None:
        """What the other side sends from now on fails there; what it has sent before is still heard and answered."""
        with self._lock:
            self._ends = True
            with suppress(OSError):  # it has gone
                self._connection.shutdown(socket.SHUT_RD)
            self._wish()

    def answer(self, content: bytes) -> None:
        """Send an answer, if anybody is still there."""
        with self._lock:
            self.asked = None
            self._unsent = memoryview(b"".join((self._unsent, content)) if self._unsent else content)
            self._send()
            if self._unsent or self._ends:
                self._wish()

    def go_on(self) -> None:
        """The socket takes more."""
        with self._lock:
            self._send()
            if not self._unsent:
                self._wish()

    def close(self) -> None:
        """Nothing is sent any more."""
        with self._lock:
            self._unsent = _NOTHING
            self._connection.close()

    def _send(self) -> None:
        try:
            while self._unsent:
                self._unsent = self._unsent[self._connection.send(self._unsent) :]
        except BlockingIOError:
            return
        except OSError:  # nobody is there; who leads hears of it
            pass
        self._unsent = _NOTHING  # a view of nothing else, which would keep all of the answer in memory

    def _wish(self) -> None:
        """Have who leads told of what is to be done next here."""
        if self._connection.fileno() < 0:
            return
        if self._heard_all and not self.asked and not self._unsent:
            with suppress(OSError):
                self._connection.shutdown(socket.SHUT_RDWR)  # of which who leads is told whatever the wish
        self._poll.modify(self._connection, (0 if self._heard_all else _READ) | (_WRITE if self._unsent else 0))


def _answer(taken: Job, context: WorkerContext) -> bytes:
    """The result of a job and what its time went into; an error is a value to send, too."""
    parts: list[TimedPart] = []
    timing = start_timing()
    timing.tell, timing.traceparent = parts.append, taken.traceparent
    job = taken.request.job
    try:
        return encode_message((job(context, *taken.request.arguments), tuple(parts)))
    except ProxyError as error:
        return encode_message((error, tuple(parts)))
    except Exception:  # the outermost frame of a job: the log has the traceback, the web process an error to raise
        log.exception("job failed job=%s", job.__name__)
        return encode_message((RuntimeError("a job failed in its fetcher; the log says why"), tuple(parts)))
