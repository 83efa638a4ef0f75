"""The event loop: one thread listens to all connections, takes new ones, and lets go of those in the way.

It takes the place of waitress's loop and adds limits. Requests go to the threads of `app.server.worker_pool`. Nothing
here waits for anything but sockets.
"""

import errno
import logging
import select
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from queue import SimpleQueue
from socket import socket
from typing import Any

from app.server.connection import Connection
from app.server.waitress_adapter import WebServer, handle_events
from runtime.memory import Trimmer

log = logging.getLogger(__name__)

_ROUND_SECONDS = 5.0  # the longest wait for an event, and the longest time between two checks of all connections
_IDLE_SECONDS = 10.0  # a connection that was idle for so long is closed if others need its place
_PAUSE_SECONDS = 0.5  # no connections are taken for so long after one could not be taken
_YIELD_SECONDS = 0.0002  # for each connection that it has, a process leaves a new one to other processes for so long
_LONGEST_YIELD_SECONDS = 0.002
_WARNING_SECONDS = 60.0  # between two warnings in the log that no connection can be taken
_READ, _WRITE = select.POLLIN | select.POLLPRI, select.POLLOUT
OUT_OF_RESOURCES = frozenset({errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM})
"""Errors of the system: one process or all processes have too many open files, or there is no memory."""

_REFUSAL = (
    b"HTTP/1.1 503 Service Unavailable\r\nConnection: close\r\nRetry-After: 5\r\n"
    b"Content-Type: application/problem+json\r\nContent-Length: %d\r\n\r\n%b"
)
_DETAIL = b'{"type":"about:blank","title":"Service Unavailable","status":503,"detail":"too many connections are open"}'


@dataclass(frozen=True)
class ConnectionLimits:
    """The most connections of one process, by address and in all. A trusted proxy may have three quarters of all."""

    of_address: int
    of_all: int
    is_proxy: Callable[[str], bool] = lambda _: False

    def of(self, address: str) -> int:
        """The most connections that this address may have."""
        return self.of_all * 3 // 4 if self.is_proxy(address) else min(self.of_address, self.of_all)


