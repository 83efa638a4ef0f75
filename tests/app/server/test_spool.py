"""What a client does not take goes to files, within bounds, and comes out as it went in."""

import os
import select
import socket
import threading
import time
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from app.server.spool import Spool
from app.server.waitress_adapter import MemoryBuffer
from tests.app.server.web_process import answer, connected, is_held_by_server, request, serving, status
from tests.waiting import wait_for

pytestmark = pytest.mark.service


def filled(content: bytes) -> MemoryBuffer:
    buffer = MemoryBuffer(2**28)
    buffer.append(content)
    return buffer


def sent(tmp_path: Path, buffers: list[object]) -> bytes:
    """What the kernel sends of the buffers."""
    ours, theirs = socket.socketpair()
    received = b""
    with ours, theirs:
        for buffer in buffers:
            while len(buffer):  # type: ignore[arg-type]
                span = buffer.get(2**16)  # type: ignore[attr-defined]
                if isinstance(span, bytes):
                    count = ours.send(span[:1000])
                else:
                    count = os.sendfile(ours.fileno(), span.descriptor, span.offset, min(1000, span.length))
                received += theirs.recv(count)
                buffer.skip(count)  # type: ignore[attr-defined]
    return received


def test_what_is_moved_is_sent_in_order(tmp_path: Path) -> None:
    spool, parts = Spool(tmp_path), [os.urandom(70_000), b"small", os.urandom(200_000)]
    buffers: list[object] = [filled(part) for part in parts]
    buffers[0].skip(5, True)  # type: ignore[attr-defined]  # sent already
    spool.move(buffers)
    assert spool.bytes_held == 269_995
    buffers[-1].append(b"end")  # type: ignore[attr-defined]
    assert sent(tmp_path, buffers) == b"".join(parts)[5:] + b"end"
    for buffer in buffers * 2:
        buffer.close()  # type: ignore[attr-defined]
    assert spool.bytes_held == 0
    assert list(tmp_path.iterdir()) == []


def test_beyond_the_bound_answers_stay_in_memory(tmp_path: Path) -> None:
    spool, buffers = Spool(tmp_path, max_bytes=150_000), [filled(b"x" * 100_000) for _ in range(2)]
    kept = buffers[1]
    spool.move(buffers)
    assert buffers[1] is kept
    assert spool.bytes_held == 100_000


def test_a_folder_that_is_gone_is_told_once(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    spool, buffers = Spool(tmp_path / "none"), [filled(b"x" * 100_000)]
    for _ in range(3):
        spool.move(buffers)
    assert len(buffers[0]) == 100_000
    assert spool.bytes_held == 0
    assert caplog.text.count("answers cannot be written to files") == 1


def resident_bytes(port: int) -> int:
    with connected(port, "127.0.0.9") as connection:
        connection.sendall(request("/memory", "192.0.2.9"))
        return int(answer(connection)[1].rpartition(b"\r\n\r\n")[2])


def test_stalled_readers_take_no_memory_and_no_threads(tmp_path: Path) -> None:
    """Four threads, 60 readers of 1.5 MB from two addresses, none of which takes anything."""
    with (
        serving(tmp_path / "log", spool_folder=str(tmp_path), patience_seconds=60.0) as port,
        ExitStack() as stack,
    ):
        before, stalled = resident_bytes(port), []
        for number in range(60):
            made = stack.enter_context(connected(port, f"127.0.0.{2 + number % 2}", receive_bytes=4096))
            made.sendall(request("/large", "192.0.2.7"))
            stalled.append(made)
        wait_for(lambda: resident_bytes(port) < before + 30 * 2**20)
        for one in stalled[:3]:
            status, text = answer(one)
            assert status == 200
            assert text.partition(b"\r\n\r\n")[2] == b"0123456789abcdef" * 98_304


def test_an_answer_that_is_stalled_on_the_way_gives_its_thread_back(tmp_path: Path) -> None:
    with serving(tmp_path / "log", spool_folder=str(tmp_path), patience_seconds=60.0) as port, ExitStack() as stack:
        stalled = []
        for number in range(8):
            made = stack.enter_context(connected(port, f"127.0.0.{2 + number}", receive_bytes=4096))
            made.sendall(request("/pieces", "192.0.2.8"))
            stalled.append(made)
        wait_for(lambda: len(select.select(stalled, [], [], 0)[0]) >= 4)  # as many as there are threads
        with connected(port, "127.0.0.20") as other:
            other.settimeout(30)  # half of what a stalled client has
            other.sendall(request("/", "192.0.2.20"))
            assert answer(other)[0] == 200
        status, text = answer(stalled[0])
        assert status == 200
        assert text.partition(b"\r\n\r\n")[2] == b"0123456789abcdef" * 2**20


def trickle(connections: list[socket.socket], done: threading.Event) -> None:
    """Take some 2 KB of each in a second."""
    while not done.wait(0.2):
        for one in connections:
            one.recv(400)


def test_readers_that_take_little_hold_no_thread(tmp_path: Path) -> None:
    """There are four places, and eight readers of long answers from each of two clients."""
    limits: dict[str, Any] = {"of_client": 20, "of_all": 100, "patience_seconds": 60.0, "deadline_seconds": 60.0}
    done = threading.Event()
    with serving(tmp_path / "log", **limits) as port, ExitStack() as stack:
        slow = [stack.enter_context(connected(port, receive_bytes=4096)) for _ in range(16)]
        for number, one in enumerate(slow):
            one.sendall(request("/endless", f"192.0.2.{200 + number % 2}"))
        reading = threading.Thread(target=trickle, args=(slow, done))
        reading.start()
        try:
            wait_for(lambda: len(select.select(slow, [], [], 0)[0]) >= 4)  # as many as there are threads
            began = time.monotonic()
            for client in ("192.0.2.200", "192.0.2.202"):
                assert [status(port, "/", client) for _ in range(20)] == [200] * 20
            assert time.monotonic() - began < 30  # half of what a slow client has
            assert all(is_held_by_server(port, one) for one in slow)
        finally:
            done.set()
            reading.join()
