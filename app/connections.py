"""What a web process hears on its sockets: waitress' loop, of which the thread that leads makes one round at a time."""

import select
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from queue import SimpleQueue
from typing import Any

from waitress import wasyncore

from ahi.counters import Count, Tally
from app.crew import Crew

_LOOK_SECONDS = 5.0  # from one look at all connections to the next
_NOBODY_SECONDS = 30.0  # the longest that is listened where there is no connection to look at
_WAITING_SECONDS = 0.002  # of a new connection, for another process
_READ, _WRITE = select.POLLIN | select.POLLPRI, select.POLLOUT


@dataclass(frozen=True)
class Share:
    """How many connections this process has, one of so many, beside all others."""

    tally: Tally
    processes: int = 1

    def tell(self, connections: int) -> None:
        """It has so many now."""
        self.tally.set(Count.CLIENT_CONNECTIONS, connections)

    @property
    def is_more(self) -> bool:
        """Whether it has more than the others on average."""
        own = self.tally.get(Count.CLIENT_CONNECTIONS)
        return own * self.processes > self.tally.counters.total(Count.CLIENT_CONNECTIONS)


class Connections:
    """The sockets of a waitress server: the one that listens, those of its clients, and the one that wakes."""

    def __init__(self, server: Any, crew: Crew, look_seconds: float, share: Share) -> None:
        """All connections are looked at every `look_seconds`, or more often: who is too slow is let go."""
        self._share = share
        self._server = server
        self._crew = crew
        self._wake = server.pull_trigger
        server.pull_trigger = self.wake
        self._look_seconds = min(look_seconds, _LOOK_SECONDS)
        self._looked_at = time.monotonic()
        self._lets_wait = self._waited = False
        self._until: Callable[[Any], bool] | None = None
        self._gone: SimpleQueue[int] = SimpleQueue()

    def wake(self) -> None:
        """Have `listen` return. Who leads listens again anyway, and looks at all sockets before."""
        if not self._crew.leads:
            self._wake()

    def leave(self, until: Callable[[Any], bool], gone: "SimpleQueue[int]") -> None:
        """Take no new connections, and put 0 into `gone` when there is none any more of which `until` is true."""
        self._gone, self._until = gone, until
        self.wake()

    def listen(self) -> Callable[[], None]:
        """Wait until something happens; what is to be done about it."""
        poll, sockets = select.poll(), self._server._map
        for descriptor, one in list(sockets.items()):
            if one is self._server and self._lets_wait:
                continue
            flags = (_READ if one.readable() else 0) | (_WRITE if one.writable() and not one.accepting else 0)
            if flags:
                poll.register(descriptor, flags)
        seconds = self._look_seconds if self._server.active_channels else _NOBODY_SECONDS
        if self._lets_wait:
            seconds = _WAITING_SECONDS
        return partial(self._act, poll.poll(seconds * 1000))

    def _act(self, happened: list[tuple[int, int]]) -> None:
        server, sockets, lets_wait = self._server, self._server._map, False
        for descriptor, flags in happened:
            one = sockets.get(descriptor)
            if one is server and self._share.is_more and not self._waited:
                lets_wait = True  # for a moment: a process with fewer connections may take that one
            elif one is not None:
                wasyncore.readwrite(one, flags)
        self._lets_wait, self._waited = lets_wait, self._lets_wait
        self._share.tell(len(server.active_channels))
        now = time.monotonic()
        if now - self._looked_at > self._look_seconds:
            self._look(now)
        if self._until:
            self._leave(self._until)

    def _look(self, now: float) -> None:
        self._looked_at = now
        for channel in list(self._server.active_channels.values()):
            channel.look(now)

    def _leave(self, until: Callable[[Any], bool]) -> None:
        server = self._server
        if not server.leaving:
            server.leaving = True
            server.del_channel(server._map)
            server.socket.close()
        server.maintenance(time.time())  # closes those that are silent, which it does itself while it listens
        if not any(map(until, list(server.active_channels.values()))):
            self._until = None
            self._gone.put(0)
