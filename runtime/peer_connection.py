"""A connection to another process of ours that sends requests. Runs in the FrameFetchers and in the forwarder."""

import select
import socket
import threading
from contextlib import suppress
from typing import Generic, TypeVar

from runtime.messages import Unpacker

READ, WRITE = select.EPOLLIN, select.EPOLLOUT

_PIECE_BYTES = 2**18
_NOTHING = memoryview(b"")

MessageT = TypeVar("MessageT")
CallT = TypeVar("CallT")


class PeerConnection(Generic[MessageT, CallT]):
    """One connection. It carries one request at a time, or messages that have no answer.

    Any thread may answer. The leader reads, and sends the rest of an answer that the socket did not take at once.
    """

    def __init__(self, connection: socket.socket, poll: select.epoll) -> None:
        self._connection = connection
        self.descriptor = connection.fileno()
        self._poll = poll
        self._unpacker = Unpacker()
        self._lock = threading.Lock()
        self._unsent = _NOTHING
        self._is_closing = self._is_fully_read = False
        self.pending_call: CallT | None = None
        """The call that has still to be answered."""

    @property
    def owes_answer(self) -> bool:
        """Whether no more requests are read, but an answer has still to be sent."""
        with self._lock:
            return self._is_closing and bool(self.pending_call or self._unsent)

    def read(self) -> list[MessageT] | None:
        """Return the messages that are complete now; None when nothing more comes."""
        try:
            piece = self._connection.recv(_PIECE_BYTES)
        except BlockingIOError:
            return []
        except OSError:
            return None
        if not piece and self._is_closing:
            with self._lock:
                self._is_fully_read = True
                self._update_poll()
        return list(self._unpacker.feed(piece)) if piece else None

    def stop_reading(self) -> None:
        """Let later requests fail on the other side. Requests that were sent before are still read and answered."""
        with self._lock:
            self._is_closing = True
            with suppress(OSError):  # the other side has closed
                self._connection.shutdown(socket.SHUT_RD)
            self._update_poll()

    def answer(self, content: bytes) -> None:
        """Send an answer, if the other side is still connected."""
        with self._lock:
            self.pending_call = None
            self._unsent = memoryview(b"".join((self._unsent, content)) if self._unsent else content)
            self._send()
            if self._unsent or self._is_closing:
                self._update_poll()

    def send_more(self) -> None:
        """Go on sending, when the socket takes more."""
        with self._lock:
            self._send()
            if not self._unsent:
                self._update_poll()

    def close(self) -> None:
        """Close the connection and drop what has not been sent."""
        with self._lock:
            self._unsent = _NOTHING
            self._connection.close()

    def _send(self) -> None:
        try:
            while self._unsent:
                self._unsent = self._unsent[self._connection.send(self._unsent) :]
        except BlockingIOError:
            return
        except OSError:  # the other side has closed; the poll tells the leader
            pass
        self._unsent = _NOTHING  # an empty slice of the answer would keep all of it in memory

    def _update_poll(self) -> None:
        """Tell the poll which events the leader needs. The lock is held."""
        if self._connection.fileno() < 0:
            return
        if self._is_fully_read and not self.pending_call and not self._unsent:
            with suppress(OSError):
                self._connection.shutdown(socket.SHUT_RDWR)  # the poll always reports it
        self._poll.modify(self._connection, (0 if self._is_fully_read else READ) | (WRITE if self._unsent else 0))
