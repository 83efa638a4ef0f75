"""The threads of a web process that answer requests: plain threads, which may wait for anything and hold any lock.

waitress hands requests over as to a dispatcher of its own (`add_task`, `shutdown`). Its loop runs in another thread.
"""

import logging
import threading
import time
from collections.abc import Callable
from typing import Any

from ahi.heartbeat import Heartbeat
from app.fair_queue import FairQueue, QueueLimits, Task
from dicomweb.fairness import serving

log = logging.getLogger(__name__)


class WorkerPool:
    """`count` threads; which request they answer next is decided by the queue. One more answers what is brief."""

    def __init__(
        self, count: int, limits: QueueLimits, client_of: Callable[[Any], str], heartbeat: Heartbeat | None = None
    ) -> None:
        """`client_of` gives the client that a request comes from."""
        self._heartbeat = heartbeat or Heartbeat.alone()
        lock = threading.Lock()
        self._changed, self._brief_came = threading.Condition(lock), threading.Condition(lock)
        self._queue = FairQueue(limits, client_of)
        self._ended = False
        self._threads = [
            threading.Thread(target=self._work, name=f"worker-{number}", daemon=True) for number in range(count)
        ]
        self._threads.append(threading.Thread(target=self._work_briefly, name="brief", daemon=True))

    def start(self) -> None:
        """Start the threads."""
        for thread in self._threads:
            thread.start()

    def add_task(self, task: Task) -> None:
        """Queue a request."""
        with self._changed:
            self._queue.append(task)
            self._heartbeat.set_waiting(self._queue.waiting)
            self._changed.notify()
            self._brief_came.notify()

    def shutdown(self, cancel_pending: bool = True, timeout: float = 5) -> bool:
        """End the threads, each after its answer; whether all ended within `timeout` seconds."""
        with self._changed:
            self._ended = True
            self._changed.notify_all()
            self._brief_came.notify_all()
        deadline = time.monotonic() + timeout
        for thread in self._threads:
            thread.join(max(0.0, deadline - time.monotonic()))
        if cancel_pending:
            with self._changed:
                self._queue.clear()
        return not any(thread.is_alive() for thread in self._threads)

    def _work(self) -> None:
        while found := self._next():
            client, task = found
            try:
                with serving(client):
                    _answer(task)
            finally:
                self._done(client)

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

    def _next(self) -> tuple[str, Task] | None:
        """Wait for a request that may be answered; None at the end."""
        with self._changed:
            while not self._ended:
                if found := self._queue.pop():
                    self._heartbeat.set_waiting(self._queue.waiting)
                    self._heartbeat.step()
                    return found
                self._changed.wait()
        return None

    def _done(self, client: str) -> None:
        with self._changed:
            self._queue.done(client)  # what that makes room for is for this thread, which looks at once
        self._heartbeat.step()


def _answer(task: Task) -> None:
    try:
        task.service()
    except Exception:  # the outermost frame of a thread
        log.exception("a request could not be answered")
