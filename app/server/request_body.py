"""The body of a request that the answering thread reads itself, straight from the socket.

Such a request goes to the application when its head is there. So it may be refused before its body is read, and the
body is never held in memory. A client that expects it is told to go on (100) when the first byte is wanted.
"""

import select
import socket
import time
from collections.abc import Callable
from contextlib import suppress

from app.server.body_decoder import BodyDecoder
from dicomweb.errors import BadRequest, RequestTimeout

_PIECE_BYTES = 2**18
_CHECK_SECONDS = 1.0  # between two checks whether the connection was closed by the loop
_MIN_BYTES_PER_SECOND = 1024
_LINGER_SECONDS = 5.0


class RequestBody:
    """A stream that one thread reads.

    It has a descriptor of its own: the loop may close that of the connection, whose number may then be another
    client's.
    """

    def __init__(
        self,
        connection: socket.socket,
        begun: bytes,
        decoder: BodyDecoder,
        *,
        patience_seconds: float,
        is_open: Callable[[], bool],
        invite: Callable[[], None] | None = None,
    ) -> None:
        """`begun` came in with the head. `invite` tells the client to send the body, None if it does so anyway.

        The stream owns `connection`.
        """
        self._socket = connection
        self._begun = begun
        self._held = b""
        self._decoder = decoder
        self._patience_seconds = patience_seconds
        self._is_open = is_open
        self._invite = invite
        self._window_since, self._window_bytes = time.monotonic(), 0

    @property
    def at_end(self) -> bool:
        """Whether the next byte of the connection begins another request."""
        return self._decoder.ended and not self._decoder.excess

    def read(self, size: int = _PIECE_BYTES) -> bytes:
        """The next bytes, `size` at most and at least one; b"" at the end.

        BadRequest if the client leaves before the end, RequestTimeout if it sends less than 1 KiB a second.
        """
        while not (self._held or self._decoder.ended):
            received = self._begun or self._receive(self._decoder.wanted(min(size, _PIECE_BYTES)))
            self._begun = b""
            self._held = self._decoder.decode(received)
        taken, self._held = self._held[:size], self._held[size:]
        return taken

    def drain(self) -> None:
        """Drop what the client still sends, until it closes, for 5 seconds at most.

        Call it when the answer has been sent. If the connection were closed with bytes unread, the client would lose
        the answer.
        """
        if self._decoder.ended or (self._invite and not self._begun):
            return
        give_up = time.monotonic() + _LINGER_SECONDS
        with suppress(OSError):
            self._socket.shutdown(socket.SHUT_WR)
            while (left := give_up - time.monotonic()) > 0 and self._is_open():
                if self._has_bytes(min(left, _CHECK_SECONDS)) and not self._socket.recv(_PIECE_BYTES):
                    return

    def close(self) -> None:
        """Give the descriptor back."""
        self._socket.close()

    def _receive(self, most_bytes: int) -> bytes:
        if self._invite:
            self._invite()
            self._invite = None
        while True:
            try:
                received = self._socket.recv(most_bytes)
            except BlockingIOError:
                self._wait()
                continue
            except OSError:
                received = b""
            if not received:
                raise BadRequest("the connection ended before the body of the request")
            self._window_bytes += len(received)
            return received

    def _wait(self) -> None:
        """Wait for bytes; RequestTimeout if too few have come."""
        while not self._has_bytes(_CHECK_SECONDS):
            seconds = time.monotonic() - self._window_since
            if not self._is_open():
                raise BadRequest("the connection ended before the body of the request")
            if seconds >= self._patience_seconds:
                if self._window_bytes < seconds * _MIN_BYTES_PER_SECOND:
                    raise RequestTimeout("the body of the request comes in too slowly")
                self._window_since, self._window_bytes = time.monotonic(), 0

    def _has_bytes(self, seconds: float) -> bool:
        poll = select.poll()
        poll.register(self._socket, select.POLLIN)
        return bool(poll.poll(seconds * 1000))
