"""Clients that send too much or too slowly are let go, and the others do not notice."""

import socket
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from tests.service.process import Service
from tests.waiting import PATIENCE_SECONDS

SLOW_CLIENTS = 200


@pytest.fixture(scope="module")
def strict(datastore_root: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    environment = {"DATASTORE_ROOT": str(datastore_root), "WEB_PROCESSES": "1", "WEB_THREADS": "4"}
    service = Service(tmp_path_factory.mktemp("strict"), environment)
    yield service
    assert service.stop() == 0


def connected(service: Service) -> socket.socket:
    return socket.create_connection(("127.0.0.1", service.port), timeout=PATIENCE_SECONDS)


def status_of(service: Service, head: bytes) -> int:
    with connected(service) as client:
        client.sendall(head)
        return int(client.recv(64).split()[1])


def test_headers_are_bounded(strict: Service) -> None:
    assert (
        status_of(strict, b"GET /aetitle/live HTTP/1.1\r\nHost: localhost\r\nX-Much: " + b"x" * 40_000 + b"\r\n\r\n")
        == 431
    )


def test_a_long_search_is_still_taken(strict: Service) -> None:
    uids = ",".join(f"1.2.840.113619.2.{number}" for number in range(1000)).encode()
    head = b"GET /aetitle/studies?StudyInstanceUID=" + uids + b" HTTP/1.1\r\nHost: localhost\r\n\r\n"
    assert status_of(strict, head) == 200


def test_many_that_never_finish_their_request_starve_nobody(strict: Service) -> None:
    with ExitStack() as stack:
        for _ in range(SLOW_CLIENTS):
            stack.enter_context(connected(strict)).sendall(
                b"GET /aetitle/studies HTTP/1.1\r\nHost: localhost\r\nX-Slow: "
            )
        began = time.monotonic()
        assert [strict.status("/studies?limit=1") for _ in range(20)] == [200] * 20
        each_ms = (time.monotonic() - began) * 1000 / 20
    sys.stdout.write(f"{SLOW_CLIENTS} slow clients, a normal one is answered in {each_ms:.1f} ms\n")
    assert each_ms < 5000  # who waited for one of them would wait for a minute
