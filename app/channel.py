"""A connection that does not wait for ever: who asks or takes too slowly is let go, and what is refused is answered.

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

from app.refusals import Manner, Refusal, RefusalTask, origin_in
from app.request_head import HeadBuffer, HeadError, checked
from app.sending import SendingChannel
from dicomweb.waiting import waiting

log = logging.getLogger(__name__)

_LEAST_BYTES_PER_SECOND = 1024
_LONGEST_CONTROL_BYTES = 1024
_TURN_SECONDS = 0.01  # a long answer lets others work after each


class Parser(HTTPRequestParser):
    """A request as it comes in; waitress sees its head when app/request_head.py has found it in order."""

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
            self.body_rcv = Chunks(OverflowableBuffer(self.adj.inbuf_overflow))
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


class Chunks(ChunkedReceiver):
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


class Channel(SendingChannel):
    """One connection; it ends with its next answer when its server leaves."""

    parser_class = Parser
    error_task_class = RefusalTask
    server: Any
    request: Any
    requests: Any
    requests_lock: Any
    total_outbufs_len: int
    outbuf_lock: Any
    adj: Any
    patience_seconds = 60.0
    deadline_seconds = 3600.0
    manner = Manner()

    def __init__(self, *arguments: Any, **named: Any) -> None:
        super().__init__(*arguments, **named)
        self._refused: Refusal | None = None
        self._answering_since = self._taking_since = time.monotonic()
        self._sent_bytes = self._sent_bytes_then = 0
        self._turn_ends = 0.0

    def refuse(self, status: int) -> None:
        """Answer the next request with an error of this status."""
        self._refused = Refusal(status)

    def service(self) -> None:
        """Answer a request; in a thread of the dispatcher."""
        self._answering_since = time.monotonic()
        self._turn_ends = self._answering_since + _TURN_SECONDS
        if self._refused:
            self.requests[0].error, self._refused = self._refused, None
        if self.server.leaving:
            self.requests[0].headers["CONNECTION"] = "close"  # as if the client had said so: it is told, too
        super().service()

    def write_soon(self, data: Any) -> int:
        """Take bytes to be sent; wait first where the client has not taken earlier ones yet."""
        self._flush_outbufs_below_high_watermark()  # before waitress does it with a lock on them
        if time.monotonic() > self._turn_ends:
            with waiting():
                pass
            self._turn_ends = time.monotonic() + _TURN_SECONDS
        taken: int = super().write_soon(data)
        return taken

    def _flush_outbufs_below_high_watermark(self) -> None:
        if self.total_outbufs_len > self.adj.outbuf_high_watermark and not self.outbuf_lock._is_owned():
            with waiting():  # not within the lock, which who works may need
                super()._flush_outbufs_below_high_watermark()  # type: ignore[misc]  # the stubs do not know it

    def send(self, data: Any, do_close: bool = True) -> int:
        """How many bytes the socket took."""
        sent = super().send(data, do_close)
        self._sent_bytes += sent
        return sent

    def look(self, now: float) -> None:
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
            self.will_close = True
            self.handle_close()  # waitress would wait for a socket that takes something

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
