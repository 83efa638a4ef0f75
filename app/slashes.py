"""Paths with doubled slashes: clients whose root ends in one send `/aetitle//studies` for `/aetitle/studies`."""

import re
from collections.abc import Callable, Iterable
from typing import Any

Wsgi = Callable[[dict[str, Any], Any], Iterable[bytes]]

_SLASHES = re.compile("//+")


def with_single_slashes(app: Wsgi) -> Wsgi:
    """`app`, which gets every path with single slashes: no part of a path here is empty."""

    def merged(environ: dict[str, Any], start_response: Any) -> Iterable[bytes]:
        path = environ.get("PATH_INFO", "")
        if "//" in path:
            environ["PATH_INFO"] = _SLASHES.sub("/", path)
        return app(environ, start_response)

    return merged
