"""A web process: waitress on a listening socket, until SIGTERM. It finishes the answers under way.

One thread leads: it listens (`app.server.event_loop`) and answers, while a pool of threads stands by
(`app.server.worker_pool`). On SIGHUP the process leaves: other processes take new connections, and it ends when its own
connections have ended, each with the answer under way.

Several processes accept connections from one socket. The first that is awake takes a connection. A process that died
leaves nothing behind that the others would not take.
"""

import gc
import resource
import signal
import socket
import sys
import threading
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from queue import Empty, SimpleQueue

from app.networks import Network, is_in_networks
from app.server.connection import Connection
from app.server.event_loop import ConnectionLimits, EventLoop
from app.server.fair_queue import QueueLimits
from app.server.refusals import ErrorResponder, client_of_request
from app.server.request_parser import RequestParser
from app.server.sendfile import with_pieces_sent
from app.server.spool import Spool
from app.server.waitress_adapter import WebServer, WsgiApp
from app.server.worker_pool import WorkerPool
from runtime.heartbeat import Heartbeat
from runtime.leave_signal import block_signal, wait_to_leave

DRAIN_SECONDS = 6.0
_MAX_REQUEST_BYTES = 2**20
_MAX_UNSENT_BYTES = 2**21  # of an answer that its client does not take yet, beyond one chunk
_LARGEST_CHUNK_BYTES = 2**28  # waitress writes nothing below this to a temporary file
_MAX_HEAD_BYTES = 32 * 2**10  # URL and headers; a search for a thousand UIDs fits
_SILENT_SECONDS = 60  # a connection on which nothing moves is closed after that
_COLLECT = (50_000, 100, 100)
"""Thresholds of the garbage collector. With Python's own it goes through large results over and over while they are
made, and holds up all threads for that time. Few of our objects are cycles."""

_SWITCH_SECONDS = 0.001
"""The time that a thread computes while another one wants to. Python's 5 ms add up where many threads compute."""


@dataclass(frozen=True)
class ServerLimits:
    """The limits of one process: requests and connections of one client and of all, and times."""

    of_client: int = 256
    """The most requests of one client, waiting or being answered."""

    of_all: int = 768
    """The most requests of all clients."""

    connections_of_client: int = 256
    connections: int = 1000
    patience_seconds: float = 60.0
    """The longest time for a request to come in, and for an answer to make any progress."""

    deadline_seconds: float = 3600.0
    """The longest time for an answer."""

    trusted: Sequence[Network] = ()
    """Proxies that are believed which client they ask for."""

    live_paths: frozenset[str] = frozenset()
    """Paths that are answered while all threads wait. Their handlers must wait for nothing."""

    spool_folder: Path | None = None
    """The folder for answers that clients do not take; None for memory alone."""

    is_body_streamed: Callable[[str, str], bool] = lambda _method, _path: False
    """Whether the application reads the body of a request with this method and path itself, however long it is."""


def serve(
    app: WsgiApp,
    listening: socket.socket,
    *,
    threads: int,
    limits: ServerLimits | None = None,
    error_responder: ErrorResponder | None = None,
    heartbeat: Heartbeat | None = None,
    tell_connections: Callable[[int], None] = lambda _: None,
) -> None:
    """Answer requests until SIGTERM, then those that are under way, for DRAIN_SECONDS at most; leave on SIGHUP.

    `error_responder` answers requests that do not reach the application. `tell_connections` is called with the number
    of open connections, every 5 seconds at least; so is `heartbeat`.
    """
    signals: SimpleQueue[int] = SimpleQueue()  # signals that came, and 0 when the last connection has ended
    signal.signal(signal.SIGTERM, lambda number, _frame: signals.put(number))
    block_signal()
    signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGTERM])  # the threads started here are not interrupted
    sys.setswitchinterval(_SWITCH_SECONDS)
    gc.freeze()  # objects that exist now stay
    gc.set_threshold(*_COLLECT)
    limits, heartbeat = limits or ServerLimits(), heartbeat or Heartbeat.alone()
    pool = _pool(threads, limits, heartbeat)
    server = _server(app, listening, limits, error_responder or ErrorResponder(), pool)

    def on_round(connections: int) -> None:
        heartbeat.listened()
        tell_connections(connections)

    loop = EventLoop(server, _connection_limits(limits), limits.patience_seconds / 2, on_round)
    heartbeat.listened()  # from here on it is watched, and not only when the first round is over
    pool.start(loop)
    threading.Thread(target=_tell_when_to_leave, args=(signals,), name="leaving", daemon=True).start()
    signal.pthread_sigmask(signal.SIG_UNBLOCK, [signal.SIGTERM])
    if signals.get() == signal.SIGHUP:
        loop.leave(lambda _: True, signals)
        signals.get()
    loop.leave(lambda connection: connection.is_answering, signals)
    with suppress(Empty):
        while signals.get(timeout=DRAIN_SECONDS):  # a signal that came twice
            pass
    pool.shutdown(timeout=0.5)


def _tell_when_to_leave(signals: "SimpleQueue[int]") -> None:
    wait_to_leave()
    signals.put(signal.SIGHUP)


def _server(
    app: WsgiApp, listening: socket.socket, limits: ServerLimits, error_responder: ErrorResponder, pool: WorkerPool
) -> WebServer[Connection]:
    class LimitedRequest(RequestParser):
        is_body_streamed = staticmethod(limits.is_body_streamed)

    class LimitedConnection(Connection):
        parser_class = LimitedRequest
        patience_seconds = limits.patience_seconds
        deadline_seconds = limits.deadline_seconds
        spool = Spool(limits.spool_folder) if limits.spool_folder else None

    LimitedConnection.error_responder = error_responder
    return WebServer(
        with_pieces_sent(app),
        listening,
        LimitedConnection,
        pool,
        max_request_body_size=_MAX_REQUEST_BYTES,
        max_request_header_size=_MAX_HEAD_BYTES,
        channel_timeout=_SILENT_SECONDS,
        ident=None,
        log_socket_errors=False,  # with a traceback, although only a client is gone
        clear_untrusted_proxy_headers=False,  # app/middleware/forwarded.py knows whom to believe
        outbuf_high_watermark=_MAX_UNSENT_BYTES,
        outbuf_overflow=_LARGEST_CHUNK_BYTES,
    )


def _pool(threads: int, limits: ServerLimits, heartbeat: Heartbeat) -> WorkerPool:
    """A pool in which one client has three quarters of the threads at most: one is left for others if there are two."""

    def client(connection: Connection) -> str:
        return client_of_request(connection, limits.trusted)

    def runs_inline(connection: Connection) -> bool:
        request = connection.requests[0]
        return not request.error and request.command in ("GET", "HEAD") and request.path in limits.live_paths

    queue_limits = QueueLimits(max(1, threads * 3 // 4), limits.of_client, limits.of_all, runs_inline)
    return WorkerPool(threads, queue_limits, client, heartbeat)


def _connection_limits(limits: ServerLimits) -> ConnectionLimits:
    def is_proxy(address: str) -> bool:
        return is_in_networks(address, limits.trusted)

    most_files, _ = resource.getrlimit(resource.RLIMIT_NOFILE)  # half of them are for answers
    return ConnectionLimits(limits.connections_of_client, min(limits.connections, most_files // 2), is_proxy)
