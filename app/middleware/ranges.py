"""Range requests are for GET alone."""

from flask import Flask, request

from app.services import Services


def install_ranges(app: Flask, _: Services) -> None:
    """Ignore Range in all methods but GET: the answer to HEAD is that of a GET without it (RFC 9110 Section 14.2)."""

    @app.before_request
    def ignore_range() -> None:
        if request.method != "GET":
            request.environ.pop("HTTP_RANGE", None)
