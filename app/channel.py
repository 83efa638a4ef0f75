"""A connection that does not wait for ever: who asks or takes too slowly is let go, and what is refused is answered.

Numbers of RFC 9110: 408 for a request that does not end, 414 for a URL and 431 for headers that are too long, 429 and
503 for too many requests.
"""

import logging
import time
from typing import Any

from waitress.parser import HTTPRequestParser
from waitress.utilities import RequestHeaderFieldsTooLarge

from app.refusals import Manner, Refusal, RefusalTask, origin_in
from app.sending import SendingChannel
from dicomweb.waiting import waiting

log = logging.getLogger(__name__)

_LEAST_BYTES_PER_SECOND = 1024
_TURN_SECONDS = 0.01  # a long answer lets others work after each


class Parser(HTTPRequestParser):
    """A request as it comes in; a URL that is too long is told from headers that are."""

    command: Any
    path: Any
    headers: Any

    def __init__(self, adj: Any) -> None:
        super().__init__(adj)
        self.began = time.monotonic()
        self.command = self.path = ""

    def received(self, data: bytes) -> int:
        """How many bytes were taken."""
        first_line_ended = b"\n" in self.header_plus or b"\n" in data[: self.adj.max_request_header_size]
        taken: int = super().received(data)
        if isinstance(self.error, RequestHeaderFieldsTooLarge):
            too_long = "headers are" if first_line_ended else "URL is"
            detail = f"the {too_long} too long; URL and headers have at most {self.adj.max_request_header_size} bytes"
            self.error = Refusal(431 if first_line_ended else 414, detail)
            self._forget(self.header_plus + data)
        return taken

    def give_up(self) -> None:
        """Make it a request that ended, and is answered 408."""
        if not self.headers_finished:
            self.parse_header(b"GET / HTTP/1.0\r\n")
            self._forget(self.header_plus)
        self.error = Refusal(408, "the request did not come to its end")
        self.completed = True

    def _forget(self, head: bytes) -> None:
        """What it asks for is not known, but the web page that asks may be."""
        self.command = self.path = ""
        if origin := origin_in(head):
            self.headers["ORIGIN"] = origin


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
