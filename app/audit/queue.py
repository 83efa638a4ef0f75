"""A bounded queue of events from the web threads, and the one thread that writes them."""

import logging
import queue
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field

from app.audit.event import Event

log = logging.getLogger(__name__)

_MOST = 10_000  # events that wait; more are lost, or refused
_PATIENCE_SECONDS = 5.0  # how long an answer waits for its event to be written
_RETRY_SECONDS = 1.0  # from a failure to the next attempt


@dataclass(eq=False)
class _Entry:
    event: Event
    done: threading.Event = field(default_factory=threading.Event)
    written: bool = False
    given_up: bool = False


class AuditQueue:
    """Takes events from any thread. `write` writes one, or raises OSError.

    With `refuse`, an answer whose event cannot be written is refused. Without it, events wait until the destination is
    back, as many as the queue holds. `tell_failing` gets True when writing fails, and False when it succeeds again.
    """

    def __init__(
        self,
        write: Callable[[Event], None],
        *,
        refuse: bool,
        most: int = _MOST,
        tell_failing: Callable[[bool], None] = lambda _: None,
    ) -> None:
        self._write = write
        self._tell_failing = tell_failing
        self._refuse = refuse
        self._queue: queue.Queue[_Entry | None] = queue.Queue(most)
        self._closing = threading.Event()
        self._lock = threading.Lock()
        self._lost = 0
        self._failed_at: float | None = None
        self._thread = threading.Thread(target=self._run, name="audit", daemon=True)
        self._thread.start()

    def admit(self, event: Event) -> bool:
        """Take an event, and tell whether its answer may be sent; with `refuse`, only after the event is written."""
        entry = self._put(event)
        if not self._refuse:
            return True
        if entry is None:
            return False
        if not entry.done.wait(_PATIENCE_SECONDS):
            entry.given_up = True
            return False
        return entry.written

    def note(self, event: Event) -> None:
        """Take an event without waiting for it."""
        self._put(event)

    def close(self, seconds: float) -> None:
        """Write the events that wait, for at most `seconds`; the rest is lost."""
        self._closing.set()
        with suppress(queue.Full):
            self._queue.put(None, timeout=seconds)
        self._thread.join(seconds)
        if left := self._lost + self._queue.qsize():
            log.error("audit messages lost count=%d", left)

    def _put(self, event: Event) -> _Entry | None:
        entry = _Entry(event)
        try:
            self._queue.put_nowait(entry)
        except queue.Full:
            self._lose()
            return None
        return entry

    def _run(self) -> None:
        while (entry := self._queue.get()) is not None:
            if not entry.given_up:
                self._process(entry)
            entry.done.set()

    def _process(self, entry: _Entry) -> None:
        try:
            entry.written = self._write_once(entry.event) if self._refuse else self._write_until_done(entry.event)
        except Exception:  # the outermost frame of the thread: the next event may succeed
            log.exception("an audit message could not be made")
        if not entry.written:
            self._lose()

    def _write_once(self, event: Event) -> bool:
        """Try once, for `refuse`; not at all for a second after a failure, so that no request waits in vain."""
        if self._failed_at is not None and time.monotonic() - self._failed_at < _RETRY_SECONDS:
            return False
        return self._attempt(event)

    def _write_until_done(self, event: Event) -> bool:
        while not self._attempt(event):
            if self._closing.wait(_RETRY_SECONDS):
                return self._attempt(event)
        return True

    def _attempt(self, event: Event) -> bool:
        try:
            self._write(event)
        except OSError as error:
            if self._failed_at is None:
                log.error("audit cannot be written reason=%s", error.strerror or type(error).__name__)
                self._tell_failing(True)
            self._failed_at = time.monotonic()
            return False
        if self._failed_at is not None:
            with self._lock:
                lost, self._lost, self._failed_at = self._lost, 0, None
            log.warning("audit is written again lost=%d", lost)
            self._tell_failing(False)
        return True

    def _lose(self) -> None:
        with self._lock:
            self._lost += 1
