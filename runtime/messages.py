"""Messages between web processes and fetchers: pickled values after their length, over Unix sockets of our own."""

import pickle
import socket
import struct
from collections.abc import Iterator
from contextlib import nullcontext
from typing import Any

from runtime.fairness import computing

_LENGTH = struct.Struct("<Q")
_PIECE_BYTES = 2**18
_LONG_BYTES = 2**17


def encode_message(value: Any) -> bytes:
    """Encode a value: 8 bytes of length (little endian), then the pickle."""
    content = pickle.dumps(value, pickle.HIGHEST_PROTOCOL)
    return _LENGTH.pack(len(content)) + content


def receive(connection: socket.socket) -> Any:
    """The next value; EOFError if the other side has closed.

    Nothing follows it: each request has one answer. So one call takes as much as there is, which is all of most
    answers. Each further call lets other threads run, and has to wait for them.
    """
    begun = _some(connection, _PIECE_BYTES)
    while len(begun) < _LENGTH.size:
        begun += _some(connection, _PIECE_BYTES)
    end = _LENGTH.size + _LENGTH.unpack_from(begun)[0]
    whole = begun if len(begun) == end else _whole(connection, begun, end)
    content = memoryview(whole)[_LENGTH.size :]
    with computing() if len(content) >= _LONG_BYTES else nullcontext():
        return pickle.loads(content)  # noqa: S301 - from a process of ours, in a folder of ours


def _some(connection: socket.socket, most_bytes: int) -> bytes:
    piece = connection.recv(most_bytes)
    if not piece:
        raise EOFError
    return piece


def _whole(connection: socket.socket, begun: bytes, length_bytes: int) -> bytearray:
    whole = bytearray(length_bytes)
    whole[: len(begun)] = begun
    view = memoryview(whole)[len(begun) :]
    while view:
        count = connection.recv_into(view)
        if not count:
            raise EOFError
        view = view[count:]
    return whole


class Unpacker:
    """Decodes values from bytes that come in pieces."""

    def __init__(self) -> None:
        self._held = bytearray()

    def feed(self, piece: bytes) -> Iterator[Any]:
        """The values that this piece completes."""
        self._held += piece
        while len(self._held) >= _LENGTH.size:
            end = _LENGTH.size + _LENGTH.unpack_from(self._held)[0]
            if len(self._held) < end:
                return
            content = bytes(self._held[_LENGTH.size : end])
            del self._held[:end]
            yield pickle.loads(content)  # noqa: S301 - from a process of ours, in a folder of ours
