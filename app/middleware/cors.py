"""CORS: the web pages that may read answers. Viewers in a browser come from another origin."""

from collections.abc import Sequence
from urllib.parse import urlsplit

from flask import Flask, Response, request

from app.console_parts import is_console
from app.services import Services
from app.setting_parsers import LOOPBACK
from dicomweb.respond import varies

_LOOPBACK_HOSTS = ("localhost", "127.0.0.1", "::1")
_EXPOSED = (
    "Content-Type, Content-Length, Content-Range, Content-Location, Accept-Ranges, ETag, Resolution-Ends, Retry-After, "
    "Server-Timing, Warning, X-Request-ID, X-Total-Count"
)
_METHODS = "GET, HEAD, OPTIONS, POST"
_MAX_AGE_SECONDS = 7200  # browsers use no more


def install_cors(app: Flask, services: Services) -> None:
    """Answer preflights, and add the headers that let pages of CORS_ORIGINS read an answer."""
    origins = services.settings.cors_origins

    @app.before_request
    def answer_preflight() -> Response | None:
        if request.method == "OPTIONS" and "Access-Control-Request-Method" in request.headers:
            return Response(status=204)
        return None

    @app.after_request
    def add_headers(response: Response) -> Response:
        if is_console(request.path):
            return response  # its pages are for people, and have the tokens of their forms
        headers = cors_headers(origins, request.headers.get("Origin"))
        varies(response, "Origin")
        if not headers:
            return response
        response.headers.update(headers)
        if response.status_code == 204 and request.method == "OPTIONS":
            requested = request.headers.get("Access-Control-Request-Headers")
            response.headers["Access-Control-Allow-Methods"] = _METHODS
            response.headers["Access-Control-Allow-Headers"] = requested or "accept, authorization, content-type, range"
            response.headers["Access-Control-Max-Age"] = str(_MAX_AGE_SECONDS)
        return response


def cors_headers(origins: Sequence[str], origin: str | None) -> dict[str, str]:
    """The headers that let a page of `origin` read an answer; none if it is not among the allowed `origins`.

    `*` allows every page, `loopback` the pages of this machine.
    """
    if origin is None or not _is_allowed(origins, origin):
        return {}
    return {
        "Access-Control-Allow-Origin": origin,
        "Access-Control-Expose-Headers": _EXPOSED,
        "Cross-Origin-Resource-Policy": "cross-origin",
    }


def _is_allowed(origins: Sequence[str], origin: str) -> bool:
    if "*" in origins or origin in origins:
        return True
    try:
        return LOOPBACK in origins and urlsplit(origin).hostname in _LOOPBACK_HOSTS
    except ValueError:  # no URL
        return False
