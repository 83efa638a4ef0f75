"""What a web process hears on its sockets: waitress' loop, of which the thread that leads makes one round at a time."""

import select
import time
from collections.abc import Callable
from functools import partial
from queue import SimpleQueue
from typing import Any

from waitress import wasyncore

from app.crew import Crew

_LOOK_SECONDS = 5.0  # from one look at all connections to the next
_NOBODY_SECONDS = 30.0  # the longest that is listened where there is no connection to look at
_READ, _WRITE = select.POLLIN | select.POLLPRI, select.POLLOUT


class Connections:
    """The sockets of a waitress server: the one that listens, those of its clients, and the one that wakes."""

    def __init__(self, server: Any, crew: Crew, look_seconds: float) -> None:
        """All connections are looked at every `look_seconds`, or more often: who is too slow is let go."""
        self._server = server
        self._crew = crew
        self._wake = server.pull_trigger
        server.pull_trigger = self.wake
        self._look_seconds = min(look_seconds, _LOOK_SECONDS)
        self._looked_at = time.monotonic()
        self._let_wait = False
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
            flags = (_READ if one.readable() else 0) | (_WRITE if one.writable() and not one.accepting else 0)
            if flags:
                poll.register(descriptor, flags)
        seconds = self._look_seconds if self._server.active_channels else _NOBODY_SECONDS
        return partial(self._act, poll.poll(seconds * 1000))

    def _act(self, happened: list[tuple[int, int]]) -> None:
        sockets, let_wait = self._server._map, False
        for descriptor, flags in happened:
            one = sockets.get(descriptor)
            if one is self._server and len(happened) > 1 and not self._let_wait:
                let_wait = True  # once: a process that has nothing else to do may take that connection
            elif one is not None:
                wasyncore.readwrite(one, flags)
        self._let_wait = let_wait
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
