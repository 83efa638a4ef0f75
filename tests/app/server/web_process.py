"""A web process with limits (`limited_server.py`), and the raw HTTP of its clients."""

import json
import re
import resource
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

ROOT = Path(__file__).parents[3]
_END_SECONDS = 60


@contextmanager
def serving(log: Path, most_files: int | None = None, **limits: object) -> Iterator[int]:
    """The port of a web process with these limits."""

    def bound() -> None:
        if most_files:
            resource.setrlimit(resource.RLIMIT_NOFILE, (most_files, most_files))

    command = [sys.executable, "-m", "tests.app.server.limited_server", json.dumps(limits)]
    with log.open("wb") as errors:
        process = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=errors, preexec_fn=bound)  # noqa: PLW1509
    assert process.stdout
    try:
        yield int(process.stdout.readline())
    finally:
        process.terminate()
        process.stdout.close()
        status = process.wait(timeout=_END_SECONDS)
    assert status == 0


def connected(port: int, source: str = "", *, receive_bytes: int | None = None) -> socket.socket:
    """A connection from a loopback address; with `receive_bytes` its end takes no more than that in advance."""
    made = socket.socket()
    if receive_bytes:
        made.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_bytes)
    made.settimeout(60)
    made.bind((source, 0))
    made.connect(("127.0.0.1", port))
    return made


def request(path: str, client: str) -> bytes:
    """A GET that a proxy passes on for a client of this address."""
    return f"GET {path} HTTP/1.1\r\nHost: x\r\nX-Forwarded-For: {client}\r\n\r\n".encode()


def answer(connection: socket.socket) -> tuple[int, bytes]:
    """Status and all of one answer, which comes in as many pieces as the network likes."""
    received = b""
    while b"\r\n\r\n" not in received:
        received += _more(connection)
    head, _, body = received.partition(b"\r\n\r\n")
    length = re.search(rb"(?i)content-length: (\d+)", head)
    while length and len(body) < int(length[1]):
        body += _more(connection)
    return int(head.split()[1]), head + b"\r\n\r\n" + body


def _more(connection: socket.socket) -> bytes:
    received = connection.recv(65_536)
    assert received, "closed in the middle of an answer"
    return received


def status(port: int, path: str, client: str) -> int:
    """The status of a GET on a connection of its own."""
    with connected(port) as connection:
        connection.sendall(request(path, client))
        return answer(connection)[0]


def is_closed(connection: socket.socket) -> bool:
    """Whether the server closes the connection; what it still sends is thrown away."""
    try:
        while connection.recv(2**20):
            pass
    except ConnectionError:
        pass
    return True


def is_held_by_server(port: int, connection: socket.socket) -> bool:
    """Whether a process still has the other end of a connection; the kernel may go on trying to send what is left."""
    ends = [f"0100007F:{number:04X}" for number in (port, connection.getsockname()[1])]
    rows = (line.split() for line in Path("/proc/net/tcp").read_text().splitlines()[1:])
    return any(row[1:3] == ends and int(row[9]) for row in rows)


def headers_of(text: bytes) -> dict[str, str]:
    """The headers of an answer, by their names in lower case."""
    lines = text.partition(b"\r\n\r\n")[0].decode().split("\r\n")[1:]
    return {name.lower(): value for name, _, value in (line.partition(": ") for line in lines)}
