"""The contract with waitress: what the data store relies on beyond its documents. An upgrade fails here first."""

import logging
import socket
import threading
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from waitress import wasyncore

from datastore.serving.waitress_adapter import ClientDisconnected, make_wsgi_server


def trickle(environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterator[bytes]:
    """A byte, then nothing until the client has it, then the end of the connection."""
    start_response("200 OK", [("Content-Length", "5")])
    yield b"x"
    assert RECEIVED.wait(60)
    raise ClientDisconnected


RECEIVED = threading.Event()


def test_a_byte_goes_out_at_once_and_a_cut_connection_is_no_error(caplog: pytest.LogCaptureFixture) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        server: Any = make_wsgi_server(trickle, listener, 1)
        loop = threading.Thread(target=server.run)
        loop.start()
        with socket.create_connection(listener.getsockname(), timeout=60) as client, caplog.at_level(logging.WARNING):
            client.sendall(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
            received = b""
            while not received.endswith(b"\r\n\r\nx"):
                received += client.recv(65_536)
            RECEIVED.set()
            assert client.recv(1) == b""
        server.trigger.pull_trigger(lambda: wasyncore.close_all(server._map))
        loop.join()
        server.task_dispatcher.shutdown()
    assert caplog.text == ""
