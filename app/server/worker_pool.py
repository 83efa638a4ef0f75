"""The worker pool: leader and standby threads, which may wait for anything and hold any lock.

One thread leads: it listens to all connections, and answers the requests itself, one after the other. So no thread is
woken for a request, and no two threads take the interpreter from each other. A second thread stands by. If the leader
takes some milliseconds for one request, for whatever reason, the second takes the lead, and a third stands by. A thread
that has answered a slow request rests. So a request that waits delays others by milliseconds, and no code has to
declare that it waits. Code that knows it may give up the lead at once (`give_up_lead`).

The pool has a number of places: so many requests are answered at a time. A thread that waits for its client to take
bytes gives up its place meanwhile. So slow readers take no places; the limits of requests bound their number. A request
that runs inline needs no place: the leader answers it while all others wait.
"""

import logging
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, Protocol

from app.server.fair_queue import REFUSED, FairQueue, QueueLimits, Task
from runtime.fairness import current_client, serving
from runtime.heartbeat import Heartbeat

log = logging.getLogger(__name__)

_SLOW_SECONDS = 0.002  # another thread takes the lead if a request takes longer
_CHECK_SECONDS = 0.004  # between two checks of the leader by the thread that stands by
_RETRY_SECONDS = 1.0  # between two attempts of a leader to start the thread that it lacks
_QUIET_CHECKS = 50  # the thread that stands by sleeps after so many checks of a leader that answers nothing


class Listener(Protocol):
    """The source of requests, to which the leader listens between two of them."""

    def listen(self, *, wait: bool) -> None:
        """Queue the requests that have come in (`WorkerPool.add_task`); wait for one, if `wait`."""

    def expect_wake(self) -> None:
        """Have each `wake` from now on end the next `listen`, also if that has not begun."""

    def wake(self) -> None:
        """Have `listen` return soon if it waits; from any thread."""


