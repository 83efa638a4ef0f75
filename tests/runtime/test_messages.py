"""Values arrive as they were sent, however the connection cuts them."""

import socket
import threading
import time

import pytest

from runtime.messages import encode_message, receive

LONG = bytes(range(256)) * 4096


def _send(connection: socket.socket, pieces: list[bytes]) -> None:
    for piece in pieces:
        connection.sendall(piece)
        time.sleep(0.01)
    connection.close()


@pytest.mark.parametrize("value", [None, b"", {"a": (1, 2.5)}, LONG], ids=["none", "empty", "small", "long"])
@pytest.mark.parametrize("cuts", [[], [3], [8], [3, 9], [8, 500]], ids=str)
def test_a_value_arrives_whole(value: object, cuts: list[int]) -> None:
    content, (here, there) = encode_message(value), socket.socketpair()
    pieces = [content[start:stop] for start, stop in zip([0, *cuts], [*cuts, len(content)], strict=True)]
    sender = threading.Thread(target=_send, args=(there, pieces))
    sender.start()
    with here:
        assert receive(here) == value
        sender.join()


@pytest.mark.parametrize("length", [0, 5, 8, 100, 300_000])
def test_a_connection_that_ends_too_early_is_told(length: int) -> None:
    here, there = socket.socketpair()
    sender = threading.Thread(target=_send, args=(there, [encode_message(LONG)[:length]]))
    sender.start()
    with here:
        with pytest.raises(EOFError):
            receive(here)
        sender.join()
