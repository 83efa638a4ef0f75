"""The loop of a web process: one thread listens to all connections, takes new ones, and lets go of those in the way.

It is waitress' loop with limits. Requests go to the threads of `app.server.worker_pool`; nothing here waits for
anything but sockets.
"""

import errno
import logging
import select
import time
from collections.abc import Callable
from dataclasses import dataclass
from queue import SimpleQueue
from typing import Any

from waitress import wasyncore

from runtime.memory import Trimmer

log = logging.getLogger(__name__)

_ROUND_SECONDS = 5.0  # the longest that is waited for something to happen, and from one look at all to the next
_IDLE_SECONDS = 10.0  # a connection on which nothing moved for so long makes room where others need it
_PAUSE_SECONDS = 0.5  # until connections are taken again after one could not be
_MOMENT_SECONDS = 0.0002  # so long for each connection that it has, a process leaves a new one to the others
_LONGEST_MOMENT_SECONDS = 0.002
_SAID_SECONDS = 60.0  # from one line in the log about that to the next
_READ, _WRITE = select.POLLIN | select.POLLPRI, select.POLLOUT
OUT_OF_RESOURCES = frozenset({errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM})
"""What the system says where a process, or all of them, have as many files open as they may, or no memory."""

_REFUSAL = (
    b"HTTP/1.1 503 Service Unavailable\r\nConnection: close\r\nRetry-After: 5\r\n"
    b"Content-Type: application/problem+json\r\nContent-Length: %d\r\n\r\n%b"
)
_DETAIL = b'{"type":"about:blank","title":"Service Unavailable","status":503,"detail":"too many connections are open"}'


@dataclass(frozen=True)
class ConnectionLimits:
    """Connections of one process: of one address, and of all. A trusted proxy may have three quarters of all."""

    of_address: int
    of_all: int
    is_proxy: Callable[[str], bool] = lambda _: False

    def of(self, address: str) -> int:
        """The most that this address may have."""
        return self.of_all * 3 // 4 if self.is_proxy(address) else min(self.of_address, self.of_all)