class WorkerPool:
    """Threads that answer `places` requests at a time, in the order of a FairQueue."""

    def __init__(
        self, places: int, limits: QueueLimits, client_of: Callable[[Any], str], heartbeat: Heartbeat | None = None
    ) -> None:
        """`client_of` returns the client of a request."""
        self._heartbeat = heartbeat or Heartbeat.alone()
        lock = threading.Lock()
        self._changed = lock
        self._rest, self._watch = threading.Condition(lock), threading.Condition(lock)
        self._queue = FairQueue(limits, client_of)
        self._places = places
        self._ended = False
        self._threads: set[threading.Thread] = set()
        self._start_failed = False
        self._retry_from: float | None = None
        """The time for another attempt to start a thread, if the last one failed (monotonic clock)."""
        self._resting = 0
        self._leader: threading.Thread | None = None
        self._standby: threading.Thread | None = None
        self._standby_sleeps = False
        self._answering_since: float | None = None
        """The time when the leader began its request (monotonic clock); None while it listens."""
        self._answered = 0
        self._listened_at = 0.0
        self._listener: Listener

    def start(self, listener: Listener) -> None:
        """Start the first two threads; more are started when they are needed."""
        self._listener = listener
        with self._changed:
            self._start_thread()
            self._start_thread()

    def add_task(self, task: Task) -> None:
        """Queue a request."""
        with self._changed:
            self._queue.append(task)
            self._heartbeat.set_waiting(self._queue.waiting)
        self._listener.wake()

    def give_up_lead(self) -> None:
        """Let another thread lead from now on, because the current one is going to wait."""
        with self._changed:
            if self._leader is threading.current_thread():
                self._leader = None
                self._call_standby()

    @contextmanager
    def pausing(self) -> Iterator[None]:
        """A context in which the current thread waits for its client, and has no place.

        At its end the thread waits for a place. The caller holds no lock that another request needs.
        """
        client = current_client()
        if client == REFUSED:  # it has no place
            yield
            return
        with self._changed:
            self._queue.pause(client)
        self.give_up_lead()
        self._listener.wake()
        try:
            yield
        finally:
            self._resume(client)

    def shutdown(self, cancel_pending: bool = True, timeout: float = 5) -> bool:
        """End the threads, each after its answer; true if all ended within `timeout` seconds."""
        with self._changed:
            self._ended = True
            if cancel_pending:
                self._queue.clear()
            self._rest.notify_all()
            self._watch.notify_all()
            threads = list(self._threads)
        self._listener.wake()
        deadline = time.monotonic() + timeout
        for thread in threads:
            thread.join(max(0.0, deadline - time.monotonic()))
        return not any(thread.is_alive() for thread in threads)

    def _start_thread(self) -> None:
        thread = threading.Thread(target=self._work, name="worker", daemon=True)
        try:
            thread.start()
        except RuntimeError:  # the system has no room for one more; the next thread that is free stands by
            self._start_failed = True  # it is logged without the lock: a handler may take its time
            self._retry_from = time.monotonic() + _RETRY_SECONDS
            return
        self._retry_from = None
        self._threads.add(thread)

    def _work(self) -> None:
        while self._wait_for_lead():
            self._lead()

    def _wait_for_lead(self) -> bool:
        """Rest, then stand by; true if the thread leads now, false if it is to end."""
        me = threading.current_thread()
        with self._changed:
            while not self._ended:
                if self._standby is None:
                    self._standby, self._retry_from = me, None
                    self._stand_by()
                    self._standby = None
                    if self._ended:
                        break
                    self._leader, self._answering_since = me, None
                    self._find_standby()
                    return True
                if self._resting >= self._places:  # there are enough others
                    break
                self._resting += 1
                self._rest.wait()
                self._resting -= 1
            self._threads.discard(me)
        return False

    def _stand_by(self) -> None:
        """Wait until no thread leads, or the leader is slow, or the pool ends."""
        quiet_checks, answered = 0, self._answered
        while not self._ended and self._leader is not None:
            since = self._answering_since
            if since is not None and time.monotonic() - since >= _SLOW_SECONDS:
                return
            quiet_checks = quiet_checks + 1 if since is None and answered == self._answered else 0
            answered = self._answered
            self._standby_sleeps = quiet_checks > _QUIET_CHECKS
            self._watch.wait(None if self._standby_sleeps else _CHECK_SECONDS)
        self._standby_sleeps = False

    def _find_standby(self) -> None:
        if self._standby is None:
            if self._resting:
                self._rest.notify()
            else:
                self._start_thread()

    def _call_standby(self) -> None:
        if self._standby is not None:
            self._watch.notify()
        else:
            self._find_standby()

    def _lead(self) -> None:
        """Listen and answer in turn, until another thread leads."""
        me, finished = threading.current_thread(), None
        while True:
            with self._changed:
                if finished is not None:
                    self._done(finished)
                leads = self._leader is me
                if self._ended or not (leads or self._answering_since is None):
                    return  # the leader takes the next request
                request = self._next_as_leader() if leads else self._next()
                waits = leads and not request and not self._has_next()
                if waits:
                    self._listener.expect_wake()  # under the lock, so that what is queued from here on wakes it
                start_failed, self._start_failed = self._start_failed, False
            if start_failed:
                log.warning("a thread cannot be started")
            if request:
                finished = self._answer(*request)
            elif leads:
                self._listener.listen(wait=waits)
                self._listened_at, finished = time.monotonic(), None
            else:
                return

    def _next_as_leader(self) -> tuple[str, Task] | None:
        """The next request with its client; None if there is none, or it is time to listen again."""
        now = time.monotonic()
        self._answering_since = None
        if now - self._listened_at > _SLOW_SECONDS or not (request := self._next()):
            return None
        self._answering_since = now
        self._answered += 1
        if self._retry_from is not None and now >= self._retry_from:
            self._find_standby()
        if self._standby_sleeps:
            self._standby_sleeps = False
            self._watch.notify()
        return request

    def _next(self) -> tuple[str, Task] | None:
        """The next request that may be answered, with its client; None if there is none."""
        request: tuple[str, Task] | None = None
        if inline := self._queue.pop_inline():
            request = REFUSED, inline
        elif self._queue.working < self._places and (request := self._queue.pop()):
            self._heartbeat.step()
        if request:
            self._heartbeat.set_waiting(self._queue.waiting)
        return request

    def _has_next(self) -> bool:
        return self._queue.has_inline or (self._queue.working < self._places and self._queue.has_next)

    def _answer(self, client: str, task: Task) -> str | None:
        """Answer a request; the client whose place is free afterwards, None if no place is."""
        if isinstance(task, _Resumption):
            task.service()
            return None
        with serving(client, self.give_up_lead, self.pausing):
            _answer(task)
        return client

    def _done(self, client: str) -> None:
        self._queue.done(client)
        if client != REFUSED:
            self._heartbeat.step()

    def _resume(self, client: str) -> None:
        resumption = _Resumption()
        with self._changed:
            may_go_on = self._queue.working < self._places and self._queue.may_resume(client)
            if self._ended or may_go_on or self._nobody_leads():
                self._queue.resume(client)
                return
            self._queue.requeue(client, resumption)
            self._heartbeat.set_waiting(self._queue.waiting)
        self._listener.wake()
        resumption.may_go_on.wait()

    def _nobody_leads(self) -> bool:
        """Whether no thread leads or will, because none could be started, and none is free when its answer ends."""
        if self._leader is None and self._retry_from is not None:
            self._find_standby()
        return self._leader is None and self._retry_from is not None and not self._queue.working


class _Resumption:
    """An entry in the queue for a paused thread. The thread that takes it out hands its place to the paused one."""

    def __init__(self) -> None:
        self.may_go_on = threading.Event()

    def service(self) -> None:
        """Hand over the place."""
        self.may_go_on.set()

    def cancel(self) -> None:
        """Let the thread go on without a place: the pool ends."""
        self.may_go_on.set()

    def refuse(self, status: int) -> None:
        """Never called: a request that has begun is not refused."""
        raise NotImplementedError


def _answer(task: Task) -> None:
    try:
        task.service()
    except Exception:  # the outermost frame of a thread
        log.exception("a request could not be answered")
