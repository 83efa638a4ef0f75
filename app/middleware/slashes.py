"""Slashes that say nothing: a client whose root ends in one sends `/aetitle//studies`, others `/aetitle/studies/`."""

import re
from collections.abc import Callable, Iterable
from typing import Any

Wsgi = Callable[[dict[str, Any], Any], Iterable[bytes]]

_SLASHES = re.compile("//+")
_READING = ("GET", "HEAD", "OPTIONS")


def with_single_slashes(app: Wsgi) -> Wsgi:
    """`app`, which gets every path with single slashes, and without one at its end: no part of a path here is empty.

    Methods that do not read are refused in any case, by the root only with the slash at its end.
    """

    def merged(environ: dict[str, Any], start_response: Any) -> Iterable[bytes]:
        path = environ.get("PATH_INFO", "")
        if "//" in path:
            path = environ["PATH_INFO"] = _SLASHES.sub("/", path)
        if path.endswith("/") and environ.get("REQUEST_METHOD") in _READING:
            environ["PATH_INFO"] = path.rstrip("/") or "/"
        return app(environ, start_response)

    return merged
