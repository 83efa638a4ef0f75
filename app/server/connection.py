"""A connection with limits in time and memory: slow clients are let go, and refused requests get an answer.

Statuses of RFC 9110: 408 for a request that does not end, 414 for a URL and 431 for headers that are too long, 429 and
503 for too many requests.
"""

import logging
import time
from typing import Any

from app.server.body_decoder import ChunkedDecoder, LengthDecoder
from app.server.refusals import ErrorResponder, Refusal, RefusalTask
from app.server.request_body import RequestBody
from app.server.request_parser import RequestParser
from app.server.sendfile import FileBuffer, SendfileConnection
from app.server.spool import Spool
from app.server.waitress_adapter import BodyStream

log = logging.getLogger(__name__)

_MIN_BYTES_PER_SECOND = 1024
_STALLED_SECONDS = 1.0  # the rest of an answer goes to a file if its client takes nothing for so long
_RETRY_SECONDS = 1.0  # between two attempts to send to a client that a thread waits for
_MAX_STALLED_BYTES = 2**26  # of an answer that a stalled client has not taken: above it, the thread waits
_MAX_STALLED_BUFFERS = 64  # likewise; each may be an open file


class Connection(SendfileConnection):
    """One connection; it ends with its next answer when its server leaves."""

    parser_class = RequestParser
    error_task_class = RefusalTask
    patience_seconds = 60.0
    """The longest time for a request to come in, and for an answer to make any progress."""

    deadline_seconds = 3600.0
    """The longest time for an answer."""

    error_responder = ErrorResponder()
    spool: Spool | None = None

    def __init__(self, *arguments: Any, **named: Any) -> None:
        super().__init__(*arguments, **named)
        self._refused: Refusal | None = None
        self._answering_since = self._sending_since = self._active_at = time.monotonic()
        self._sent_bytes = self._sent_bytes_before = 0

    @property
    def idle_since(self) -> float | None:
        """The time when bytes last came or went (monotonic clock); None while a request comes in or is answered."""
        return self._active_at if self.is_idle else None

    def refuse(self, status: int) -> None:
        """Answer the next request with an error of this status."""
        self._refused = Refusal(status)

    def received(self, data: bytes) -> bool:
        """Take bytes from the client; in the thread that leads."""
        self._active_at = time.monotonic()
        return super().received(data)

    def service(self) -> None:
        """Answer a request; in a thread of the pool."""
        self._answering_since = time.monotonic()
        if self._refused:
            self.requests[0].error, self._refused = self._refused, None
        if self.server.leaving:
            self.requests[0].headers["CONNECTION"] = "close"  # as if the client had asked for it; the answer says so
        request = self.requests[0]
        if isinstance(request, RequestParser) and request.is_streamed and not request.error:
            request.stream = self._open_stream(request)
        super().service()

    def _open_stream(self, request: RequestParser) -> RequestBody | None:
        """The body of a request; None if the client is gone."""
        own = self.duplicate()
        if own is None:
            return None
        decoder = ChunkedDecoder() if request.body_bytes is None else LengthDecoder(request.body_bytes)
        return RequestBody(
            own,
            request.begun,
            decoder,
            patience_seconds=self.patience_seconds,
            is_open=lambda: bool(self.connected),
            invite=self.invite if request.awaits_invitation else None,
        )

    def linger(self, stream: BodyStream) -> None:
        """Let the client read the answer, although it still sends its body: drop that for some seconds."""
        with self.server.tasks.pausing():
            with self.buffers_lock:
                self.flush()
            if not self.unsent_bytes:
                stream.drain()

    def wait_for_room(self) -> None:
        """Wait until the client has taken enough, or, if it takes nothing, until the rest is in a file.

        Meanwhile another thread takes the place of this one.
        """
        if self._has_room():
            return
        with self.server.tasks.pausing(), self.buffers_lock:
            while self.connected and not self._has_room():
                self.server.wake_loop()
                self.buffers_lock.wait(_RETRY_SECONDS)

    def _has_room(self) -> bool:
        """Send what the client takes now, and tell whether there is room for more then."""
        with self.buffers_lock:
            self.flush()
            return self.unsent_bytes <= self.max_unsent_bytes or self._has_room_in_files()

    def _has_room_in_files(self) -> bool:
        if self.spool is None or time.monotonic() - self._active_at < _STALLED_SECONDS:
            return False
        if self.unsent_bytes > _MAX_STALLED_BYTES or len(self.buffers) > _MAX_STALLED_BUFFERS:
            return False
        if self._bytes_in_memory() > self.max_unsent_bytes:
            self.spool.move(self.buffers)
        return self._bytes_in_memory() <= self.max_unsent_bytes

    def _bytes_in_memory(self) -> int:
        return sum(len(buffer) for buffer in self.buffers if not isinstance(buffer, FileBuffer))

    def send(self, data: Any, do_close: bool = True) -> int:
        """Send what the client takes now; the number of bytes that were sent."""
        sent = super().send(data, do_close)
        if sent:
            self._sent_bytes += sent
            self._active_at = time.monotonic()
        return sent

    def enforce_timeouts(self, now: float) -> None:
        """Let go of a client that is too slow; in the thread that leads, every few seconds."""
        self.end_unfinished(now - self.patience_seconds)
        if self._is_too_slow(now):
            log.warning("client too slow connection=%s", self.address)
            self.let_go()
        elif now - self._active_at > _STALLED_SECONDS:
            self._free_memory()

    def _free_memory(self) -> None:
        """Free what was sent, and put what was not sent into a file."""
        if self.buffers_lock.acquire(blocking=False):  # a thread that holds it does the same
            try:
                if self.spool and self.unsent_bytes:
                    self.spool.move(self.buffers)
                else:
                    self.drop_sent()
            finally:
                self.buffers_lock.release()

    def _is_too_slow(self, now: float) -> bool:
        if self.requests and now - self._answering_since > self.deadline_seconds:
            return True
        if not self.unsent_bytes:
            self._sending_since, self._sent_bytes_before = now, self._sent_bytes
            return False
        seconds = now - self._sending_since
        if seconds < self.patience_seconds:
            return False
        sent_bytes = self._sent_bytes - self._sent_bytes_before
        self._sending_since, self._sent_bytes_before = now, self._sent_bytes
        return sent_bytes < seconds * _MIN_BYTES_PER_SECOND
