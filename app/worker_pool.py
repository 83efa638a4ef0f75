"""The threads of a web process that answer requests: plain threads, which may wait for anything and hold any lock.

waitress hands requests over as to a dispatcher of its own (`add_task`, `shutdown`). Its loop runs in another thread.

A number of requests are answered at a time: there are so many places. A thread that waits until its client has taken
what was sent gives its place away meanwhile (`pausing`), and another thread is started if none is free. So clients that
read slowly take no places; how many may do so is bounded by the limits of requests.
"""

import logging
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from ahi.heartbeat import Heartbeat
from app.fair_queue import REFUSED, FairQueue, QueueLimits, Task
from dicomweb.fairness import current_client, serving

log = logging.getLogger(__name__)


class WorkerPool:
    """Threads with `places` places; which request is next is decided by the queue. One more answers what is brief."""

    def __init__(
        self, places: int, limits: QueueLimits, client_of: Callable[[Any], str], heartbeat: Heartbeat | None = None
    ) -> None:
        """`client_of` gives the client that a request comes from."""
        self._heartbeat = heartbeat or Heartbeat.alone()
        lock = threading.Lock()
        self._changed, self._brief_came = threading.Condition(lock), threading.Condition(lock)
        self._queue = FairQueue(limits, client_of)
        self._places = places
        self._ended = False
        self._threads: set[threading.Thread] = set()
        self._idle = 0  # threads that wait to be woken
        self._looking = 0  # threads that were woken or started, and look for a request next

    def start(self) -> None:
        """Start the threads."""
        with self._changed:
            for _ in range(self._places):
                self._start_thread()
            brief = threading.Thread(target=self._work_briefly, name="brief", daemon=True)
            brief.start()
            self._threads.add(brief)

    def add_task(self, task: Task) -> None:
        """Queue a request."""
        with self._changed:
            self._queue.append(task)
            self._heartbeat.set_waiting(self._queue.waiting)
            self._have_one_look()
            self._brief_came.notify()

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
            self._have_one_look()
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
            self._changed.notify_all()
            self._brief_came.notify_all()
            threads = list(self._threads)
        deadline = time.monotonic() + timeout
        for thread in threads:
            thread.join(max(0.0, deadline - time.monotonic()))
        return not any(thread.is_alive() for thread in threads)

    def _start_thread(self) -> None:
        thread = threading.Thread(target=self._work, name="worker", daemon=True)
        try:
            thread.start()
        except RuntimeError:  # the system has no room for one more; those that there are go on
            log.warning("a thread cannot be started")
            return
        self._threads.add(thread)
        self._looking += 1

    def _have_one_look(self) -> None:
        """See to it that a thread looks for a request, if there is a place for one more."""
        if self._ended or self._queue.working + self._looking >= self._places:
            return  # those that have a place look when they are done
        if self._idle:
            self._idle -= 1
            self._looking += 1
            self._changed.notify()
        else:
            self._start_thread()

    def _work(self) -> None:
        with self._changed:
            self._looking -= 1
        found = self._next(None)
        while found:
            client, task = found
            if isinstance(task, _Turn):
                task.service()
                found = self._next(None)
                continue
            with serving(client):
                _answer(task)
            found = self._next(client)

    def _work_briefly(self) -> None:
        """Answer what is brief. That is no step: it says nothing of the other threads."""
        while True:
            with self._changed:
                while not self._ended and not (task := self._queue.pop_brief()):
                    self._brief_came.wait()
                if self._ended or not task:
                    return
                self._heartbeat.set_waiting(self._queue.waiting)
            _answer(task)

    def _next(self, finished: str | None) -> tuple[str, Task] | None:
        """Wait for a request that may be answered, after one of a client; None at the end of the thread."""
        with self._changed:
            if finished is not None:
                self._queue.done(finished)
                self._heartbeat.step()
            while not self._ended:
                if self._queue.working < self._places and (found := self._queue.pop()):
                    self._heartbeat.set_waiting(self._queue.waiting)
                    self._heartbeat.step()
                    return found
                if self._idle >= self._places:  # there are enough others
                    break
                self._idle += 1
                self._changed.wait()
                self._looking -= 1
            self._threads.discard(threading.current_thread())
        return None

    def _resume(self, client: str) -> None:
        turn = _Turn()
        with self._changed:
            if self._ended or (self._queue.working < self._places and self._queue.may_resume(client)):
                self._queue.resume(client)
                return
            self._queue.requeue(client, turn)
            self._heartbeat.set_waiting(self._queue.waiting)
            self._have_one_look()
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
