"""A web process with limits, as a program: `/endless` has no end, `/gate?NAME` waits until somebody asks for
`/open?NAME`, which waits for nothing, `/counts` tells how many requests were refused, by status, `/broken` fails,
`/large` is 1.5 MiB at once, `/pieces` is 16 MiB in pieces, `/memory` is the resident size of the process in bytes,
`/taken` reads the body from the socket and tells its digest, `/untaken` refuses such a body, all else is short.

It prints its port, and logs JSON. The limits are a JSON object on the command line.
"""

import hashlib
import json
import socket
import sys
import threading
from collections import defaultdict
from collections.abc import Callable, Iterator
from dataclasses import replace
from itertools import repeat
from pathlib import Path
from typing import Any

from app.networks import parse_networks
from app.processes import web
from app.server.refusals import ErrorResponder
from app.telemetry.logs import start_logging
from app.telemetry.request_metrics import RequestMetrics
from dicomweb.errors import ProxyError
from dicomweb.respond import status_of
from runtime.fairness import pausing
from runtime.memory import resident_bytes

COUNTS = RequestMetrics(1)
GATES: defaultdict[str, threading.Event] = defaultdict(threading.Event)
VIEWER = "https://viewer.example.org"


def application(environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterator[bytes]:
    """All that tests ask for."""
    path = environ["PATH_INFO"]
    if path == "/gate":
        GATES[environ["QUERY_STRING"]].wait()
    if path == "/open":
        GATES[environ["QUERY_STRING"]].set()
    if path == "/endless":
        start_response("200 OK", [("Content-Type", "text/plain")])
        return repeat(b"x" * 65_536)
    if path == "/broken":
        raise RuntimeError
    if path == "/taken":
        return _taken(environ["wsgi.input"], start_response)
    if path == "/untaken":
        start_response("403 Forbidden", [("Content-Type", "text/plain"), ("Content-Length", "2")])
        return iter([b"no"])
    if path in ("/large", "/pieces"):
        pieces = [b"0123456789abcdef" * 98_304] if path == "/large" else [b"0123456789abcdef" * 2**14] * 64
        start_response("200 OK", [("Content-Length", str(sum(map(len, pieces))))])
        return iter(pieces)
    if path == "/memory":
        resident = str(resident_bytes()).encode()
        start_response("200 OK", [("Content-Length", str(len(resident)))])
        return iter([resident])
    body = json.dumps(COUNTS.totals()[0].by_status).encode() if path == "/counts" else b"OK"
    start_response("200 OK", [("Content-Type", "text/plain"), ("Content-Length", str(len(body)))])
    return iter([body])


def _taken(stream: Any, start_response: Callable[..., Any]) -> Iterator[bytes]:
    digest, length_bytes, status = hashlib.sha256(), 0, "200 OK"
    try:
        with pausing():
            while piece := stream.read(2**18):
                digest.update(piece)
                length_bytes += len(piece)
    except ProxyError as error:
        status = f"{status_of(error)} Error"
    body = f"{length_bytes} {digest.hexdigest()}".encode()
    start_response(status, [("Content-Type", "text/plain"), ("Content-Length", str(len(body)))])
    return iter([body])


def is_body_streamed(method: str, path: str) -> bool:
    """Whether the application reads a body itself."""
    return method == "POST" and path.endswith("taken")


if __name__ == "__main__":
    listening = socket.create_server(("127.0.0.1", 0), backlog=1024)
    listening.setblocking(False)
    sys.stdout.write(f"{listening.getsockname()[1]}\n")
    sys.stdout.flush()
    start_logging("INFO", "json")
    proxies = parse_networks("127.0.0.1")
    error_responder = ErrorResponder("https://dicom.example.org", (VIEWER,), proxies, counts=COUNTS.of_process(0))
    limits = web.ServerLimits(
        **json.loads(sys.argv[1]),
        trusted=proxies,
        live_paths=frozenset({"/open"}),
        is_body_streamed=is_body_streamed,
    )
    if limits.spool_folder:
        limits = replace(limits, spool_folder=Path(limits.spool_folder))
    web.serve(application, listening, threads=4, limits=limits, error_responder=error_responder)
