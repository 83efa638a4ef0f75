"""The access log: one line for each request with ID, path, user, status, size and time.

The query is never logged, as its values are patient data. Of the path only words of our routes, UIDs, tags and lists of
frames are logged. Other parts may be the name of a patient, or the token of a share link.
"""

import logging
import random
import re
import time
from functools import cache

from flask import Flask, Response, current_app, g, request

from app.services import Services
from app.telemetry.request_metrics import OTHER
from runtime.timing import server_timing, start_timing

log = logging.getLogger("access")

REQUEST_ID = "X-Request-ID"
SERVER_TIMING = "Server-Timing"

_REQUEST_ID = re.compile(r"[A-Za-z0-9._:=+/@-]{1,128}")
_LOGGED = re.compile(r"[0-9.,]*|[0-9A-Fa-f]{8}")
HIDDEN = "***"


def install_access_log(app: Flask, services: Services) -> None:
    """Give each request an ID and each answer its time; log and count it after its last byte."""
    request_metrics = services.monitoring.request_metrics

    @app.before_request
    def start() -> None:
        g.started = time.monotonic()
        start_timing()
        g.request_id = request_id(request.headers.get(REQUEST_ID, ""))

    @app.after_request
    def end(response: Response) -> Response:
        started, resource, status = g.started, _resource(), response.status_code
        fields = _fields(response) if log.isEnabledFor(logging.INFO) else None

        def write() -> None:
            if request_metrics:
                request_metrics.add(resource, status, time.monotonic() - started)
            if fields:
                log.info("request", extra={"fields": {**fields, "ms": _ms_since(started)}})

        response.headers[REQUEST_ID] = g.request_id
        response.headers[SERVER_TIMING] = server_timing(time.monotonic() - started)
        response.call_on_close(write)
        return response


def _fields(response: Response) -> dict[str, object]:
    """The fields of the line; the time is not known yet."""
    return {
        "method": request.method,
        "path": logged_path(),
        "status": response.status_code,
        "bytes": response.content_length,
        "ms": 0.0,
        "from": request.remote_addr,
        "user": g.principal.user if "principal" in g else None,
        "request": g.request_id,
    }


def logged_path() -> str:
    """The path of the request, as far as it may be logged."""
    return hide(current_app._get_current_object(), request.path)  # type: ignore[attr-defined]


def hide(app: Flask, path: str) -> str:
    """A path, as far as it may be logged."""
    words = _words(app)
    return "/".join(part if part in words or _LOGGED.fullmatch(part) else HIDDEN for part in path.split("/"))


def _resource() -> str:
    """The route below the service root, such as `/studies/<study>/series`."""
    rule = request.url_rule
    return OTHER if rule is None else rule.rule.removeprefix(g.get("root_rule", "")) or "/"


@cache
def _words(app: Flask) -> frozenset[str]:
    """All words in the paths of routes."""
    return frozenset(part for rule in app.url_map.iter_rules() for part in rule.rule.split("/") if "<" not in part)


def request_id(requested: str) -> str:
    """The ID that the client asks for, if it is one word of harmless characters, else a new one."""
    return requested if _REQUEST_ID.fullmatch(requested) else f"{random.getrandbits(128):032x}"


def _ms_since(started: float) -> float:
    return round((time.monotonic() - started) * 1000, 1)
