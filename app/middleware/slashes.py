"""Superfluous slashes in paths: some clients send `/aetitle//studies` or `/aetitle/studies/`."""

import re
from collections.abc import Callable, Iterable
from typing import Any

from flask import Flask

from app.services import Services

Wsgi = Callable[[dict[str, Any], Any], Iterable[bytes]]

_SLASHES = re.compile("//+")
_METHODS = ("GET", "HEAD", "OPTIONS", "POST")


def install_single_slashes(app: Flask, _: Services) -> None:
    """Merge slashes, and remove those at the end of a path, before a route is chosen.

    The end is removed only for methods that some route has. Others are refused, and the root has its slash for that.
    """
    app.wsgi_app = _with_single_slashes(app.wsgi_app)  # type: ignore[method-assign, assignment]


def _with_single_slashes(app: Wsgi) -> Wsgi:
    def merge(environ: dict[str, Any], start_response: Any) -> Iterable[bytes]:
        path = environ.get("PATH_INFO", "")
        if "//" in path:
            path = environ["PATH_INFO"] = _SLASHES.sub("/", path)
        if path.endswith("/") and environ.get("REQUEST_METHOD") in _METHODS:
            environ["PATH_INFO"] = path.rstrip("/") or "/"
        return app(environ, start_response)

    return merge
