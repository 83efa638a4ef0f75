"""Who asks too much, too long or too slowly is told so or let go, and others do not notice."""

import json
import select
import time
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from tests.app.server.web_process import (
    answer,
    connected,
    headers_of,
    is_closed,
    is_held_by_server,
    request,
    serving,
    status,
)
from tests.waiting import wait_for

pytestmark = pytest.mark.service

COUNTS: dict[str, Any] = {"of_client": 6, "of_all": 12}
PATIENT: dict[str, Any] = {"patience_seconds": 600.0, "deadline_seconds": 600.0}
HASTY: dict[str, Any] = {"patience_seconds": 1.0, "deadline_seconds": 4.0}


@pytest.fixture(scope="module")
def log(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("limited") / "log"


@pytest.fixture(scope="module")
def port(log: Path) -> Iterator[int]:
    """A server that waits longer for its clients than a busy machine makes them wait."""
    with serving(log, **COUNTS, **PATIENT) as port:
        yield port


@pytest.fixture(scope="module")
def hasty_log(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("hasty") / "log"


@pytest.fixture(scope="module")
def hasty(hasty_log: Path) -> Iterator[int]:
    """A server that lets clients go soon."""
    with serving(hasty_log, **COUNTS, **HASTY) as port:
        yield port


@pytest.mark.parametrize(
    ("head", "expected"),
    [
        (b"GET /" + b"x" * 40_000, 414),
        (b"GET / HTTP/1.1\r\nX-Much: " + b"x" * 40_000, 431),
        (b"GET /" + b"x" * 20_000 + b" HTTP/1.1\r\nX-Much: " + b"x" * 20_000, 431),
        (b"GET /" + b"x" * 20_000 + b" HTTP/1.1\r\nHost: x\r\n\r\n", 200),
    ],
)
def test_the_length_of_a_request_is_bounded(port: int, head: bytes, expected: int) -> None:
    with connected(port) as connection:
        connection.sendall(head)
        found, text = answer(connection)
    assert found == expected
    assert (b"application/problem+json" in text) == (expected != 200)


@pytest.mark.parametrize(
    "begun", [b"G", b"GET /x HTTP/1.1\r\nHost: x\r\n", b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 9\r\n\r\nx"]
)
def test_a_request_that_does_not_end_is_told_so(hasty: int, begun: bytes) -> None:
    with connected(hasty) as connection:
        began = time.monotonic()
        connection.sendall(begun)
        assert answer(connection)[0] == 408
        assert time.monotonic() - began > 0.5
        assert is_closed(connection)


def test_a_request_that_comes_letter_by_letter_is_told_so_too(hasty: int) -> None:
    with connected(hasty) as connection, pytest.raises(ConnectionError):
        for letter in b"GET /" + b"x" * 200:
            connection.sendall(bytes([letter]))
            time.sleep(0.05)


def test_a_connection_at_rest_is_kept(hasty: int) -> None:
    with connected(hasty) as connection:
        for _ in range(2):
            connection.sendall(request("/", "192.0.2.1"))
            assert answer(connection)[0] == 200
            time.sleep(2.5)


def test_who_takes_nothing_of_an_answer_is_let_go(hasty: int) -> None:
    with connected(hasty, receive_bytes=4096) as connection:
        connection.sendall(request("/endless", "192.0.2.2"))
        wait_for(lambda: any(select.select([connection], [], [], 0)))  # it is being answered
        wait_for(lambda: not is_held_by_server(hasty, connection))
        assert is_closed(connection)


def test_an_answer_without_an_end_is_cut_at_the_deadline(hasty: int) -> None:
    with connected(hasty) as connection:
        began = time.monotonic()
        connection.sendall(request("/endless", "192.0.2.3"))
        assert is_closed(connection)
        assert time.monotonic() - began > 3


def test_clients_that_take_nothing_hold_no_thread_that_others_need(tmp_path: Path) -> None:
    """There are four threads, and one client has three of them at most."""
    with serving(tmp_path / "log", **COUNTS, **PATIENT) as port, ExitStack() as stack:
        stalled = [stack.enter_context(connected(port, receive_bytes=4096)) for _ in range(6)]
        for one in stalled:
            one.sendall(request("/endless", "192.0.2.4"))
        wait_for(lambda: len(select.select(stalled, [], [], 0)[0]) >= 3)  # these are being answered
        assert [status(port, "/", "192.0.2.5") for _ in range(20)] == [200] * 20


def together(port: int, clients: list[str], *, refused: int) -> list[tuple[int, bytes]]:
    """The answers to requests, a client for each, that last until so many of them have been refused."""
    gate = time.monotonic_ns()
    with ExitStack() as stack:
        connections = [stack.enter_context(connected(port)) for _ in clients]
        for connection, client in zip(connections, clients, strict=True):
            connection.sendall(request(f"/gate?{gate}", client))
        wait_for(lambda: len(select.select(connections, [], [], 0)[0]) >= refused)
        assert status(port, f"/open?{gate}", "192.0.2.250") == 200
        return [answer(connection) for connection in connections]


def test_too_many_requests_of_one_client_are_refused(port: int) -> None:
    found = together(port, ["192.0.2.6"] * 9, refused=3)
    assert sorted(one for one, _ in found) == [200] * 6 + [429] * 3
    assert all(b"Retry-After: 5" in text for one, text in found if one == 429)


def test_too_many_requests_of_all_are_refused(port: int) -> None:
    found = together(port, [f"192.0.2.{number // 5}" for number in range(40, 165)], refused=113)
    refused = [text for one, text in found if one == 503]
    assert len(refused) == 113
    assert all(b"Retry-After: 5" in text for text in refused)
    wait_for(lambda: status(port, "/", "192.0.2.6") == 200)  # as soon as one of them has ended


VIEWER_HEADERS = (
    b"Host: x\r\nOrigin: https://viewer.example.org\r\nX-Forwarded-For: 192.0.2.77\r\nX-Request-ID: mine\r\n"
)
LONG = b"x" * 40_000
REFUSED = [
    pytest.param(b"GET /aetitle/x HTTP/1.1\r\n" + VIEWER_HEADERS + b"No colon\r\n\r\n", 400, None, id="ill-formed"),
    pytest.param(b"GET /slow HTTP/1.1\r\n" + VIEWER_HEADERS, 408, None, id="without an end"),
    pytest.param(
        b"POST /slow HTTP/1.1\r\n" + VIEWER_HEADERS + b"Content-Length: 9\r\n\r\nx", 408, "POST", id="half a body"
    ),
    pytest.param(
        b"POST /big HTTP/1.1\r\n" + VIEWER_HEADERS + b"Content-Length: 9999999\r\n\r\n", 413, "POST", id="long body"
    ),
    pytest.param(b"GET /" + LONG, 414, None, id="long URL"),
    pytest.param(b"GET / HTTP/1.1\r\n" + VIEWER_HEADERS + b"X: " + LONG, 431, None, id="long headers"),
    pytest.param(b"GET /broken HTTP/1.1\r\n" + VIEWER_HEADERS + b"\r\n", 500, None, id="a mistake of ours"),
    pytest.param(
        b"POST /odd HTTP/1.1\r\n" + VIEWER_HEADERS + b"Transfer-Encoding: odd\r\n\r\n", 501, "POST", id="coding"
    ),
]


def counted(port: int) -> dict[str, int]:
    with connected(port) as connection:
        connection.sendall(request("/counts", "192.0.2.78"))
        found: dict[str, int] = json.loads(answer(connection)[1].partition(b"\r\n\r\n")[2])
        return found


def told(log: Path, **values: object) -> list[dict[str, Any]]:
    """The lines of the access log that have these values; each is written when its answer has been sent."""
    lines = [json.loads(line) for line in log.read_text().splitlines()]
    return [line for line in lines if line["logger"] == "access" and values.items() <= line.items()]


@pytest.mark.parametrize(("asked", "expected", "method"), REFUSED)
def test_a_refusal_is_an_answer_like_others(
    request: pytest.FixtureRequest, asked: bytes, expected: int, method: str | None
) -> None:
    of_server = ("hasty", "hasty_log") if expected == 408 else ("port", "log")
    port, log = map(request.getfixturevalue, of_server)
    before = counted(port).get(str(expected), 0)
    with connected(port) as connection:
        connection.sendall(asked)
        found, text = answer(connection)
        assert is_closed(connection)
    headers, document = headers_of(text), json.loads(text.partition(b"\r\n\r\n")[2])
    assert (found, document["status"]) == (expected, expected)
    assert headers["content-type"] == "application/problem+json"
    assert (headers["x-content-type-options"], headers["referrer-policy"]) == ("nosniff", "no-referrer")
    assert "default-src 'none'" in headers["content-security-policy"]
    assert headers["strict-transport-security"].startswith("max-age=")
    assert "X-Request-ID" in headers["access-control-expose-headers"]
    assert headers["server-timing"].startswith("total;dur=")
    assert headers["vary"] == "Origin"
    assert headers["access-control-allow-origin"] == "https://viewer.example.org"
    wait_for(lambda: counted(port).get(str(expected), 0) == before + 1)
    mine = {"request": headers["x-request-id"], "status": expected}
    wait_for(lambda: told(log, **mine))
    (line,) = told(log, **mine)
    assert (line["method"], line["status"], line["bytes"]) == (method, expected, len(json.dumps(document)))
    assert line["path"] == ("***" if method else None)
    assert line["ms"] >= (900 if expected == 408 else 0)


def test_a_refused_head_has_no_body(port: int) -> None:
    with connected(port) as connection:
        connection.sendall(b"HEAD / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: odd\r\n\r\n")
        received = b""
        while more := connection.recv(65_536):
            received += more
    assert received.startswith(b"HTTP/1.1 501") and received.endswith(b"\r\n\r\n")


def test_a_page_of_another_origin_does_not_read_refusals(port: int) -> None:
    with connected(port) as connection:
        connection.sendall(
            b"GET / HTTP/1.1\r\nHost: x\r\nOrigin: https://evil.example.org\r\nTransfer-Encoding: odd\r\n\r\n"
        )
        found, text = answer(connection)
    assert found == 501
    assert "access-control-allow-origin" not in headers_of(text)


def test_too_many_requests_are_counted_and_logged(port: int, log: Path) -> None:
    before = counted(port).get("429", 0)
    together(port, ["192.0.2.79"] * 9, refused=3)
    wait_for(lambda: counted(port).get("429", 0) == before + 3)
    mine = {"from": "192.0.2.79", "status": 429}
    wait_for(lambda: len(told(log, **mine)) == 3)
    assert [(line["method"], line["path"]) for line in told(log, **mine)] == [("GET", "***")] * 3
