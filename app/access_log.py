"""One line for each request: path, status, size, time. Never the query: its values are patient data."""

import logging
import re
import time

from flask import Flask, Response, g, request

log = logging.getLogger("access")

_LINK = re.compile(r"(/link/)[^/]+")


def add_access_log(app: Flask) -> None:
    """Log each request when its last byte has been handed over."""

    @app.before_request
    def begin() -> None:
        g.started = time.monotonic()

    @app.after_request
    def end(response: Response) -> Response:
        started, method, path, remote = (
            g.get("started", time.monotonic()),
            request.method,
            logged_path(),
            request.remote_addr,
        )
        status, length = response.status_code, response.content_length

        def write() -> None:
            ms = (time.monotonic() - started) * 1000
            log.info("%s %s status=%d bytes=%s ms=%.1f from=%s", method, path, status, length, ms, remote)

        response.call_on_close(write)
        return response


def logged_path() -> str:
    """The path of the request, without the token of a share link."""
    return _LINK.sub(r"\1***", request.path)
