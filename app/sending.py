"""Files go to the socket without a copy through Python: what waitress is told so that the kernel sends them.

waitress keeps the bytes of an answer in buffers, takes a piece from the first one and sends it. Here is a buffer that
is a piece of a file, gives a span instead of bytes, and a channel that sends spans with sendfile(2).
"""

import os
from collections.abc import Callable, Iterable
from typing import Any, NamedTuple, cast

from waitress.buffers import ReadOnlyFileBasedBuffer
from waitress.channel import HTTPChannel
from werkzeug.wsgi import ClosingIterator

from dicomweb.file_piece import Chunk, FilePiece

SENDS_FILES = "ahi_dicomweb.sends_files"
"""A key of the WSGI environment: the server takes FilePieces among the bytes of an answer."""

WsgiApp = Callable[[dict[str, Any], Callable[..., Any]], Iterable[Any]]


def with_pieces_read(app: WsgiApp) -> WsgiApp:
    """The application for any server: pieces of files are read, unless the server takes them."""

    def wrapped(environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[Any]:
        body = app(environ, start_response)
        return body if SENDS_FILES in environ else _each(bytes, body)

    return wrapped


def with_pieces_sent(app: WsgiApp) -> WsgiApp:
    """The application for waitress; where the size of an answer is not known, its pieces are read all the same."""

    def wrapped(environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[Any]:
        sized: list[bool] = []

        def start(status: str, headers: list[tuple[str, str]], exc_info: Any = None) -> Any:
            sized.append(any(name.lower() == "content-length" for name, _ in headers))
            return start_response(status, headers, exc_info)

        environ[SENDS_FILES] = True
        body = app(environ, start)
        return _each(_sent if sized[-1] else bytes, body)

    return wrapped


def _each(convert: Callable[[Chunk], Any], body: Iterable[Chunk]) -> Iterable[Any]:
    close = getattr(body, "close", None)
    return ClosingIterator(map(convert, body), [close] if close else None)


def _sent(chunk: Chunk) -> Any:
    return _FileBuffer(chunk) if isinstance(chunk, FilePiece) else chunk


class _Span(NamedTuple):
    descriptor: int
    offset: int
    length: int


class _FileBuffer(ReadOnlyFileBasedBuffer):
    """A piece of a file among the buffers of a channel."""

    def __init__(self, piece: FilePiece) -> None:
        self._piece = piece
        self._offset = piece.start
        self.remain = len(piece)

    def __getitem__(self, bounds: slice) -> "_FileBuffer":
        """What waitress does so that an answer has no more bytes than it announced."""
        self.remain = min(self.remain, bounds.stop)
        return self

    def get(self, numbytes: int = -1, skip: bool = False) -> Any:
        """All that is left: it costs nothing to name it."""
        return _Span(self._piece.file.fileno(), self._offset, self.remain)

    def skip(self, numbytes: int, allow_prune: int = 0) -> None:
        """So much was sent."""
        self._offset += numbytes
        self.remain -= numbytes

    def close(self) -> None:
        """All was sent, or the client is gone."""
        self._piece.file.close()
        self.remain = 0


class SendingChannel(HTTPChannel):
    """A connection that sends spans of files as well as bytes, and ends with its next answer when its server leaves."""

    def service(self) -> None:
        """Answer one request."""
        server, headers = cast(Any, self.server), cast(dict[str, str], self.requests[0].headers)
        if server.leaving:
            headers["CONNECTION"] = "close"  # as if the client had said so: it is told, too
        super().service()

    def send(self, data: Any, do_close: bool = True) -> int:
        """How many bytes the socket took; an error other than that the client is gone is the caller's."""
        if not isinstance(data, _Span) or self.socket is None:
            sent: int = super().send(data, do_close)
            return sent
        try:
            count = os.sendfile(self.socket.fileno(), data.descriptor, data.offset, data.length)
        except BlockingIOError:
            return 0
        except ConnectionError:
            if do_close:
                self.handle_close()
            return 0
        if count == 0:
            raise OSError("a cached file is shorter than it was")
        return count
