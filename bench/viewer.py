"""Viewers: each opens a series as OHIF or Weasis do, with metadata first and then all frames over several connections.

They share the machine with the server, so they read only the head of an answer, and the kernel drops its body. `timed`
is for answers without a Content-Length.
"""

import http.client
import re
import socket
import threading
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from urllib.parse import urlsplit

CONNECTIONS = 6  # what browsers open to one server
_AT_ONCE = 2**20
_HEAD = re.compile(rb"HTTP/1\.1 (\d+)[^\r]*\r\n(?:.*\r\n)*?content-length: (\d+)\r\n", re.IGNORECASE)


@dataclass(frozen=True)
class Opened:
    """The seconds until everything was received, and the number of answers other than 200."""

    seconds: float
    bad: int


def open_series(
    root: str, metadata: str, frames: Sequence[str], accept: str, viewers: int = 1, connections: int = CONNECTIONS
) -> Opened:
    """Let so many viewers open the series at the same moment, with so many connections each, and wait for all."""
    begin = threading.Barrier(viewers + 1)
    opened = [_Viewer(root, accept, begin, connections) for _ in range(viewers)]
    threads = [threading.Thread(target=viewer.open, args=(metadata, frames)) for viewer in opened]
    for thread in threads:
        thread.start()
    begin.wait()
    started = time.monotonic()
    for thread in threads:
        thread.join()
    return Opened(time.monotonic() - started, sum(viewer.bad for viewer in opened))


class _Viewer:
    def __init__(self, root: str, accept: str, begin: threading.Barrier, connections: int) -> None:
        self._root = urlsplit(root)
        self._accept = accept
        self._begin = begin
        self._connections = connections
        self._lock = threading.Lock()
        self.bad = 0

    def open(self, metadata: str, frames: Sequence[str]) -> None:
        self._begin.wait()
        self._fetch(iter([metadata]), "application/dicom+json")
        wanted = iter(frames)
        threads = [threading.Thread(target=self._fetch, args=(wanted, self._accept)) for _ in range(self._connections)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()

    def _fetch(self, wanted: Iterator[str], accept: str) -> None:
        """Fetch on one connection until nothing is left."""
        with socket.create_connection((self._root.hostname or "", self._root.port or 80)) as connection:
            buffer = bytearray(_AT_ONCE)
            while path := self._next(wanted):
                lines = (f"GET {self._root.path}{path} HTTP/1.1", f"Host: {self._root.netloc}", f"Accept: {accept}")
                connection.sendall("\r\n".join((*lines, "", "")).encode())
                if _status(connection, buffer) != 200:
                    with self._lock:
                        self.bad += 1

    def _next(self, wanted: Iterator[str]) -> str | None:
        with self._lock:
            return next(wanted, None)


def _status(connection: socket.socket, buffer: bytearray) -> int:
    """The status of the next answer, which is read completely; 0 if it is incomplete."""
    head = b""
    while (end := head.find(b"\r\n\r\n")) < 0:
        piece = connection.recv(2**14)
        if not piece:
            return 0
        head += piece
    match = _HEAD.match(head[: end + 4])
    if not match:
        return 0
    left = int(match[2]) - (len(head) - end - 4)
    while left:
        count = connection.recv_into(buffer, min(left, _AT_ONCE), socket.MSG_TRUNC)  # TCP: dropped, not copied
        if not count:
            return 0
        left -= count
    return int(match[1])


@dataclass(frozen=True)
class Timed:
    """One answer: the times of its first and last byte, and their number."""

    first_byte_seconds: float
    seconds: float
    body_bytes: int


def timed(root: str, path: str, accept: str) -> Timed:
    """Make one request, and read as fast as the answer arrives; RuntimeError unless it is 200."""
    parts, buffer, size = urlsplit(root), bytearray(_AT_ONCE), 0
    connection = http.client.HTTPConnection(parts.hostname or "", parts.port, timeout=600)
    try:
        connection.connect()
        started, first = time.monotonic(), 0.0
        connection.request("GET", f"{parts.path}{path}", headers={"Accept": accept})
        answer = connection.getresponse()
        if answer.status != 200:
            raise RuntimeError(f"{answer.status} for {path}")
        while count := answer.readinto(buffer):
            first = first or time.monotonic() - started
            size += count
        return Timed(first, time.monotonic() - started, size)
    finally:
        connection.close()
