"""A connection with limits in time and memory: slow clients are let go, and refused requests get an answer.

Numbers of RFC 9110: 408 for a request that does not end, 414 for a URL and 431 for headers that are too long, 429 and
503 for too many requests.
"""

import logging
import time
from typing import Any

from waitress.buffers import OverflowableBuffer
from waitress.parser import HTTPRequestParser
from waitress.receiver import ChunkedReceiver
from waitress.utilities import BadRequest

from app.server.refusals import ErrorResponder, Refusal, RefusalTask, origin_in
from app.server.request_head import HeadBuffer, HeadError, checked
from app.server.sendfile import FileBuffer, SendfileChannel
from app.server.spool import Spool

log = logging.getLogger(__name__)

_LEAST_BYTES_PER_SECOND = 1024
_LONGEST_CONTROL_BYTES = 1024
_STALLED_SECONDS = 1.0  # a client that takes nothing for so long is sent the rest of its answer from a file
_WAIT_SECONDS = 1.0  # from one look at a client that is waited for to the next
_MOST_BYTES = 2**26  # of an answer that a stalled client has not taken: beyond, its thread waits
_MOST_BUFFERS = 64  # likewise; each may be an open file


class RequestParser(HTTPRequestParser):
    """A request as it comes in; waitress sees its head when app/server/request_head.py has found it in order."""

    command: Any
    path: Any
    headers: Any
    body_rcv: Any

    def __init__(self, adj: Any) -> None:
        super().__init__(adj)
        self.began = time.monotonic()
        self.command = self.path = ""
        self._head = HeadBuffer(adj.max_request_header_size)

    def received(self, data: bytes) -> int:
        """How many bytes were taken."""
        if self.completed:
            return 0
        if self.headers_finished:
            return self._body_received(data)
        try:
            taken = self._head.received(data)
            if self._head.complete:
                self._read(checked(bytes(self._head)))
        except HeadError as error:
            self._refuse(Refusal(error.status, error.detail))
            return len(data)  # nothing of this connection is read any more
        return taken

    def _read(self, head: bytes) -> None:
        try:
            super().received(head)
        except ValueError:  # from urllib, for an address in brackets that is none
            raise HeadError(400, "the URL of the request is none") from None
        if self.chunked:
            self.body_rcv = ChunkedBody(OverflowableBuffer(self.adj.inbuf_overflow))
        if self.completed:
            self.expect_continue = False  # no body is to come, or none is wanted: this is answered at once

    def _body_received(self, data: bytes) -> int:
        taken: int = super().received(data)
        return taken

    def give_up(self) -> None:
        """Make it a request that ended, and is answered 408."""
        refusal = Refusal(408, "the request did not come to its end")
        if self.headers_finished:
            self.error, self.completed = refusal, True
        else:
            self._refuse(refusal)

    def _refuse(self, refusal: Refusal) -> None:
        """End it here. What it asks for is not known, but the web page that asks may be."""
        self.headers.clear()
        self.command = self.path = ""
        if origin := origin_in(bytes(self._head)):
            self.headers["ORIGIN"] = origin
        self.error, self.expect_continue = refusal, False
        self.completed = self.headers_finished = True


class ChunkedBody(ChunkedReceiver):
    """A chunked body (RFC 9112 Section 7.1) with bounds on what is scanned again whenever more of it comes."""

    error: Any
    control_line: bytes
    trailer: bytes

    def received(self, data: bytes) -> int:
        """How many bytes were taken."""
        taken: int = super().received(data)
        if max(len(self.control_line), len(self.trailer)) > _LONGEST_CONTROL_BYTES and not self.completed:
            self.error = BadRequest("a chunk begins with too long a line, or too long a trailer follows")
        return taken


