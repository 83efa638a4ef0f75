"""A connection that does not wait for ever: who asks or takes too slowly is let go, and what is refused is answered.

Numbers of RFC 9110: 408 for a request that does not end, 414 for a URL and 431 for headers that are too long, 429 and
503 for too many requests.
"""

import json
import logging
import time
from http import HTTPStatus
from typing import Any

from waitress.parser import HTTPRequestParser
from waitress.utilities import Error, RequestHeaderFieldsTooLarge

from app.sending import SendingChannel
from dicomweb.waiting import waiting

log = logging.getLogger(__name__)

_LEAST_BYTES_PER_SECOND = 1024
_RETRY_AFTER_SECONDS = 5
_TURN_SECONDS = 0.01  # a long answer lets others work after each


class Refusal(Error):
    """An answer that waitress gives in place of the application, in the shape of all our errors."""

    def __init__(self, status: int, detail: str) -> None:
        super().__init__(detail)
        self._status = HTTPStatus(status)
        self._detail = detail

    def to_response(  # type: ignore[override]  # the stubs have a text, waitress writes bytes
        self, ident: str | None = None
    ) -> tuple[str, list[tuple[str, str]], bytes]:
        """Status line, headers and body."""
        status, title = self._status, self._status.phrase
        body = {"type": "about:blank", "title": title, "status": int(status), "detail": self._detail}
        headers = [("Content-Type", "application/problem+json"), ("X-Content-Type-Options", "nosniff")]
        if status in (HTTPStatus.TOO_MANY_REQUESTS, HTTPStatus.SERVICE_UNAVAILABLE):
            headers.append(("Retry-After", str(_RETRY_AFTER_SECONDS)))
        return f"{status.value} {title}", headers, json.dumps(body).encode()


_DETAILS = {
    429: "too many of your requests wait for an answer",
    503: "too many requests wait for an answer",
}


class Parser(HTTPRequestParser):
    """A request as it comes in; a URL that is too long is told from headers that are."""

    def __init__(self, adj: Any) -> None:
        super().__init__(adj)
        self.began = time.monotonic()

    def received(self, data: bytes) -> int:
        """How many bytes were taken."""
        first_line_ended = b"\n" in self.header_plus or b"\n" in data[: self.adj.max_request_header_size]
        taken: int = super().received(data)
        if isinstance(self.error, RequestHeaderFieldsTooLarge):
            too_long = "headers are" if first_line_ended else "URL is"
            detail = f"the {too_long} too long; URL and headers have at most {self.adj.max_request_header_size} bytes"
            self.error = Refusal(431 if first_line_ended else 414, detail)
        return taken

    def give_up(self) -> None:
        """Make it a request that ended, and is answered 408."""
        self.parse_header(b"GET / HTTP/1.0\r\n")
        self.error = Refusal(408, "the request did not come to its end")
        self.completed = True


class Channel(SendingChannel):
    """One connection; it ends with its next answer when its server leaves."""

    parser_class = Parser
    server: Any
    request: Any
    requests: Any
    requests_lock: Any
    total_outbufs_len: int
    adj: Any
    patience_seconds = 60.0
    deadline_seconds = 3600.0

    def __init__(self, *arguments: Any, **named: Any) -> None:
        super().__init__(*arguments, **named)
        self._refused: Refusal | None = None
        self._answering_since = self._taking_since = time.monotonic()
        self._sent_bytes = self._sent_bytes_then = 0
        self._turn_ends = 0.0

    def refuse(self, status: int) -> None:
        """Answer the next request with an error of this status."""
        log.warning("request refused status=%d connection=%s", status, self.addr[0])
        self._refused = Refusal(status, _DETAILS[status])

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
        if self.total_outbufs_len > self.adj.outbuf_high_watermark:
            with waiting():
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
                log.warning("request without an end connection=%s", self.addr[0])
                unfinished.give_up()
                self.request = None
                self.requests.append(unfinished)
                self.server.add_task(self)
        if self._takes_too_long(now):
            log.warning("client too slow connection=%s", self.addr[0])
            self.will_close = True

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