class EventLoop:
    """The sockets of a server: the one that listens, those of its clients, and the pipe that wakes the loop."""

    def __init__(
        self,
        server: WebServer[Connection],
        limits: ConnectionLimits,
        round_seconds: float,
        on_round: Callable[[int], None],
    ) -> None:
        """`on_round` is called with the number of connections in each round of the loop.

        A round begins whenever something happens, and every `round_seconds`, which are 5 at most.
        """
        self._server = server
        self._limits = limits
        self._on_round = on_round
        self._round_seconds = min(round_seconds, _ROUND_SECONDS)
        self._checked_at = time.monotonic()
        self._trim = Trimmer()
        self._polls = False
        self._yielded = False  # a new connection was left to other processes
        server.call_on_change(self.wake)
        self._accepts_from = 0.0
        self._warned_at = -_WARNING_SECONDS
        self._keeps_open: Callable[[Connection], bool] | None = None
        self._left: SimpleQueue[int] = SimpleQueue()

    def leave(self, keeps_open: Callable[[Connection], bool], left: "SimpleQueue[int]") -> None:
        """Take no new connections, and put 0 into `left` as soon as `keeps_open` is true of no connection."""
        self._left, self._keeps_open = left, keeps_open
        self.wake()

    def listen(self, *, wait: bool) -> None:
        """Handle all events of the connections; wait for one, if `wait`. One thread at a time calls this."""
        try:
            self._round(wait)
        except Exception:
            log.exception("connections could not be listened to")
            time.sleep(_PAUSE_SECONDS)

    def expect_wake(self) -> None:
        """Have each `wake` from now on end the next `listen`, also if that has not begun."""
        self._polls = True

    def wake(self) -> None:
        """Have `listen` return, if it waits, or see to what has changed; from any thread."""
        if self._polls:
            self._server.interrupt()

    def _round(self, wait: bool) -> None:
        events = self._poll(self._round_seconds if wait else 0.0)
        server = self._server
        self._on_round(len(server.connections))
        for descriptor, flags in events:
            entry = server.sockets.get(descriptor)
            if entry is server:
                self._accept()
            elif entry is not None:
                handle_events(entry, flags)
        now = time.monotonic()
        if now - self._checked_at >= self._round_seconds:
            self._checked_at = now
            for connection in self._connections():
                connection.enforce_timeouts(now)
            server.close_silent()
            self._trim()
        if self._keeps_open:
            self._leave(self._keeps_open)

    def _poll(self, seconds: float) -> list[tuple[int, int]]:
        poll = select.poll()
        self._polls = True  # from here on, changes must wake it
        accepts_in, listening = self._accepts_from - time.monotonic(), -1
        for descriptor, entry in list(self._server.sockets.items()):
            if entry is self._server:
                if accepts_in > 0:
                    seconds = min(seconds, accepts_in)
                    continue
                listening, flags = descriptor, _READ
            else:
                flags = (_READ if entry.readable() else 0) | (_WRITE if entry.writable() else 0)
            if flags:
                poll.register(descriptor, flags)
        try:
            events = poll.poll(seconds * 1000)
        finally:
            self._polls = False
        if accepts_in <= 0 and not any(descriptor == listening for descriptor, _ in events):
            self._yielded = False  # another process has taken it
        return events

    def _connections(self) -> list[Connection]:
        return list(self._server.connections.values())

    def _accept(self) -> None:
        connections = self._connections()
        if self._yields(len(connections)):
            return
        if len(connections) >= self._limits.of_all and not _make_room(connections):
            self._pause("too many connections are open")
            return
        try:
            new, address = self._server.take_connection()
        except OSError as error:
            if error.errno in OUT_OF_RESOURCES:  # it would be tried again at once, and fail again
                self._pause(f"a connection cannot be taken: {error.strerror}")
            return  # another process has it, or the client is gone
        same = [one for one in connections if one.address == address[0] and one.connected]
        if len(same) >= self._limits.of(address[0]) and not _make_room(same):
            self._warn("too many connections of one address")
            _refuse(new)
            return
        self._open(new, address)

    def _yields(self, connections: int) -> bool:
        """Whether to leave a new connection, once and for a moment, to a process that has fewer."""
        self._yielded = not self._yielded and connections > 0
        if self._yielded:
            self._accepts_from = time.monotonic() + min(connections * _YIELD_SECONDS, _LONGEST_YIELD_SECONDS)
        return self._yielded

    def _open(self, new: socket, address: Any) -> None:
        try:
            self._server.open_connection(new, address)
        except OSError:  # the client is gone
            new.close()

    def _pause(self, problem: str) -> None:
        self._accepts_from = time.monotonic() + _PAUSE_SECONDS
        self._warn(problem)

    def _warn(self, problem: str) -> None:
        now = time.monotonic()
        if now - self._warned_at >= _WARNING_SECONDS:
            self._warned_at = now
            log.warning("%s; this is said once a minute", problem)

    def _leave(self, keeps_open: Callable[[Connection], bool]) -> None:
        server = self._server
        if not server.leaving:
            server.leaving = True
            server.stop_listening()
        server.close_silent()
        if not any(map(keeps_open, self._connections())):
            self._keeps_open = None
            self._left.put(0)


def _make_room(connections: Iterable[Connection]) -> bool:
    """Close the connection that was idle for longest, if that is 10 seconds; whether there was one."""
    idle = [(since, connection) for connection in connections if (since := connection.idle_since) is not None]
    since, longest = min(idle, key=lambda pair: pair[0], default=(0.0, None))
    if longest is None or time.monotonic() - since < _IDLE_SECONDS:
        return False
    longest.let_go()
    return True


def _refuse(new: socket) -> None:
    try:
        new.setblocking(False)
        new.send(_REFUSAL % (len(_DETAIL), _DETAIL))
    except OSError:  # the client is gone, or takes nothing
        pass
    finally:
        new.close()