class Connection(SendfileChannel):
    """One connection; it ends with its next answer when its server leaves."""

    parser_class = RequestParser
    error_task_class = RefusalTask
    server: Any
    request: Any
    requests: Any
    requests_lock: Any
    outbufs: list[Any]
    total_outbufs_len: int
    outbuf_lock: Any
    adj: Any
    connected: bool
    patience_seconds = 60.0
    deadline_seconds = 3600.0
    error_responder = ErrorResponder()
    spool: Spool | None = None

    def __init__(self, *arguments: Any, **named: Any) -> None:
        super().__init__(*arguments, **named)
        self._refused: Refusal | None = None
        self._answering_since = self._taking_since = self._active_at = time.monotonic()
        self._sent_bytes = self._sent_bytes_then = 0

    @property
    def idle_since(self) -> float | None:
        """When bytes last came or went; None while a request comes in or is answered."""
        return None if self.requests or self.request or self.total_outbufs_len else self._active_at

    def refuse(self, status: int) -> None:
        """Answer the next request with an error of this status."""
        self._refused = Refusal(status)

    def received(self, data: bytes) -> bool:
        """Take bytes from the client; in the thread of the loop."""
        self._active_at = time.monotonic()
        taken: bool = super().received(data)
        return taken

    def service(self) -> None:
        """Answer a request; in a thread of the pool."""
        self._answering_since = time.monotonic()
        if self._refused:
            self.requests[0].error, self._refused = self._refused, None
        if self.server.leaving:
            self.requests[0].headers["CONNECTION"] = "close"  # as if the client had said so: it is told, too
        super().service()

    def write_soon(self, data: Any) -> int:
        """Take bytes to be sent; wait first where the client has not taken earlier ones yet."""
        self._wait_for_room()
        taken: int = super().write_soon(data)
        return taken

    def _flush_outbufs_below_high_watermark(self) -> None:
        """waitress' own wait, with a lock on what is to be sent: it has been waited before."""

    def _wait_for_room(self) -> None:
        """Wait until the client has taken enough, or, where it takes nothing, until the rest is in a file.

        Meanwhile another thread has the place of this one.
        """
        if self.total_outbufs_len <= self.adj.outbuf_high_watermark or self._has_room():
            return
        with self.server.task_dispatcher.pausing(), self.outbuf_lock:
            while self.connected and not self._has_room():
                self.server.pull_trigger()
                self.outbuf_lock.wait(_WAIT_SECONDS)

    def _has_room(self) -> bool:
        """Send what the client takes now, and tell whether there is room for more then."""
        with self.outbuf_lock:
            self._flush_exception(self._flush_some, do_close=False)  # type: ignore[attr-defined]
            return self.total_outbufs_len <= self.adj.outbuf_high_watermark or self._has_room_in_files()

    def _has_room_in_files(self) -> bool:
        if self.spool is None or time.monotonic() - self._active_at < _STALLED_SECONDS:
            return False
        if self.total_outbufs_len > _MOST_BYTES or len(self.outbufs) > _MOST_BUFFERS:
            return False
        if self._bytes_in_memory() > self.adj.outbuf_high_watermark:
            self.spool.move(self.outbufs)
        return bool(self._bytes_in_memory() <= self.adj.outbuf_high_watermark)

    def _bytes_in_memory(self) -> int:
        return sum(len(one) for one in self.outbufs if not isinstance(one, FileBuffer))

    def send(self, data: Any, do_close: bool = True) -> int:
        """How many bytes the socket took."""
        sent = super().send(data, do_close)
        if sent:
            self._sent_bytes += sent
            self._active_at = time.monotonic()
        return sent

    def enforce_timeouts(self, now: float) -> None:
        """Let go of a client that is too slow; in the thread of the loop, every few seconds."""
        with self.requests_lock:
            unfinished = self.request
            if unfinished and not self.requests and now - unfinished.began > self.patience_seconds:
                unfinished.give_up()
                self.request = None
                self.requests.append(unfinished)
                self.server.add_task(self)
        if self._takes_too_long(now):
            log.warning("client too slow connection=%s", self.addr[0])
            self.let_go()
        elif now - self._active_at > _STALLED_SECONDS:
            self._empty_memory()

    def let_go(self) -> None:
        """Close the connection now; in the thread of the loop."""
        self.will_close = True
        self.handle_close()  # waitress would wait for a socket that takes something

    def _empty_memory(self) -> None:
        """Forget what was sent, which waitress keeps until the next answer; put what was not into a file."""
        if self.outbuf_lock.acquire(blocking=False):  # else its thread sees to it
            try:
                if self.spool and self.total_outbufs_len:
                    self.spool.move(self.outbufs)
                elif not self.total_outbufs_len and self.outbufs[-1].buf is not None:
                    self.outbufs[-1].close()
                    self.outbufs[-1] = OverflowableBuffer(self.adj.outbuf_overflow)
            finally:
                self.outbuf_lock.release()

    def _takes_too_long(self, now: float) -> bool:
        if self.requests and now - self._answering_since > self.deadline_seconds:
            return True
        if not self.total_outbufs_len:
            self._taking_since, self._sent_bytes_then = now, self._sent_bytes
            return False
        seconds = now - self._taking_since
        if seconds < self.patience_seconds:
            return False
        sent_bytes = self._sent_bytes - self._sent_bytes_then
        self._taking_since, self._sent_bytes_then = now, self._sent_bytes
        return sent_bytes < seconds * _LEAST_BYTES_PER_SECOND
