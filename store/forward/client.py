"""The forwarder as the web processes see it, and the messages between them."""

import logging
import socket
import time
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext, suppress
from dataclasses import dataclass
from typing import TypeVar

from dicomweb.errors import NotFound, ProxyError, UpstreamBusy
from runtime.fairness import about_to_wait
from runtime.messages import encode_message, receive
from runtime.timing import measured
from store.forward.waiting import Cancelled, CancelRequest, WaitingPage, WaitingRequest
from store.outcome import Outcome
from store.spool.spool import Entry

T = TypeVar("T")

log = logging.getLogger(__name__)
Expecting = Callable[[float], AbstractContextManager[object]]
"""See `Heartbeat.expecting`."""

_MARGIN_SECONDS = 10.0  # the forwarder gives up first, and says why
_PAUSE_SECONDS = 0.2  # until a forwarder that died is replaced
_NOTIFY_SECONDS = 5.0
_ASK_SECONDS = 5.0  # for what the forwarder knows by heart


@dataclass(frozen=True)
class StoreRequest:
    """A message: an entry is in the spool. With `waits` it has an answer: a list of Outcome, or a ProxyError."""

    entry: str
    waits: bool


class Forwarder:
    """Hands entries of the spool to the forwarder. Safe to share between threads."""

    def __init__(self, path: str, wait_seconds: float, expecting: Expecting = nullcontext) -> None:
        """`path` is the socket of the forwarder, `wait_seconds` the longest time that it lets a client wait."""
        self._path = path
        self._wait_seconds = wait_seconds
        self._expecting = expecting

    def store(self, entry: Entry) -> list[Outcome]:
        """Wait until all instances of an entry have an outcome: these, in the order of its manifest.

        UpstreamBusy or UpstreamFailed if that takes too long. The entry then stays in the spool, and is stored later;
        whoever sends the same again gets the outcome. An instance whose outcome is no failure can be retrieved now.
        """
        patience_seconds = self._wait_seconds + _MARGIN_SECONDS
        give_up_at = time.monotonic() + patience_seconds
        about_to_wait()
        with measured("forwarder"), self._expecting(patience_seconds):
            while True:
                with suppress(EOFError, OSError):
                    return self._exchange(entry, give_up_at - time.monotonic())
                if time.monotonic() + _PAUSE_SECONDS > give_up_at:
                    raise UpstreamBusy("the service is starting or stopping")
                time.sleep(_PAUSE_SECONDS)

    def notify(self, entry: Entry) -> None:
        """Tell the forwarder that an entry is there. If it cannot be told, it finds the entry within some seconds."""
        with suppress(OSError), self._connect(_NOTIFY_SECONDS) as connection:
            connection.sendall(encode_message(StoreRequest(entry.name, waits=False)))

    def waiting(self, first: int, most: int, ae_titles: frozenset[str] | None = None) -> WaitingPage:
        """A page of the entries that wait; UpstreamBusy if the forwarder does not answer."""
        return self._ask(WaitingRequest(first, most, ae_titles), WaitingPage)

    def cancel(self, name: str) -> Cancelled:
        """Have an entry that waits deleted. Errors are those of `ForwardQueue.cancel`, and UpstreamBusy."""
        return self._ask(CancelRequest(name), Cancelled)

    def _ask(self, question: object, _kind: type[T]) -> T:
        try:
            with self._connect(_ASK_SECONDS) as connection:
                connection.sendall(encode_message(question))
                answer: T | ProxyError = receive(connection)
        except (EOFError, OSError) as error:
            raise UpstreamBusy("the process that stores does not answer") from error
        if isinstance(answer, ProxyError):
            raise answer
        return answer

    def _exchange(self, entry: Entry, seconds: float) -> list[Outcome]:
        """Ask and wait; EOFError or OSError if the forwarder ends meanwhile."""
        with self._connect(max(0.1, seconds)) as connection:
            connection.sendall(encode_message(StoreRequest(entry.name, waits=True)))
            answer: list[Outcome] | ProxyError = receive(connection)
        if isinstance(answer, NotFound):  # its outcome was lost with the forwarder before; a retry tells it
            raise UpstreamBusy("the request could not be completed", retry_after_seconds=1)
        if isinstance(answer, ProxyError):
            raise answer
        return answer

    def _connect(self, seconds: float) -> socket.socket:
        connection = socket.socket(socket.AF_UNIX)
        try:
            connection.settimeout(seconds)
            connection.connect(self._path)
        except OSError:
            connection.close()
            raise
        return connection
