"""The threads of a web process: one leads, which is to listen to all connections, and one works at a time.

Who leads also answers what it hears. Only where the answer has to wait, for a fetcher, for the index, for a client that
takes slowly, is the lead given to a thread that has nothing to do; so most requests are answered by the thread that
heard of them, and no other is woken. And since Python runs one thread at a time, threads that had something to wait for
queue up for their turn to go on, instead of taking the interpreter from each other at each call of the system.
"""

import logging
import threading
import time
from collections import deque
from collections.abc import Callable
from typing import Any, Protocol

from app.turns import Bounds, Turns
from dicomweb.waiting import waits_by

log = logging.getLogger(__name__)


class Listening(Protocol):
    """What the leader does between answers."""

    def listen(self) -> Callable[[], None]:
        """Wait until something happens on any connection; what is to be done about it."""

    def wake(self) -> None:
        """Have `listen` return, called from another thread."""


class Crew:
    """`count` threads that may answer, and one more, so that somebody always listens."""

    def __init__(self, count: int, bounds: Bounds, client_of: Callable[[Any], str]) -> None:
        """`bounds` and `client_of` are for the turns that clients get."""
        self._count = count + 1
        self._lock = threading.Lock()
        self._turns = Turns(bounds, client_of, self._lock)
        self._idle = 0
        self._lead = threading.Lock()
        self._work = _Queue()
        self._ended = False
        self._own = _Own()
        self._threads: list[threading.Thread] = []
        self._listening: Listening

    def start(self, listening: Listening) -> None:
        """Start the threads."""
        self._listening = listening
        self._threads = [
            threading.Thread(target=self._run, name=f"web-{number}", daemon=True) for number in range(self._count)
        ]
        for thread in self._threads:
            thread.start()

    @property
    def leads(self) -> bool:
        """Whether this thread does, which listens again soon."""
        return self._own.leads

    def add_task(self, task: Any) -> None:
        """A request has come in; it waits for its turn."""
        with self._lock:
            self._turns.append(task)

    def shutdown(self, cancel_pending: bool = True, timeout: float = 5) -> bool:
        """Have the threads end, each with its answer; whether all did within `timeout` seconds."""
        self._ended = True
        self._listening.wake()
        deadline = time.monotonic() + timeout
        for thread in self._threads:
            thread.join(max(0.0, deadline - time.monotonic()))
        with self._lock:
            while cancel_pending and len(self._turns):
                self._turns.popleft().cancel()
        return not any(thread.is_alive() for thread in self._threads)

    def __enter__(self) -> None:
        """This thread waits: others lead and work."""
        own = self._own
        own.depth += 1
        if own.depth == 1:
            if own.leads:
                own.leads = False
                self._lead.release()
            self._work.release()

    def __exit__(self, *_error: object) -> None:
        """It goes on when nobody else works."""
        self._own.depth -= 1
        if not self._own.depth:
            self._work.acquire()

    def _run(self) -> None:
        waits_by(self)
        while True:
            task = self._next_or_idle()
            if task:
                self._answer(task)
                continue
            self._lead.acquire()
            self._own.leads = True
            with self._lock:
                self._idle -= 1
            while self._own.leads and not self._ended:
                self._lead_on()
            if self._own.leads:  # all end
                self._own.leads = False
                self._lead.release()
                return

    def _lead_on(self) -> None:
        """Answer who waits, then listen again; the lead may be gone afterwards."""
        while task := self._next_as_leader():
            self._answer(task)
            if not self._own.leads:
                return
        try:
            act = self._listening.listen()
            self._work.acquire()
            try:
                act()
            finally:
                self._work.release()
        except Exception:
            log.exception("connections could not be listened to")

    def _answer(self, task: Any) -> None:
        self._work.acquire()
        try:
            task.service()
        except Exception:
            log.exception("a request could not be answered")
        finally:
            self._work.release()

    def _next_as_leader(self) -> Any:
        """The next turn, if somebody is left who could lead meanwhile."""
        with self._lock:
            return self._turns.popleft() if self._idle and len(self._turns) else None

    def _next_or_idle(self) -> Any:
        """The next turn; without one this thread counts as idle from now on."""
        with self._lock:
            if len(self._turns) and not self._ended:
                return self._turns.popleft()
            self._idle += 1
            return None


class _Own(threading.local):
    """What one thread knows of itself."""

    leads = False
    depth = 0


class _Queue:
    """A lock that is handed to who has waited for it longest."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._held = False
        self._waiting: deque[threading.Lock] = deque()

    def acquire(self) -> None:
        with self._lock:
            if not self._held:
                self._held = True
                return
            mine = threading.Lock()
            mine.acquire()
            self._waiting.append(mine)
        mine.acquire()

    def release(self) -> None:
        with self._lock:
            if self._waiting:
                self._waiting.popleft().release()
            else:
                self._held = False
