"""A web process: waitress on a listening socket, until SIGTERM; what is being answered then is finished.

On SIGHUP it leaves: others take new connections, and it ends when its own have ended, each with the answer under way.

Several processes accept from the one socket: whichever is awake first takes a connection, and one that died leaves
nothing behind that the others would not take.
"""

import signal
import socket
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from queue import Empty, SimpleQueue
from typing import Any

from waitress.server import create_server

from ahi.counters import Tally
from app.channel import Channel
from app.connections import Connections, Share
from app.crew import Crew
from app.forwarded import Network
from app.refusals import Manner, client_of_request
from app.sending import with_pieces_sent
from app.turns import Bounds

DRAIN_SECONDS = 7.0
_MAX_REQUEST_BYTES = 2**20
_HELD_BYTES = 2**21  # of an answer that its client does not take yet, beyond one chunk
_LARGEST_CHUNK_BYTES = 2**28  # below this nothing is written to a temporary file
_MAX_HEAD_BYTES = 32 * 2**10  # URL and headers; a search for a thousand UIDs fits
_SILENT_SECONDS = 60  # a connection on which nothing moves is closed after that
_SIGNALS = (signal.SIGTERM, signal.SIGHUP)


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
    share: Share | None = None,
) -> None:
    """Answer requests until SIGTERM, then those that are under way, for DRAIN_SECONDS at most; leave on SIGHUP.

    `manner` is how those are refused that do not reach the application.
    """
    said: SimpleQueue[int] = SimpleQueue()  # what the thread of the signals is to know
    for number in _SIGNALS:
        signal.signal(number, lambda number, _frame: said.put(number))
    signal.pthread_sigmask(signal.SIG_BLOCK, _SIGNALS)  # the threads of the crew are not interrupted
    limits, share = limits or Limits(), share or Share(Tally.alone())
    crew = _crew(threads, limits)
    server = _server(app, listening, threads, limits, crew)
    server.channel_class.manner = manner or Manner()
    connections = Connections(server, crew, limits.patience_seconds / 2, share)
    crew.start(connections)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, _SIGNALS)  # SIGHUP may have come already
    if said.get() == signal.SIGHUP:
        connections.leave(lambda _: True, said)
        said.get()
    connections.leave(_busy, said)
    with suppress(Empty):
        while said.get(timeout=DRAIN_SECONDS):  # a signal said twice
            pass
    crew.shutdown(timeout=0.5)


def _server(app: Callable[..., Any], listening: socket.socket, threads: int, limits: Limits, crew: Crew) -> Any:
    server: Any = create_server(
        with_pieces_sent(app),
        map={},
        _dispatcher=crew,  # type: ignore[arg-type]  # waitress only adds tasks to it
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
    server.channel_class = type("LimitedChannel", (Channel,), patience)
    server.leaving = False
    return server


def _crew(threads: int, limits: Limits) -> Crew:
    """Threads of which one client has three quarters at most, so that one is left for others where there are two."""

    def client(channel: Any) -> str:
        return client_of_request(channel, limits.trusted)

    return Crew(threads, Bounds(max(1, threads * 3 // 4), limits.of_client, limits.of_all), client)


def _busy(channel: Any) -> bool:
    return bool(channel.requests or channel.total_outbufs_len)
