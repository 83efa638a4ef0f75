"""Pieces of files arrive whole at any client, through any server, and leave no file open."""

import logging
import os
import socket
import threading
import time
from collections.abc import Iterator
from http.client import IncompleteRead
from pathlib import Path
from typing import Any, cast
from urllib.request import urlopen

import pytest
import requests
from flask import Flask, Response, request
from waitress import wasyncore
from waitress.server import create_server

from app.server.sendfile import FileBuffer, SendfileConnection, with_pieces_read, with_pieces_sent
from runtime.file_piece import FilePiece
from tests.waiting import wait_for

CONTENT = os.urandom(20_000_000)  # more than a socket takes for a client that does not read
BODY = b"head" + CONTENT[100_000:] + b"tail"


@pytest.fixture
def app(tmp_path: Path) -> Flask:
    """Answers with a piece between bytes; without a length for ?sized=no."""
    path = tmp_path / "file"
    path.write_bytes(CONTENT)
    app = Flask(__name__)

    @app.get("/")
    def piece() -> Response:
        chunks: list[Any] = [b"head", FilePiece(path.open("rb"), 100_000, len(CONTENT)), b"tail"]
        response = Response(iter(chunks), content_type="application/octet-stream")
        if "sized" not in request.args:
            response.content_length = len(BODY)
        return response

    app.wsgi_app = with_pieces_read(app.wsgi_app)  # type: ignore[method-assign,assignment]
    return app


@pytest.fixture
def url(app: Flask) -> Iterator[str]:
    channels: dict[int, Any] = {}
    server: Any = create_server(
        with_pieces_sent(app), map=channels, listen="127.0.0.1:0", threads=4, outbuf_overflow=2**28
    )  # as app/processes/web.py has it: waitress may leave the temporary file of an answer open that is cut short
    server.channel_class = SendfileConnection
    thread = threading.Thread(target=server.run)
    thread.start()
    yield f"http://127.0.0.1:{server.effective_port}/"
    server.trigger.pull_trigger(lambda: wasyncore.close_all(channels))
    thread.join()
    server.task_dispatcher.shutdown()


def _open(path: Path) -> int:
    """How many descriptors of this process are of the file."""
    links = [Path(f"/proc/self/fd/{name}") for name in os.listdir("/proc/self/fd")]  # noqa: PTH208 - names alone
    return sum(link.exists() and link.resolve() == path for link in links)


def test_any_other_server_gets_bytes(app: Flask) -> None:
    assert app.test_client().get("/").data == BODY


@pytest.mark.parametrize("query", ["", "?sized=no"])
def test_the_kernel_sends_the_same_bytes(url: str, query: str) -> None:
    with requests.Session() as session:
        assert [session.get(url + query, timeout=60).content == BODY for _ in range(5)] == [True] * 5


def test_a_head_request_gets_none(url: str) -> None:
    answer = requests.head(url, timeout=60)
    assert (answer.content, answer.headers["Content-Length"]) == (b"", str(len(BODY)))


def test_a_head_request_gets_none_where_the_size_is_not_known_either(url: str) -> None:
    """Not even a last chunk, which a client would take for the beginning of the next answer."""
    host, port = url.removeprefix("http://").rstrip("/").split(":")
    with socket.create_connection((host, int(port)), timeout=60) as client:
        client.sendall(b"HEAD /?sized=no HTTP/1.1\r\nHost: x\r\n\r\n")
        answer = b"".join(iter(lambda: client.recv(65536), b""))
    assert answer.startswith(b"HTTP/1.1 200 OK\r\n")
    assert answer.endswith(b"\r\n\r\n")
    assert answer.count(b"\r\n\r\n") == 1


def test_a_slow_client_gets_all_of_it(url: str) -> None:
    with requests.get(url, stream=True, timeout=60) as answer:
        chunks = []
        for chunk in answer.iter_content(2_000_000):
            time.sleep(0.01)
            chunks.append(chunk)
    assert b"".join(chunks) == BODY


