"""The only module of the data store that imports waitress. Runs in the process of the data store."""

import socket
from typing import Any

from waitress.channel import ClientDisconnected
from waitress.server import TcpWSGIServer, create_server

__all__ = ["ClientDisconnected", "TcpWSGIServer", "make_wsgi_server"]

_MAX_CONNECTIONS = 1000
_RECEIVED_BYTES = 2**18
_IN_MEMORY_BYTES = 2**22  # of a body; a longer one is received into a file


def make_wsgi_server(application: Any, listener: socket.socket, threads: int) -> TcpWSGIServer:
    """A server of a WSGI application that is ready to `run` on a listening socket."""
    server = create_server(
        application, sockets=[listener], threads=threads, connection_limit=_MAX_CONNECTIONS, ident="datastore"
    )
    assert isinstance(server, TcpWSGIServer)  # noqa: S101 - of one socket it makes this
    server.adj.recv_bytes = _RECEIVED_BYTES
    server.adj.inbuf_overflow = _IN_MEMORY_BYTES
    server.adj.send_bytes = 1  # what is written goes out at once; a trickle would be gathered otherwise
    return server
