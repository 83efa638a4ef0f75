"""A web process with limits, as a program: `/endless` has no end, `/sleep` takes a second, all else is short.

It prints its port. The limits are a JSON object on the command line.
"""

import json
import socket
import sys
import time
from collections.abc import Callable, Iterator
from itertools import repeat
from typing import Any

from app import web
from app.forwarded import parse_networks
from dicomweb.waiting import waiting


def application(environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterator[bytes]:
    """All that tests ask for."""
    path = environ["PATH_INFO"]
    if path == "/sleep":
        with waiting():
            time.sleep(1)
    if path == "/endless":
        start_response("200 OK", [("Content-Type", "text/plain")])
        return repeat(b"x" * 65_536)
    start_response("200 OK", [("Content-Type", "text/plain"), ("Content-Length", "2")])
    return iter([b"OK"])


if __name__ == "__main__":
    listening = socket.create_server(("127.0.0.1", 0), backlog=1024)
    listening.setblocking(False)
    sys.stdout.write(f"{listening.getsockname()[1]}\n")
    sys.stdout.flush()
    limits = web.Limits(**json.loads(sys.argv[1]), trusted=parse_networks("127.0.0.1"))
    web.serve(application, listening, threads=4, limits=limits)
