"""A web process: waitress on a listening socket, until SIGTERM; what is being answered then is finished.

On SIGHUP it leaves: others take new connections, and it ends when its own have ended, each with the answer under way.

Several processes accept from the one socket: whichever is awake first takes a connection, and one that died leaves
nothing behind that the others would not take.
"""

import logging
import signal
import socket
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from waitress import wasyncore
from waitress.server import create_server

from app.channel import Channel
from app.forwarded import Network
from app.refusals import Manner, client_of_request
from app.sending import with_pieces_sent
from app.turns import Bounds, FairDispatcher

log = logging.getLogger(__name__)

DRAIN_SECONDS = 7.0
_MAX_REQUEST_BYTES = 2**20
_HELD_BYTES = 2**21  # of an answer that its client does not take yet, beyond one chunk
_LARGEST_CHUNK_BYTES = 2**28  # below this nothing is written to a temporary file
_MAX_HEAD_BYTES = 32 * 2**10  # URL and headers; a search for a thousand UIDs fits
_LOOK_SECONDS = 5.0  # from one look at all connections to the next
_SILENT_SECONDS = 60  # a connection on which nothing moves is closed after that


@dataclass(frozen=True)
class Limits:
    """What clients may do to one process; `trusted` proxies tell who they are.

    `patience_seconds` is for a request to come in, and for an answer to make any progress.
    """

    of_client: int = 256
    of_all: int = 768
    patience_seconds: float = 60.0
    deadline_seconds: float = 3600.0
    trusted: Sequence[Network] = ()


def serve(
    app: Callable[..., Any],
    listening: socket.socket,
    *,
    threads: int,
    limits: Limits | None = None,
    manner: Manner | None = None,
) -> None:
    """Answer requests until SIGTERM, then those that are under way, for DRAIN_SECONDS at most; leave on SIGHUP.

    `manner` is how those are refused that do not reach the application.
    """
    limits = limits or Limits()
    channels: dict[int, Any] = {}
    dispatcher = _dispatcher(threads, limits)
    server: Any = create_server(
        with_pieces_sent(app),
        map=channels,
        _dispatcher=dispatcher,
        sockets=[listening],
        threads=threads,
        connection_limit=1000,
        max_request_body_size=_MAX_REQUEST_BYTES,
        max_request_header_size=_MAX_HEAD_BYTES,
        channel_timeout=_SILENT_SECONDS,
        ident=None,
        clear_untrusted_proxy_headers=False,  # app/forwarded.py knows whom to believe
        outbuf_high_watermark=_HELD_BYTES,
        outbuf_overflow=_LARGEST_CHUNK_BYTES,
    )
    patience = {"patience_seconds": limits.patience_seconds, "deadline_seconds": limits.deadline_seconds}
    server.channel_class = type("LimitedChannel", (Channel,), {**patience, "manner": manner or Manner()})
    server.leaving = False
    stopping: set[int] = set()

    def stop(number: int, _frame: Any) -> None:
        stopping.add(number)
        server.trigger.pull_trigger()  # wakes the loops below

    signal.signal(signal.SIGTERM, stop)
    signal.signal(signal.SIGHUP, stop)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGHUP})  # it may have come already
    look = _Look(server, min(_LOOK_SECONDS, limits.patience_seconds / 2))
    while not stopping:
        wasyncore.loop(
            timeout=look.every_seconds if server.active_channels else 30, use_poll=True, map=channels, count=1
        )
        look()
    server.del_channel(channels)  # no new connections
    server.socket.close()
    server.leaving = True
    while signal.SIGTERM not in stopping and server.active_channels:
        wasyncore.loop(timeout=1, use_poll=True, map=channels, count=1)
        server.maintenance(time.time())  # closes those that are silent, which the server did itself before
        look()
    _drain(server, channels)


class _Look:
    """A look at all connections, every so often: those that are too slow are let go."""

    def __init__(self, server: Any, every_seconds: float) -> None:
        self.every_seconds = every_seconds
        self._server = server
        self._last = time.monotonic()

    def __call__(self) -> None:
        now = time.monotonic()
        if now - self._last > self.every_seconds:
            self._last = now
            for channel in list(self._server.active_channels.values()):
                channel.look(now)


def _dispatcher(threads: int, limits: Limits) -> FairDispatcher:
    """Threads of which one client has three quarters at most, so that one is left for others where there are two."""

    def client(channel: Any) -> str:
        return client_of_request(channel, limits.trusted)

    dispatcher = FairDispatcher(Bounds(max(1, threads * 3 // 4), limits.of_client, limits.of_all), client)
    dispatcher.set_thread_count(threads)
    return dispatcher


def _drain(server: Any, channels: dict[int, Any]) -> None:
    deadline = time.monotonic() + DRAIN_SECONDS
    while time.monotonic() < deadline and any(_busy(channel) for channel in server.active_channels.values()):
        wasyncore.loop(timeout=0.1, use_poll=True, map=channels, count=1)
    server.task_dispatcher.shutdown(cancel_pending=True, timeout=0.5)


def _busy(channel: Any) -> bool:
    return bool(channel.requests or channel.total_outbufs_len)
