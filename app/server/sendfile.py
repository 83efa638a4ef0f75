"""Files in answers: the kernel sends them, without a copy through Python.

waitress keeps the bytes of an answer in buffers, gets a piece of the first one and sends it. `FileBuffer` is a buffer
that gives a span of a file instead of bytes. `SendfileConnection` sends spans with sendfile(2).
"""

import errno
import logging
import os
import socket
from collections.abc import Callable, Iterable, Iterator
from typing import Any, NamedTuple

from werkzeug.wsgi import ClosingIterator

from app.server.waitress_adapter import BaseConnection, BaseFileBuffer, ClientDisconnected, WsgiApp
from dicomweb.errors import ProxyError
from runtime.file_piece import Chunk, FilePiece

log = logging.getLogger(__name__)

SENDS_FILES = "ahi_dicomweb.sends_files"
"""A key of the WSGI environment: the server takes FilePieces among the bytes of an answer."""

_UNREADABLE = frozenset({errno.EIO, errno.ESTALE})  # errors of a file, and not of a socket


def with_pieces_read(app: WsgiApp) -> WsgiApp:
    """Wrap the application for any server: pieces of files are read, unless the server takes them."""

    def wrapped(environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[Any]:
        body = app(environ, start_response)
        return body if SENDS_FILES in environ else _closing(map(bytes, body), body)

    return wrapped


def with_pieces_sent(app: WsgiApp) -> WsgiApp:
    """Wrap the application for waitress. Pieces are sent as files if the size of the answer is known, else read."""

    def wrapped(environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[Any]:
        answer_headers: dict[str, str] = {}

        def start(status: str, headers: list[tuple[str, str]], exc_info: Any = None) -> Any:
            answer_headers.update((name.lower(), value) for name, value in headers)
            return start_response(status, headers, exc_info)

        environ[SENDS_FILES] = True
        body = app(environ, start)
        chunks: Iterator[Any] = map(_sent if "content-length" in answer_headers else bytes, body)
        return _closing(_unless_cut(chunks, answer_headers.get("x-request-id")), body)

    return wrapped


def _closing(chunks: Iterator[Any], body: Iterable[Chunk]) -> Iterable[Any]:
    close = getattr(body, "close", None)
    return ClosingIterator(chunks, [close] if close else None)


def _unless_cut(chunks: Iterator[Any], request_id: str | None) -> Iterator[Any]:
    """Pass chunks on. An error on the way is logged here, and waitress closes the connection without a word."""
    fields = {"request": request_id}
    try:
        yield from chunks
    except ProxyError as error:
        log.error("answer cut short: %s", error, extra={"fields": fields})  # noqa: TRY400 - no mistake of ours
    except ClientDisconnected:
        raise
    except Exception:  # the status has been sent: the log has the traceback
        log.exception("answer cut short", extra={"fields": fields})
    else:
        return
    raise ClientDisconnected


def _sent(chunk: Chunk) -> Any:
    """The chunk in the form in which waitress takes it. A file that was cut short is read, which gets it again."""
    if isinstance(chunk, FilePiece):
        return FileBuffer(chunk) if chunk.is_there() else bytes(chunk)
    return chunk


class _Span(NamedTuple):
    piece: FilePiece
    offset: int
    length: int

    @property
    def descriptor(self) -> int:
        return self.piece.file.fileno()


class FileBuffer(BaseFileBuffer):
    """A piece of a file among the buffers of a connection."""

    def __init__(self, piece: FilePiece) -> None:
        super().__init__(len(piece))
        self._piece = piece
        self._offset = piece.start

    def get(self, numbytes: int = -1, skip: bool = False) -> Any:
        """All that is left: the kernel reads it."""
        return _Span(self._piece, self._offset, self.remain)

    def skip(self, numbytes: int, allow_prune: int = 0) -> None:
        """Leave out bytes that were sent."""
        self._offset += numbytes
        self.remain -= numbytes

    def close(self) -> None:
        """Close the file: all was sent, or the client is gone."""
        self._piece.file.close()
        self.remain = 0


class SendfileConnection(BaseConnection):
    """A connection that sends spans of files as well as bytes."""

    def send(self, data: Any, do_close: bool = True) -> int:
        """Send bytes or a span; the number of bytes that the socket took.

        If the client is gone or a file is not what it was, it takes none, and the loop closes the connection. Whoever
        flushes next then does not try it again.
        """
        to = self.socket  # another thread may close the connection meanwhile
        if self.will_close or to is None:
            return 0
        try:
            return self._send_span(to, data) if isinstance(data, _Span) else to.send(data)
        except BlockingIOError:
            return 0
        except OSError:  # of the network: the client is gone
            self.will_close = True
            return 0

    def _send_span(self, to: socket.socket, span: _Span) -> int:
        try:
            count = os.sendfile(to.fileno(), span.descriptor, span.offset, span.length)
        except OSError as error:
            if error.errno not in _UNREADABLE:
                raise
            count = 0
        if count == 0:
            log.error("answer cut short: a file of it cannot be read to its end")
            self.will_close = True
            span.piece.forget()
        return count
