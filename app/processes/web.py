"""A web process: waitress on a listening socket, until SIGTERM; what is being answered then is finished.

One thread listens (`app.server.event_loop`), a pool of threads answers (`app.server.worker_pool`). On SIGHUP the
process leaves: others take new connections, and it ends when its own have ended, each with the answer under way.

Several processes accept from the one socket: whichever is awake first takes a connection, and one that died leaves
nothing behind that the others would not take.
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
from typing import Any

from waitress.server import create_server

from app.networks import Network, is_in_networks
from app.server.connection import Connection
from app.server.event_loop import ConnectionLimits, EventLoop
from app.server.fair_queue import QueueLimits
from app.server.refusals import ErrorResponder, client_of_request
from app.server.sendfile import with_pieces_sent
from app.server.spool import Spool
from app.server.worker_pool import WorkerPool
from runtime.heartbeat import Heartbeat
from runtime.leave_signal import block_signal, wait_to_leave

DRAIN_SECONDS = 6.0
_MAX_REQUEST_BYTES = 2**20
_HELD_BYTES = 2**21  # of an answer that its client does not take yet, beyond one chunk
_LARGEST_CHUNK_BYTES = 2**28  # below this nothing is written to a temporary file
_MAX_HEAD_BYTES = 32 * 2**10  # URL and headers; a search for a thousand UIDs fits
_SILENT_SECONDS = 60  # a connection on which nothing moves is closed after that
_COLLECT = (50_000, 100, 100)
"""Thresholds of the garbage collector: with Python's, it goes through all large results that are being made, over and
over, and holds up everybody for that time. Few of our objects are cycles."""

_SWITCH_SECONDS = 0.001
"""How long a thread computes while another one wants to: Python's 5 ms add up where many threads compute."""


@dataclass(frozen=True)
class ServerLimits:
    """What clients may do to one process; `trusted` proxies tell who they are.

    `patience_seconds` is for a request to come in, and for an answer to make any progress.
    """

    of_client: int = 256
    of_all: int = 768
    connections_of_client: int = 256
    connections: int = 1000
    patience_seconds: float = 60.0
    deadline_seconds: float = 3600.0
    trusted: Sequence[Network] = ()
    live_paths: frozenset[str] = frozenset()
    """Paths that are answered while all threads wait: what is asked there must wait for nothing."""

    spool_folder: Path | None = None
    """Where answers are put that clients do not take; None for memory alone."""


def serve(
    app: Callable[..., Any],
    listening: socket.socket,
    *,
    threads: int,
    limits: ServerLimits | None = None,
    error_responder: ErrorResponder | None = None,
    heartbeat: Heartbeat | None = None,
    tell_connections: Callable[[int], None] = lambda _: None,
) -> None:
    """Answer requests until SIGTERM, then those that are under way, for DRAIN_SECONDS at most; leave on SIGHUP.

    `error_responder` refuses requests that do not reach the application. `tell_connections` is told how many
    connections are open, every 5 seconds at least; `heartbeat` beats.
    """
    said: SimpleQueue[int] = SimpleQueue()  # what the thread of the signals is to know
    signal.signal(signal.SIGTERM, lambda number, _frame: said.put(number))
    block_signal()
    signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGTERM])  # the threads started here are not interrupted
    sys.setswitchinterval(_SWITCH_SECONDS)
    gc.freeze()  # what is there now stays
    gc.set_threshold(*_COLLECT)
    limits, heartbeat = limits or ServerLimits(), heartbeat or Heartbeat.alone()
    pool = _pool(threads, limits, heartbeat)
    server = _server(app, listening, threads, limits, pool)
    server.channel_class.error_responder = error_responder or ErrorResponder()

    def on_round(connections: int) -> None:
        heartbeat.listened()
        tell_connections(connections)

    connections = EventLoop(server, _connection_limits(limits), limits.patience_seconds / 2, on_round)
    heartbeat.listened()  # from here on it is watched, and not only when the first round is over
    pool.start(connections)
    threading.Thread(target=_tell_when_to_leave, args=(said,), name="leaving", daemon=True).start()
    signal.pthread_sigmask(signal.SIG_UNBLOCK, [signal.SIGTERM])
    if said.get() == signal.SIGHUP:
        connections.leave(lambda _: True, said)
        said.get()
    connections.leave(_busy, said)
    with suppress(Empty):
        while said.get(timeout=DRAIN_SECONDS):  # a signal said twice
            pass
    pool.shutdown(timeout=0.5)


def _tell_when_to_leave(said: "SimpleQueue[int]") -> None:
    wait_to_leave()
    said.put(signal.SIGHUP)


def _server(
    app: Callable[..., Any], listening: socket.socket, threads: int, limits: ServerLimits, pool: WorkerPool
) -> Any:
    server: Any = create_server(
        with_pieces_sent(app),
        map={},
        _dispatcher=pool,  # type: ignore[arg-type]  # waitress only adds tasks to it
        sockets=[listening],
        threads=threads,
        max_request_body_size=_MAX_REQUEST_BYTES,
        max_request_header_size=_MAX_HEAD_BYTES,
        channel_timeout=_SILENT_SECONDS,
        ident=None,
        log_socket_errors=False,  # with a traceback, although only a client is gone
        clear_untrusted_proxy_headers=False,  # app/middleware/forwarded.py knows whom to believe
        outbuf_high_watermark=_HELD_BYTES,
        outbuf_overflow=_LARGEST_CHUNK_BYTES,
    )
    patience = {"patience_seconds": limits.patience_seconds, "deadline_seconds": limits.deadline_seconds}
    spool = Spool(limits.spool_folder) if limits.spool_folder else None
    server.channel_class = type("LimitedChannel", (Connection,), {**patience, "spool": spool})
    server.leaving = False
    return server


def _pool(threads: int, limits: ServerLimits, heartbeat: Heartbeat) -> WorkerPool:
    """Threads of which one client has three quarters at most, so that one is left for others where there are two."""

    def client(channel: Any) -> str:
        return client_of_request(channel, limits.trusted)

    def is_brief(channel: Any) -> bool:
        request = channel.requests[0]
        return not request.error and request.command in ("GET", "HEAD") and request.path in limits.live_paths

    queue_limits = QueueLimits(max(1, threads * 3 // 4), limits.of_client, limits.of_all, is_brief)
    return WorkerPool(threads, queue_limits, client, heartbeat)


def _connection_limits(limits: ServerLimits) -> ConnectionLimits:
    def is_proxy(address: str) -> bool:
        return is_in_networks(address, limits.trusted)

    most_files, _ = resource.getrlimit(resource.RLIMIT_NOFILE)  # half of them are for what answers need
    return ConnectionLimits(limits.connections_of_client, min(limits.connections, most_files // 2), is_proxy)


def _busy(channel: Any) -> bool:
    return bool(channel.requests or channel.total_outbufs_len)
