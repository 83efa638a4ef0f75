"""A web process: waitress on a listening socket, until SIGTERM; what is being answered then is finished.

On SIGHUP it leaves: others take new connections, and it ends when its own have ended, each with the answer under way.

Several processes accept from the one socket: whichever is awake first takes a connection, and one that died leaves
nothing behind that the others would not take.
"""

import logging
import signal
import socket
import time
from collections.abc import Callable
from typing import Any

from waitress import wasyncore
from waitress.server import create_server

from app.sending import SendingChannel, with_pieces_sent

log = logging.getLogger(__name__)

DRAIN_SECONDS = 7.0
_MAX_REQUEST_BYTES = 2**20
_HELD_BYTES = 2**21  # of an answer that its client does not take yet, beyond one chunk
_LARGEST_CHUNK_BYTES = 2**28  # below this nothing is written to a temporary file
_MAX_HEAD_BYTES = 32 * 2**10  # URL and headers; a search for a thousand UIDs fits
_SILENT_SECONDS = 60  # a connection on which nothing moves is closed after that


def serve(app: Callable[..., Any], listening: socket.socket, *, threads: int) -> None:
    """Answer requests until SIGTERM, then those that are under way, for DRAIN_SECONDS at most; leave on SIGHUP."""
    channels: dict[int, Any] = {}
    server: Any = create_server(
        with_pieces_sent(app),
        map=channels,
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
    server.channel_class = SendingChannel
    server.leaving = False
    stopping: set[int] = set()

    def stop(number: int, _frame: Any) -> None:
        stopping.add(number)
        server.trigger.pull_trigger()  # wakes the loops below

    signal.signal(signal.SIGTERM, stop)
    signal.signal(signal.SIGHUP, stop)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGHUP})  # it may have come already
    while not stopping:
        wasyncore.loop(timeout=30, use_poll=True, map=channels, count=1)
    server.del_channel(channels)  # no new connections
    server.socket.close()
    server.leaving = True
    while signal.SIGTERM not in stopping and server.active_channels:
        wasyncore.loop(timeout=1, use_poll=True, map=channels, count=1)
        server.maintenance(time.time())  # closes those that are silent, which the server did itself before
    _drain(server, channels)


def _drain(server: Any, channels: dict[int, Any]) -> None:
    deadline = time.monotonic() + DRAIN_SECONDS
    while time.monotonic() < deadline and any(_busy(channel) for channel in server.active_channels.values()):
        wasyncore.loop(timeout=0.1, use_poll=True, map=channels, count=1)
    server.task_dispatcher.shutdown(cancel_pending=True, timeout=0.5)


def _busy(channel: Any) -> bool:
    return bool(channel.requests or channel.total_outbufs_len)