class EventLoop:
    """The sockets of a waitress server: the one that listens, those of its clients, and the one that wakes the loop."""

    def __init__(
        self, server: Any, limits: ConnectionLimits, round_seconds: float, on_round: Callable[[int], None]
    ) -> None:
        """`on_round` is told the number of connections each time the loop goes round.

        The loop goes round every `round_seconds`, which are 5 at most, and whenever something happens.
        """
        self._server = server
        self._limits = limits
        self._on_round = on_round
        self._round_seconds = min(round_seconds, _ROUND_SECONDS)
        self._looked_at = time.monotonic()
        self._trim = Trimmer()
        self._polls = False
        self._left = False  # a connection that came in, to other processes
        server.pull_trigger = self.wake
        self._accepts_from = 0.0
        self._said_at = -_SAID_SECONDS
        self._leaves: Callable[[Any], bool] | None = None
        self._gone: SimpleQueue[int] = SimpleQueue()

    def leave(self, until: Callable[[Any], bool], gone: "SimpleQueue[int]") -> None:
        """Take no new connections, and put 0 into `gone` when there is none any more of which `until` is true."""
        self._gone, self._leaves = gone, until
        self._server.pull_trigger()

    def listen(self, *, wait: bool) -> None:
        """Wait until something happens on any connection, if `wait`, and see to it. One thread at a time calls this."""
        try:
            self._round(wait)
        except Exception:
            log.exception("connections could not be listened to")
            time.sleep(_PAUSE_SECONDS)

    def wake(self) -> None:
        """Have `listen` return, if it waits, or take what has changed into account; from any thread."""
        if self._polls:
            self._server.trigger.pull_trigger()

    def _round(self, wait: bool) -> None:
        happened = self._poll(self._round_seconds if wait else 0.0)
        self._on_round(len(self._server.active_channels))
        for descriptor, flags in happened:
            one = self._server._map.get(descriptor)
            if one is self._server:
                self._accept()
            elif one is not None:
                wasyncore.readwrite(one, flags)
        now = time.monotonic()
        if now - self._looked_at >= self._round_seconds:
            self._looked_at = now
            for channel in self._channels():
                channel.enforce_timeouts(now)
            self._server.maintenance(time.time())
            self._trim()
        if self._leaves:
            self._leave(self._leaves)

    def _poll(self, seconds: float) -> list[tuple[int, int]]:
        poll = select.poll()
        self._polls = True  # from here on, what changes must wake it
        accepts_in, listening = self._accepts_from - time.monotonic(), -1
        for descriptor, one in list(self._server._map.items()):
            if one is self._server:
                if accepts_in > 0:
                    seconds = min(seconds, accepts_in)
                    continue
                listening, flags = descriptor, _READ
            else:
                flags = (_READ if one.readable() else 0) | (_WRITE if one.writable() else 0)
            if flags:
                poll.register(descriptor, flags)
        try:
            happened = poll.poll(seconds * 1000)
        finally:
            self._polls = False
        if accepts_in <= 0 and not any(descriptor == listening for descriptor, _ in happened):
            self._left = False  # another process has taken it
        return happened

    def _channels(self) -> list[Any]:
        return list(self._server.active_channels.values())

    def _accept(self) -> None:
        channels = self._channels()
        if self._leaves_it_to_others(len(channels)):
            return
        if len(channels) >= self._limits.of_all and not _make_room(channels):
            self._pause("too many connections are open")
            return
        try:
            connection, address = self._server.socket.accept()
        except OSError as error:
            if error.errno in OUT_OF_RESOURCES:  # it would be tried again at once, and fail again
                self._pause(f"a connection cannot be taken: {error.strerror}")
            return  # another process has it, or it is gone
        same = [channel for channel in channels if channel.addr[0] == address[0] and channel.connected]
        if len(same) >= self._limits.of(address[0]) and not _make_room(same):
            self._say("too many connections of one address")
            _refuse(connection)
            return
        self._open(connection, address)

    def _leaves_it_to_others(self, connections: int) -> bool:
        """Whether a process with fewer connections may take this one; it is left to the others once."""
        self._left = not self._left and connections > 0
        if self._left:
            self._accepts_from = time.monotonic() + min(connections * _MOMENT_SECONDS, _LONGEST_MOMENT_SECONDS)
        return self._left

    def _open(self, connection: Any, address: Any) -> None:
        server = self._server
        try:
            server.set_socket_options(connection)
            server.channel_class(server, connection, address, server.adj, map=server._map)
        except OSError:  # it is gone
            connection.close()

    def _pause(self, why: str) -> None:
        self._accepts_from = time.monotonic() + _PAUSE_SECONDS
        self._say(why)

    def _say(self, what: str) -> None:
        now = time.monotonic()
        if now - self._said_at >= _SAID_SECONDS:
            self._said_at = now
            log.warning("%s; this is said once a minute", what)

    def _leave(self, until: Callable[[Any], bool]) -> None:
        server = self._server
        if not server.leaving:
            server.leaving = True
            server.del_channel(server._map)
            server.socket.close()
        server.maintenance(time.time())  # closes those that are silent
        if not any(map(until, self._channels())):
            self._leaves = None
            self._gone.put(0)


def _make_room(channels: list[Any]) -> bool:
    """Let go of the connection on which nothing has moved for longest, if that is 10 seconds; whether there was one."""
    idle = [(since, channel) for channel in channels if (since := channel.idle_since) is not None]
    since, longest = min(idle, key=lambda pair: pair[0], default=(0.0, None))
    if longest is None or time.monotonic() - since < _IDLE_SECONDS:
        return False
    longest.let_go()
    return True


def _refuse(connection: Any) -> None:
    try:
        connection.setblocking(False)
        connection.send(_REFUSAL % (len(_DETAIL), _DETAIL))
    except OSError:  # it is gone, or takes nothing
        pass
    finally:
        connection.close()
