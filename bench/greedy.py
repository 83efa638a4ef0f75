"""The effect of slow and greedy clients on a normal one, which requests frames and searches on one connection.

python -m bench.greedy [--requests 100]
"""

import argparse
import http.client
import socket
import statistics
import subprocess
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

from bench.table import markdown
from datastore.embedded import Embedded
from tests.service.clinic import Clinic, write_clinic
from tests.service.process import Service

_NORMAL, _OTHER = "192.0.2.1", "192.0.2.66"
_ENVIRONMENT = {"WEB_PROCESSES": "1", "TRUSTED_PROXY": "127.0.0.1", "LOG_LEVEL": "ERROR"}


@dataclass(frozen=True)
class ClientResult:
    """The requests of the normal client: how many were answered 200, and the seconds of each."""

    answered: int
    asked: int
    seconds: Sequence[float]

    @property
    def row(self) -> tuple[str, float, float, float]:
        """Answered of asked; median, 95th percentile and maximum in ms."""
        in_ms = sorted(1000 * one for one in self.seconds)
        at_95 = in_ms[int(0.95 * (len(in_ms) - 1))]
        return f"{self.answered} of {self.asked}", statistics.median(in_ms), at_95, in_ms[-1]


def normal_client(port: int, clinic: Clinic, requests: int) -> ClientResult:
    """Request a frame and a search in turn."""
    paths = (f"{clinic.paths['ct']}/frames/1", "/studies?PatientID=PID1")
    answered, seconds = 0, list[float]()
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=20)
    for number in range(requests):
        began = time.monotonic()
        try:
            connection.request("GET", f"/aetitle{paths[number % 2]}", headers={"X-Forwarded-For": _NORMAL})
            answer = connection.getresponse()
            answer.read()
        except TimeoutError:  # a starved client stops
            return ClientResult(answered, requests, [*seconds, time.monotonic() - began])
        seconds.append(time.monotonic() - began)
        answered += answer.status == 200
    connection.close()
    return ClientResult(answered, requests, seconds)


def _head(path: str) -> bytes:
    return f"GET /aetitle{path} HTTP/1.1\r\nHost: localhost\r\nX-Forwarded-For: {_OTHER}\r\nAccept: */*\r\n".encode()


@contextmanager
def nobody(_port: int, _clinic: Clinic) -> Iterator[None]:
    """No other client."""
    yield


@contextmanager
def never_asking(port: int, _clinic: Clinic) -> Iterator[None]:
    """200 connections that never finish their request."""
    with ExitStack() as stack:
        for _ in range(200):
            stack.enter_context(socket.create_connection(("127.0.0.1", port))).sendall(_head("/studies"))
        yield


@contextmanager
def never_taking(port: int, clinic: Clinic) -> Iterator[None]:
    """50 connections that request a slide of 7 MB and read nothing of it."""
    with ExitStack() as stack:
        for _ in range(50):
            end = stack.enter_context(socket.socket())
            end.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
            end.connect(("127.0.0.1", port))
            end.sendall(_head(f"{clinic.paths['slide']}/pixeldata") + b"\r\n")
        time.sleep(1)
        yield


@contextmanager
def greedy(port: int, _clinic: Clinic) -> Iterator[None]:
    """One client with 48 connections, each of which repeatedly searches for all attributes of all instances."""
    url = f"http://127.0.0.1:{port}/aetitle/instances?includefield=all"
    command = ["wrk", "--threads=1", "--connections=48", "--duration=600", "--timeout=60"]
    process = subprocess.Popen([*command, f"--header=X-Forwarded-For: {_OTHER}", url], stdout=subprocess.DEVNULL)
    time.sleep(3)
    yield
    process.terminate()
    process.wait()


LOADS = (nobody, never_asking, never_taking, greedy)


def measure(requests: int, folder: Path, *, samples: bool = True) -> list[tuple[str, ClientResult]]:
    """The result of the normal client under each load; `samples` adds instances to the small archive."""
    (folder / "files").mkdir()
    clinic = write_clinic(folder / "files")
    store = Embedded(folder / "store")
    store.fill([clinic.folder])
    if samples:
        store.fill_with_samples()
    service = Service(folder / "service", {**_ENVIRONMENT, "DATASTORE_ROOT": str(folder / "store")})
    try:
        normal_client(service.port, clinic, 4)  # fills the cache
        found = []
        for load in LOADS:
            with load(service.port, clinic):
                found.append(((load.__doc__ or "").rstrip("."), normal_client(service.port, clinic, requests)))
        return found
    finally:
        service.stop()


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--requests", type=int, default=100)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="bench-greedy-") as folder:
        rows = [(load, *noticed.row) for load, noticed in measure(options.requests, Path(folder))]
    print(markdown(("other clients", "answered", "p50 ms", "p95 ms", "max ms"), rows))


if __name__ == "__main__":
    main()
