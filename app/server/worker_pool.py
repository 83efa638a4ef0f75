"""The threads of a web process: plain threads, which may wait for anything and hold any lock.

One of them leads: it listens to all connections, and answers the requests that come in itself, one after the other. So
nobody is woken for a request, and no two threads take the interpreter from each other. A second one stands by. When the
leader has been at one request for some milliseconds, for whatever reason, the second takes the lead, and a third
stands by; whoever has answered a slow request rests. So a request that waits holds others up for milliseconds, and
nobody has to say that it waits. Where that is known, the lead is given up at once (`give_up_lead`).

A number of requests are answered at a time: there are so many places. A thread that waits until its client has taken
what was sent gives its place away meanwhile. So clients that read slowly take no places; how many may do so is bounded
by the limits of requests. What is brief needs no place: whoever leads answers it while all others wait.
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

_SLOW_SECONDS = 0.002  # a request that takes longer is left to its thread, while another one leads
_LOOK_SECONDS = 0.004  # from one look at the leader to the next
_QUIET_LOOKS = 50  # after so many looks at a leader that answers nothing, the thread that stands by sleeps


class Listening(Protocol):
    """What the leader does between two requests."""

    def listen(self, *, wait: bool) -> None:
        """Queue the requests that have come in (`add_task`); wait for one, if `wait`."""

    def wake(self) -> None:
        """Have `listen` return soon if it waits; from any thread."""


class WorkerPool:
    """Threads with `places` places; which request is next is decided by the queue."""

    def __init__(
        self, places: int, limits: QueueLimits, client_of: Callable[[Any], str], heartbeat: Heartbeat | None = None
    ) -> None:
        """`client_of` gives the client that a request comes from."""
        self._heartbeat = heartbeat or Heartbeat.alone()
        lock = threading.Lock()
        self._changed = lock
        self._rest, self._watch = threading.Condition(lock), threading.Condition(lock)
        self._queue = FairQueue(limits, client_of)
        self._places = places
        self._ended = False
        self._threads: set[threading.Thread] = set()
        self._resting = 0
        self._leader: threading.Thread | None = None
        self._standby: threading.Thread | None = None
        self._standby_sleeps = False
        self._answering_since: float | None = None
        """When the leader began to answer its request; None while it listens."""
        self._answered = 0
        self._listened_at = 0.0
        self._listening: Listening

    def start(self, listening: Listening) -> None:
        """Start the first two threads; more are started when they are needed."""
        self._listening = listening
        with self._changed:
            self._start_thread()
            self._start_thread()

    def add_task(self, task: Task) -> None:
        """Queue a request."""
        with self._changed:
            self._queue.append(task)
            self._heartbeat.set_waiting(self._queue.waiting)
        self._listening.wake()

    def give_up_lead(self) -> None:
        """Have another thread lead from now on, as this one is going to wait."""
        with self._changed:
            if self._leader is threading.current_thread():
                self._leader = None
                self._call_standby()

    @contextmanager
    def pausing(self) -> Iterator[None]:
        """Until the end of this context, the current thread waits for its client, and has no place.

        The end of the context waits for a place. No lock that the answer of another request needs may be held.
        """
        client = current_client()
        if client == REFUSED:  # or brief: it has no place
            yield
            return
        with self._changed:
            self._queue.pause(client)
        self.give_up_lead()
        self._listening.wake()
        try:
            yield
        finally:
            self._resume(client)

    def shutdown(self, cancel_pending: bool = True, timeout: float = 5) -> bool:
        """End the threads, each after its answer; whether all ended within `timeout` seconds."""
        with self._changed:
            self._ended = True
            if cancel_pending:
                self._queue.clear()
            self._rest.notify_all()
            self._watch.notify_all()
            threads = list(self._threads)
        self._listening.wake()
        deadline = time.monotonic() + timeout
        for thread in threads:
            thread.join(max(0.0, deadline - time.monotonic()))
        return not any(thread.is_alive() for thread in threads)

    def _start_thread(self) -> None:
        thread = threading.Thread(target=self._work, name="worker", daemon=True)
        try:
            thread.start()
        except RuntimeError:  # the system has no room for one more; who is done with a request will stand by
            log.warning("a thread cannot be started")
            return
        self._threads.add(thread)

    def _work(self) -> None:
        while self._wait_for_lead():
            self._lead()

    def _wait_for_lead(self) -> bool:
        """Rest, then stand by; whether this thread leads now. It ends otherwise."""
        me = threading.current_thread()
        with self._changed:
            while not self._ended:
                if self._standby is None:
                    self._standby = me
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
        """Wait until nobody leads, or the leader is slow; at the end of the pool too."""
        quiet, answered = 0, self._answered
        while not self._ended and self._leader is not None:
            since = self._answering_since
            if since is not None and time.monotonic() - since >= _SLOW_SECONDS:
                return
            quiet = quiet + 1 if since is None and answered == self._answered else 0
            answered = self._answered
            self._standby_sleeps = quiet > _QUIET_LOOKS
            self._watch.wait(None if self._standby_sleeps else _LOOK_SECONDS)
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
        """Listen and answer in turn, until another thread leads and nothing is left for this one to do."""
        me, finished = threading.current_thread(), None
        while True:
            with self._changed:
                if finished is not None:
                    self._done(finished)
                leads = self._leader is me
                if self._ended or not (leads or self._answering_since is None):
                    return  # who leads looks for the next request
                found = self._next_as_leader() if leads else self._next()
                waits = leads and not found and not self._has_next()
            if found:
                finished = self._answer(*found)
            elif leads:
                self._listening.listen(wait=waits)
                self._listened_at, finished = time.monotonic(), None
            else:
                return

    def _next_as_leader(self) -> tuple[str, Task] | None:
        """The next request; None also where it is time to listen again."""
        now = time.monotonic()
        self._answering_since = None
        if now - self._listened_at > _SLOW_SECONDS or not (found := self._next()):
            return None
        self._answering_since = now
        self._answered += 1
        if self._standby_sleeps:
            self._standby_sleeps = False
            self._watch.notify()
        return found

    def _next(self) -> tuple[str, Task] | None:
        """The next request that may be answered."""
        found: tuple[str, Task] | None = None
        if brief := self._queue.pop_inline():
            found = REFUSED, brief
        elif self._queue.working < self._places and (found := self._queue.pop()):
            self._heartbeat.step()
        if found:
            self._heartbeat.set_waiting(self._queue.waiting)
        return found

    def _has_next(self) -> bool:
        return self._queue.has_inline or (self._queue.working < self._places and self._queue.has_next)

    def _answer(self, client: str, task: Task) -> str | None:
        """Answer a request; the client whose place is free again, if any is."""
        if isinstance(task, _Turn):
            task.service()
            return None
        with serving(client, self.give_up_lead):
            _answer(task)
        return client

    def _done(self, client: str) -> None:
        self._queue.done(client)
        if client != REFUSED:
            self._heartbeat.step()

    def _resume(self, client: str) -> None:
        turn = _Turn()
        with self._changed:
            if self._ended or (self._queue.working < self._places and self._queue.may_resume(client)):
                self._queue.resume(client)
                return
            self._queue.requeue(client, turn)
            self._heartbeat.set_waiting(self._queue.waiting)
        self._listening.wake()
        turn.come.wait()


class _Turn:
    """Waits in the queue for a thread that was paused, which goes on in the place of the thread that takes this out."""

    def __init__(self) -> None:
        self.come = threading.Event()

    def service(self) -> None:
        """The place is that thread's now."""
        self.come.set()

    def cancel(self) -> None:
        """All ends: it needs no place."""
        self.come.set()

    def refuse(self, status: int) -> None:
        """What has begun is not refused."""
        raise NotImplementedError


def _answer(task: Task) -> None:
    try:
        task.service()
    except Exception:  # the outermost frame of a thread
        log.exception("a request could not be answered")
