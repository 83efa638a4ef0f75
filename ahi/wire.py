"""How web processes and fetchers talk: pickled values with their length in front, over Unix sockets of our own."""

import pickle
import socket
import struct
from collections.abc import Iterator
from typing import Any

_LENGTH = struct.Struct("<Q")


def packed(value: Any) -> bytes:
    """A value as it is sent."""
    content = pickle.dumps(value, pickle.HIGHEST_PROTOCOL)
    return _LENGTH.pack(len(content)) + content


def receive(connection: socket.socket) -> Any:
    """The next value; EOFError when the other side has closed."""
    (length,) = _LENGTH.unpack(_exactly(connection, _LENGTH.size))
    return pickle.loads(_exactly(connection, length))  # noqa: S301 - from a process of ours, in a folder of ours


def _exactly(connection: socket.socket, length: int) -> bytearray:
    content = bytearray(length)
    view = memoryview(content)
    while view:
        count = connection.recv_into(view)
        if not count:
            raise EOFError
        view = view[count:]
    return content


class Unpacker:
    """Values from bytes that come in pieces."""

    def __init__(self) -> None:
        self._held = bytearray()

    def feed(self, piece: bytes) -> Iterator[Any]:
        """The values that are whole now."""
        self._held += piece
        while len(self._held) >= _LENGTH.size:
            end = _LENGTH.size + _LENGTH.unpack_from(self._held)[0]
            if len(self._held) < end:
                return
            content = bytes(self._held[_LENGTH.size : end])
            del self._held[:end]
            yield pickle.loads(content)  # noqa: S301 - from a process of ours, in a folder of ours
