"""The data store as a server on a loopback socket."""

import signal
import socket
import sys
from types import FrameType

from datastore.pixels.layout import FRAME_BYTES
from datastore.serving.faults import Faults
from datastore.serving.routes import create_app
from datastore.serving.waitress_adapter import TcpWSGIServer, make_wsgi_server
from datastore.storage.storage import Storage

THREADS = 64  # injected latency sleeps in them


def listen(port: int = 0) -> socket.socket:
    """A socket that listens on loopback, on any free port unless one is named; OSError when it is taken."""
    return socket.create_server(("127.0.0.1", port), backlog=256)


def make_server(
    storage: Storage,
    faults: Faults,
    listener: socket.socket,
    *,
    signature_needed: bool = False,
    frame_bytes: int = FRAME_BYTES,
) -> TcpWSGIServer:
    """A server that is ready to `run` on a listening socket."""
    application = create_app(storage, faults, signature_needed=signature_needed, frame_bytes=frame_bytes)
    return make_wsgi_server(application, listener, THREADS)


def serve(
    storage: Storage,
    faults: Faults,
    listener: socket.socket,
    *,
    signature_needed: bool = False,
    frame_bytes: int = FRAME_BYTES,
) -> None:
    """Answer on a listening socket until SIGTERM, which ends it after what is being answered; main thread only."""
    server = make_server(storage, faults, listener, signature_needed=signature_needed, frame_bytes=frame_bytes)
    signal.signal(signal.SIGTERM, _exit)
    try:
        server.run()
    finally:
        server.close()


def _exit(_signal: int, _frame: FrameType | None) -> None:
    sys.exit()
