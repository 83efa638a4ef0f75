"""Files go to the socket without a copy through Python: what waitress is told so that the kernel sends them.

waitress keeps the bytes of an answer in buffers, takes a piece from the first one and sends it. Here is a buffer that
is a piece of a file, gives a span instead of bytes, and a channel that sends spans with sendfile(2).
"""

import errno
import logging
import os
from collections.abc import Callable, Iterable, Iterator
from typing import Any, NamedTuple

from waitress.buffers import ReadOnlyFileBasedBuffer
from waitress.channel import ClientDisconnected, HTTPChannel
from waitress.task import WSGITask
from werkzeug.wsgi import ClosingIterator

from dicomweb.errors import ProxyError
from runtime.file_piece import Chunk, FilePiece

log = logging.getLogger(__name__)

SENDS_FILES = "ahi_dicomweb.sends_files"
"""A key of the WSGI environment: the server takes FilePieces among the bytes of an answer."""

_SMALL_BYTES = 2**16  # as much is copied rather than sent by itself
_UNREADABLE = frozenset({errno.EIO, errno.ESTALE})  # what is wrong with a file, and not with a socket

WsgiApp = Callable[[dict[str, Any], Callable[..., Any]], Iterable[Any]]


def with_pieces_read(app: WsgiApp) -> WsgiApp:
    """The application for any server: pieces of files are read, unless the server takes them."""

    def wrapped(environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[Any]:
        body = app(environ, start_response)
        return body if SENDS_FILES in environ else _closing(map(bytes, body), body)

    return wrapped


def with_pieces_sent(app: WsgiApp) -> WsgiApp:
    """The application for waitress; where the size of an answer is not known, its pieces are read all the same."""

    def wrapped(environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[Any]:
        told: dict[str, str] = {}

        def start(status: str, headers: list[tuple[str, str]], exc_info: Any = None) -> Any:
            told.update((name.lower(), value) for name, value in headers)
            return start_response(status, headers, exc_info)

        environ[SENDS_FILES] = True
        body = app(environ, start)
        chunks: Iterator[Any] = map(_sent if "content-length" in told else bytes, body)
        return _closing(_unless_cut(chunks, told.get("x-request-id")), body)

    return wrapped


def _closing(chunks: Iterator[Any], body: Iterable[Chunk]) -> Iterable[Any]:
    close = getattr(body, "close", None)
    return ClosingIterator(chunks, [close] if close else None)


def _unless_cut(chunks: Iterator[Any], request_id: str | None) -> Iterator[Any]:
    """The same, but what fails on the way is told here, and waitress only that it is to close the connection."""
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
    """A piece of a file as it is sent; one that is cut short by now is read, which gets it again."""
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


class FileBuffer(ReadOnlyFileBasedBuffer):
    """A piece of a file among the buffers of a channel."""

    def __init__(self, piece: FilePiece) -> None:
        self._piece = piece
        self._offset = piece.start
        self.remain = len(piece)

    def __getitem__(self, bounds: slice) -> "FileBuffer":
        """What waitress does so that an answer has no more bytes than it announced."""
        self.remain = min(self.remain, bounds.stop)
        return self

    def get(self, numbytes: int = -1, skip: bool = False) -> Any:
        """All that is left: it costs nothing to name it."""
        return _Span(self._piece, self._offset, self.remain)

    def skip(self, numbytes: int, allow_prune: int = 0) -> None:
        """So much was sent."""
        self._offset += numbytes
        self.remain -= numbytes

    def close(self) -> None:
        """All was sent, or the client is gone."""
        self._piece.file.close()
        self.remain = 0


class _Task(WSGITask):
    """An answer whose head goes with its first bytes.

    That to HEAD has no body, so that it has no last chunk either (RFC 9112 Section 6.3).
    """

    channel: Any
    wrote_header: bool

    def write(self, data: Any) -> None:
        if data and not self.wrote_header:
            self.channel.head, self.wrote_header = self.build_response_header(), True
        super().write(data)

    def build_response_header(self) -> Any:
        head = super().build_response_header()
        request: Any = self.request
        if request.command == "HEAD":
            self.chunked_response = False
        return head


class SendfileChannel(HTTPChannel):
    """A connection that sends spans of files as well as bytes."""

    task_class = _Task
    head = b""
    """That of an answer whose first bytes come next."""

    socket: Any
    will_close: bool

    def write_soon(self, data: Any) -> int:
        """Take bytes, or a piece of a file, to be sent."""
        head, self.head = self.head, b""
        if head and not (isinstance(data, bytes) and len(data) < _SMALL_BYTES):
            super().write_soon(head)
        elif head:
            data = head + data
        taken: int = super().write_soon(data)
        return taken

    def send(self, data: Any, do_close: bool = True) -> int:
        """How many bytes the socket took.

        None are sent, and the loop is told to close the connection, where the client is gone or a file is not what it
        was. Whoever flushes next then does not try it again.
        """
        if self.will_close:
            return 0
        try:
            if not isinstance(data, _Span) or self.socket is None:
                sent: int = super().send(data, do_close)
                return sent
            return self._send_span(data)
        except BlockingIOError:
            return 0
        except OSError:  # of the network: the client is gone
            self.will_close = True
            return 0

    def _send_span(self, span: _Span) -> int:
        try:
            count = os.sendfile(self.socket.fileno(), span.descriptor, span.offset, span.length)
        except OSError as error:
            if error.errno not in _UNREADABLE:
                raise
            count = 0
        if count == 0:
            log.error("answer cut short: a file of it cannot be read to its end")
            self.will_close = True
            span.piece.forget()
        return count
