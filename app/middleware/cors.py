"""Which web pages may read answers (CORS): viewers in a browser come from another origin."""

from collections.abc import Sequence
from urllib.parse import urlsplit

from flask import Flask, Response, request

from app.settings import LOOPBACK
from dicomweb.respond import varies

_LOOPBACK_HOSTS = ("localhost", "127.0.0.1", "::1")
_EXPOSED = (
    "Content-Type, Content-Length, Content-Range, Content-Location, Accept-Ranges, ETag, Resolution-Ends, Retry-After, "
    "Server-Timing, Warning, X-Request-ID, X-Total-Count"
)
_METHODS = "GET, HEAD, OPTIONS"
_MAX_AGE_SECONDS = 7200  # what browsers cap it at


def add_cors(app: Flask, origins: Sequence[str]) -> None:
    """Answer preflights, and mark answers for the allowed origins: `*` for all, `loopback` for this machine's pages."""

    @app.before_request
    def preflight() -> Response | None:
        if request.method == "OPTIONS" and "Access-Control-Request-Method" in request.headers:
            return Response(status=204)
        return None

    @app.after_request
    def mark(response: Response) -> Response:
        marks = cors_headers(origins, request.headers.get("Origin"))
        varies(response, "Origin")
        if not marks:
            return response
        response.headers.update(marks)
        if response.status_code == 204 and request.method == "OPTIONS":
            wanted = request.headers.get("Access-Control-Request-Headers")
            response.headers["Access-Control-Allow-Methods"] = _METHODS
            response.headers["Access-Control-Allow-Headers"] = wanted or "accept, authorization, range"
            response.headers["Access-Control-Max-Age"] = str(_MAX_AGE_SECONDS)
        return response


def cors_headers(origins: Sequence[str], origin: str | None) -> dict[str, str]:
    """What lets a page of this origin read an answer; nothing where it is not allowed to."""
    if origin is None or not _allowed(origins, origin):
        return {}
    return {
        "Access-Control-Allow-Origin": origin,
        "Access-Control-Expose-Headers": _EXPOSED,
        "Cross-Origin-Resource-Policy": "cross-origin",
    }


def _allowed(origins: Sequence[str], origin: str) -> bool:
    if "*" in origins or origin in origins:
        return True
    try:
        return LOOPBACK in origins and urlsplit(origin).hostname in _LOOPBACK_HOSTS
    except ValueError:  # no URL
        return False
