"""Connections are bounded for each address and for all, and idle ones make room for those who need the place."""

import errno
import os
import socket
import time
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from typing import Any, cast

import pytest

from app.server import event_loop
from tests.app.server.web_process import answer, connected, is_closed, request, serving


def ask(connection: socket.socket) -> int:
    connection.sendall(request("/", "192.0.2.1"))
    return answer(connection)[0]


@pytest.mark.service
def test_idle_connections_of_one_address_do_not_lock_out_another(tmp_path: Path) -> None:
    with serving(tmp_path / "log", connections_of_client=50, connections=100) as port, ExitStack() as stack:
        flood = [stack.enter_context(connected(port, "127.0.0.2")) for _ in range(300)]
        with connected(port, "127.0.0.3") as other:
            assert ask(other) == 200
        assert [ask(one) for one in flood[:50]] == [200] * 50
        refused, text = answer(flood[60])
        assert refused == 503 and b"Retry-After: 5" in text and b"application/problem+json" in text
        assert all(map(is_closed, flood[60:]))
    assert (tmp_path / "log").read_text().count("too many connections of one address") == 1


@pytest.mark.service
def test_a_trusted_proxy_has_three_quarters_of_all(tmp_path: Path) -> None:
    with serving(tmp_path / "log", connections_of_client=5, connections=20) as port, ExitStack() as stack:
        proxy = [stack.enter_context(connected(port, "127.0.0.1")) for _ in range(17)]
        assert [ask(one) for one in proxy[:15]] == [200] * 15
        assert answer(proxy[16])[0] == 503


@pytest.mark.service
def test_an_idle_connection_makes_room(tmp_path: Path) -> None:
    with serving(tmp_path / "log", connections_of_client=3, connections=100) as port, ExitStack() as stack:
        idle = [stack.enter_context(connected(port, "127.0.0.2")) for _ in range(3)]
        assert [ask(one) for one in (idle[1], idle[2], idle[0])] == [200] * 3  # the second has then been silent longest
        time.sleep(10.5)
        assert ask(stack.enter_context(connected(port, "127.0.0.2"))) == 200
        assert is_closed(idle[1])
        assert ask(idle[0]) == 200


@pytest.mark.service
def test_where_files_run_out_connections_wait_and_nothing_spins(tmp_path: Path) -> None:
    log = tmp_path / "log"
    with serving(log, most_files=60, connections_of_client=500) as port, ExitStack() as stack:
        many = [stack.enter_context(connected(port, "127.0.0.2")) for _ in range(100)]
        time.sleep(2)
        assert log.stat().st_size < 10_000
        assert "Traceback" not in log.read_text()
        for one in many[:80]:
            one.close()
        with connected(port, "127.0.0.3") as other:
            assert ask(other) == 200
    assert log.read_text().count("too many connections are open") == 1  # half of the files are kept for answers


class Stub:
    """A server whose socket fails as it is told."""

    def __init__(self, fail: Callable[[], object]) -> None:
        self.sockets: dict[int, Any] = {}
        self.connections: dict[int, Any] = {}
        self.take_connection = fail

    def call_on_change(self, wake: Callable[[], None]) -> None:
        """Nothing changes here."""


@pytest.mark.parametrize("error", [BlockingIOError(), ConnectionAbortedError()])
def test_a_connection_that_is_gone_again_is_no_reason_to_pause(error: OSError) -> None:
    def fail() -> None:
        raise error

    loop = event_loop.EventLoop(cast(Any, Stub(fail)), event_loop.ConnectionLimits(1, 1), 1.0, lambda _: None)
    loop._accept()
    assert loop._accepts_from == 0.0


def test_a_new_connection_is_left_to_the_other_processes_once_however_long_the_rounds_take() -> None:
    taken: list[int] = []

    def take() -> None:
        taken.append(1)
        raise BlockingIOError  # it is gone

    stub = Stub(take)
    stub.connections[1] = stub
    loop = event_loop.EventLoop(cast(Any, stub), event_loop.ConnectionLimits(10, 10), 1.0, lambda _: None)
    for number in range(5):
        loop._accept()
        assert not taken[number:]
        time.sleep(0.01)
        loop._accept()
        assert len(taken) == number + 1


def test_where_no_connection_can_be_taken_the_loop_pauses_and_says_so_once(caplog: pytest.LogCaptureFixture) -> None:
    def fail() -> None:
        raise OSError(errno.EMFILE, os.strerror(errno.EMFILE))

    loop = event_loop.EventLoop(cast(Any, Stub(fail)), event_loop.ConnectionLimits(1, 1), 1.0, lambda _: None)
    began = time.monotonic()
    for _ in range(3):
        loop._accept()
    assert loop._accepts_from > began
    assert caplog.text.count("a connection cannot be taken: Too many open files") == 1