def test_files_are_closed_when_sent_and_when_the_client_goes(url: str, tmp_path: Path) -> None:
    file = tmp_path / "file"
    assert requests.get(url, timeout=60).content == BODY
    wait_for(lambda: _open(file) == 0)
    host, port = url.removeprefix("http://").rstrip("/").split(":")
    with socket.socket() as client:
        client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        client.connect((host, int(port)))
        client.sendall(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
        wait_for(lambda: _open(file) == 1)
    wait_for(lambda: _open(file) == 0)


def test_a_file_that_was_cut_short_is_had_again_before_it_is_sent(app: Flask, url: str, tmp_path: Path) -> None:
    forgotten: list[str] = []

    @app.get("/cut")
    def cut() -> Response:
        file = (tmp_path / "file").open("rb")
        piece = FilePiece(file, 100_000, len(CONTENT), lambda: forgotten.append("file"), lambda: CONTENT)
        os.truncate(tmp_path / "file", 150_000)
        response = Response(cast(Iterator[bytes], iter([piece])), content_type="application/octet-stream")
        response.content_length = len(piece)
        return response

    with urlopen(f"{url}cut", timeout=60) as answer:  # noqa: S310 - our own loopback
        assert answer.read() == CONTENT[100_000:]
    assert forgotten == ["file"]


def test_an_answer_whose_file_is_cut_short_while_it_is_sent_does_not_look_whole(
    app: Flask, url: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    forgotten: list[str] = []

    @app.get("/cut")
    def cut() -> Response:
        file = (tmp_path / "file").open("rb")
        piece = FilePiece(file, 0, len(CONTENT), lambda: forgotten.append("file"), lambda: CONTENT)
        response = Response(cast(Iterator[bytes], iter([piece])), content_type="application/octet-stream")
        response.content_length = len(piece)
        return response

    with urlopen(f"{url}cut", timeout=60) as answer:  # noqa: S310 - our own loopback
        beginning = answer.read(1000)
        os.truncate(tmp_path / "file", 2**20)
        with pytest.raises(IncompleteRead) as cut_short:
            beginning += answer.read()
    received = beginning + cut_short.value.partial
    assert len(received) < len(CONTENT)
    assert received.startswith(CONTENT[: 2**20])  # the kernel makes zeros of what lies in the socket by then
    wait_for(lambda: "answer cut short" in caplog.text)
    assert forgotten == ["file"]
    told = [(one.getMessage(), one.exc_info) for one in caplog.records if one.levelno >= logging.ERROR]
    assert told == [("answer cut short: a file of it cannot be read to its end", None)]


def test_what_is_wrong_with_a_connection_is_not_wrong_with_its_file(
    app: Flask, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    forgotten: list[str] = []
    server: Any = create_server(app, map={}, listen="127.0.0.1:0")
    ours, theirs = socket.socketpair()
    try:
        channel: Any = SendfileConnection(server, ours, ("127.0.0.1", 1), server.adj, map={})
        channel.requests = [object()]  # its thread is at it, and the loop closes it afterwards
        ours.close()
        piece = FilePiece((tmp_path / "file").open("rb"), 0, len(CONTENT), lambda: forgotten.append("file"))
        assert channel.write_soon(FileBuffer(piece)) == len(CONTENT)
        assert channel.will_close
        channel.handle_write()
        assert not channel.connected
    finally:
        theirs.close()
        server.close()
    assert forgotten == []
    assert caplog.text == ""


def test_a_connection_that_another_thread_has_closed_takes_nothing() -> None:
    """The thread that leads closes it, while that of the answer has bytes in hand: no error, and no traceback."""
    connection: Any = SendfileConnection.__new__(SendfileConnection)
    connection.will_close = False
    for closed in (None, socket.socket()):
        if closed:
            closed.close()
        connection.socket = closed
        assert connection.send(b"rest") == 0
