"""Refusals: answers of the server, without the application, to requests that are malformed or too many.

A refusal looks like an error of the application: it has the same headers, a line in the access log, and is counted.
"""

import json
import logging
import re
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from http import HTTPStatus
from typing import Any

from app.middleware.cors import cors_headers
from app.middleware.forwarded import client_of
from app.middleware.security_headers import POLICY, security_headers
from app.networks import Network
from app.server.waitress_adapter import BaseConnection, BaseRefusalTask, HttpError
from app.setting_parsers import LOOPBACK
from app.telemetry.access_log import HIDDEN, REQUEST_ID, SERVER_TIMING, request_id
from app.telemetry.request_metrics import OTHER, ProcessRequestMetrics

log = logging.getLogger("access")

_RETRY_AFTER_SECONDS = 5
_DETAILS = {
    400: "the request is not as HTTP has it",
    413: "the body of the request is too long",
    429: "too many of your requests wait for an answer",
    501: "the request has a transfer coding that is not known here",
    503: "too many requests wait for an answer",
}
_INTERNAL = "an internal error; the log of the service says more"
_ORIGIN = re.compile(rb"\r\norigin:[ \t]*([!-~]+)[ \t]*\r\n", re.IGNORECASE)


class Refusal(HttpError):
    """The reason why a request does not reach the application."""

    def __init__(self, status: int, detail: str = "") -> None:
        """Without `detail`, the usual text of the status is used."""
        self.status = HTTPStatus(status)
        self.detail = detail or _DETAILS.get(status, _INTERNAL)
        super().__init__(self.detail)

    @classmethod
    def of(cls, error: Any) -> "Refusal":
        """The refusal for an error of a request. Texts of waitress are replaced: they may repeat what was sent."""
        return error if isinstance(error, Refusal) else cls(error.code)

    @property
    def document(self) -> bytes:
        """The body of the answer, problem details as for all errors (RFC 9457)."""
        title, status = self.status.phrase, int(self.status)
        return json.dumps({"type": "about:blank", "title": title, "status": status, "detail": self.detail}).encode()


@dataclass(frozen=True)
class ErrorResponder:
    """The headers, counts and log lines of refusals, as the settings want them. `hide` makes a path fit for the log."""

    public_url: str | None = None
    origins: Sequence[str] = ()
    trusted: Sequence[Network] = ()
    hide: Callable[[str], str] = lambda _: HIDDEN
    counts: ProcessRequestMetrics | None = None

    def headers(self, refusal: Refusal, origin: str | None) -> dict[str, str]:
        """The headers of an answer to a page of this origin."""
        headers = {"Content-Type": "application/problem+json", **dict([POLICY]), "Vary": "Origin"}
        if refusal.status in (HTTPStatus.TOO_MANY_REQUESTS, HTTPStatus.SERVICE_UNAVAILABLE):
            headers["Retry-After"] = str(_RETRY_AFTER_SECONDS)
        return {**headers, **security_headers(self.public_url), **cors_headers(self.origins, origin)}

    @property
    def usual_origin(self) -> str | None:
        """The origin to assume for a request whose headers were not read; None if there may be several."""
        if "*" in self.origins:
            return "*"
        return self.origins[0] if len(self.origins) == 1 and LOOPBACK not in self.origins else None

    def record(self, refusal: Refusal, seconds: float, fields: Mapping[str, Any]) -> None:
        """Count and log a refusal, in the same way as answers of the application."""
        if self.counts:
            self.counts.add(OTHER, int(refusal.status), seconds)
        log.info("request", extra={"fields": fields})


class RefusalTask(BaseRefusalTask):
    """Answers a request that has an error, as the `error_responder` of its connection says."""

    def execute(self) -> None:
        """Write the answer, count it and log it."""
        request, error_responder = self.request, self._error_responder
        refusal = Refusal.of(request.error)
        body, own_id = refusal.document, request_id(request.headers.get("X_REQUEST_ID", ""))
        origin = request.headers.get("ORIGIN") or (None if request.path else error_responder.usual_origin)
        seconds = time.monotonic() - request.began
        headers = {REQUEST_ID: own_id, SERVER_TIMING: f"total;dur={seconds * 1000:.1f}"}
        fields = {
            "method": request.command or None,
            "path": error_responder.hide(request.path) if request.path else None,
            "status": int(refusal.status),
            "bytes": len(body),
            "ms": round(seconds * 1000, 1),
            "from": client_of_request(self.channel, error_responder.trusted),
            "user": None,
            "request": own_id,
        }
        try:
            self.respond(refusal.status, {**headers, **error_responder.headers(refusal, origin)}, body)
        finally:
            error_responder.record(refusal, seconds, fields)

    @property
    def _error_responder(self) -> ErrorResponder:
        responder: ErrorResponder = self.channel.error_responder  # type: ignore[attr-defined]  # of `Connection`
        return responder


def client_of_request(connection: BaseConnection, trusted: Sequence[Network]) -> str:
    """The address that the first request of a connection comes from; trusted proxies are believed."""
    if not trusted:
        return connection.address
    headers = connection.requests[0].headers
    forwarded = {f"HTTP_{name}": headers[name] for name in headers if "FORWARDED" in name}
    return client_of({"REMOTE_ADDR": connection.address, "wsgi.url_scheme": "http", **forwarded}, trusted)


def origin_in(head: bytes) -> str | None:
    """The value of Origin in an unfinished head; None if it has none."""
    match = _ORIGIN.search(head)
    return match[1].decode("ascii") if match else None
