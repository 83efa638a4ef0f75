"""The only module that imports waitress: typed names for the parts of it that the web processes use.

waitress documents a function that serves. The web processes need more: a loop and threads of their own, requests that
are checked before waitress reads them, files that the kernel sends, and limits. So the classes here extend classes of
waitress that may change in any release. `tests/app/server/test_waitress_adapter.py` lists every part that they rely on,
each with its reason; requirements.txt pins the version.
"""

import socket
import time
from collections.abc import Callable, Iterable, Mapping
from contextlib import AbstractContextManager
from http import HTTPStatus
from typing import Any, Generic, Protocol, TypeVar

from waitress.adjustments import Adjustments
from waitress.buffers import OverflowableBuffer, ReadOnlyFileBasedBuffer
from waitress.channel import ClientDisconnected, HTTPChannel
from waitress.parser import HTTPRequestParser
from waitress.receiver import ChunkedReceiver
from waitress.server import TcpWSGIServer
from waitress.task import ErrorTask, WSGITask
from waitress.utilities import BadRequest, RequestEntityTooLarge
from waitress.utilities import Error as HttpError
from waitress.wasyncore import readwrite

__all__ = ["ClientDisconnected", "HttpError", "MemoryBuffer", "handle_events"]

MemoryBuffer = OverflowableBuffer
"""Bytes of an answer that waitress holds in memory; it makes such buffers itself."""

WsgiApp = Callable[[dict[str, Any], Callable[..., Any]], Iterable[Any]]

_LONGEST_CONTROL_BYTES = 1024
_SMALL_BYTES = 2**16  # the head of an answer is copied in front of fewer bytes, and sent by itself before more


class BodyStream(Protocol):
    """The body of a request that the application reads from the socket."""

    @property
    def at_end(self) -> bool:
        """Whether the next byte of the connection begins another request."""

    def read(self, size: int) -> bytes:
        """The next bytes; b"" at the end."""

    def drain(self) -> None:
        """Drop what the client still sends."""

    def close(self) -> None:
        """Free what it holds."""


class MalformedUrl(Exception):
    """The URL of a request cannot be taken apart, for example because of an address in brackets."""


class BaseRequest(HTTPRequestParser):
    """A request as it comes in. A subclass overrides `received` and hands whole heads to `read_head`.

    `is_streamed`: it is answered when its head is there, and `stream` is its body, which the application reads. It has
    `body_bytes`, None if it is in chunks.
    """

    command: str  # type: ignore[assignment]  # the stubs take it for bytes
    path: str
    headers: dict[str, str]

    def __init__(self, adjustments: Adjustments) -> None:
        super().__init__(adjustments)
        self.began = time.monotonic()
        self.command = self.path = ""
        self.is_streamed = self.awaits_invitation = False
        self.stream: BodyStream | None = None
        self.body_bytes: int | None = None

    @property
    def max_head_bytes(self) -> int:
        """The most bytes that URL and headers may have."""
        limit: int = self.adj.max_request_header_size
        return limit

    def read_head(self, head: bytes) -> None:
        """Have waitress parse a head that is whole and in order; MalformedUrl where urllib does not take the URL."""
        try:
            super().received(head)
        except ValueError:
            raise MalformedUrl from None
        if self.chunked:
            self.body_rcv = _BoundedChunks(OverflowableBuffer(self.adj.inbuf_overflow))
        if not self.error and self.version == "1.1":  # waitress knows the one word, but not a list of them
            expected = self.headers.get("EXPECT", "").lower().split(",")
            self.expect_continue = "100-continue" in (word.strip() for word in expected)
        if self.completed:
            self.expect_continue = False  # no body is to come, or none is wanted: this is answered at once

    def leave_body(self) -> None:
        """Leave the body, if there is one, on the socket; the limit of other bodies does not hold for it."""
        if isinstance(self.error, RequestEntityTooLarge):
            self.error = None
        if self.error or not (self.chunked or self.content_length):
            return
        if self.chunked:
            self.headers["TRANSFER_ENCODING"] = "chunked"  # waitress takes it out, as it would know the length
        self.body_rcv, self.body_bytes = None, None if self.chunked else self.content_length
        self.awaits_invitation, self.expect_continue = self.expect_continue, False
        self.is_streamed = self.completed = True

    def get_body_stream(self) -> Any:
        """The body, for the application."""
        return self.stream or super().get_body_stream()

    def close(self) -> None:
        """Free what the body takes."""
        if self.stream:
            self.stream.close()
        super().close()

    def read_body(self, data: bytes) -> int:
        """The number of bytes that were taken."""
        return super().received(data)

    def end_in_body(self, error: HttpError) -> None:
        """Make it a request that has ended, and is answered with this error."""
        self.error, self.completed = error, True

    def end_in_head(self, error: HttpError, headers: Mapping[str, str]) -> None:
        """End a request whose head is not known, apart from these headers."""
        self.headers.clear()
        self.headers.update(headers)
        self.command = self.path = ""
        self.error, self.expect_continue = error, False
        self.completed = self.headers_finished = True

    def give_up(self) -> None:
        """End a request that does not come to its end."""
        raise NotImplementedError


class _BoundedChunks(ChunkedReceiver):
    """A chunked body (RFC 9112 Section 7.1). Lines have a bound, as waitress scans one again whenever more comes."""

    def received(self, data: bytes) -> int:
        """The number of bytes that were taken."""
        taken = super().received(data)
        if max(len(self.control_line), len(self.trailer)) > _LONGEST_CONTROL_BYTES and not self.completed:
            self.error = BadRequest("a chunk begins with too long a line, or too long a trailer follows")
        return taken


class BaseFileBuffer(ReadOnlyFileBasedBuffer):
    """A part of an answer that waitress does not read: what `get` returns is handed to `send` of the connection."""

    def __init__(self, size_bytes: int) -> None:
        self.remain = size_bytes

    def __getitem__(self, bounds: slice) -> "BaseFileBuffer":
        """Shorten the buffer: waitress does so if an answer has more bytes than it announced."""
        self.remain = min(self.remain, bounds.stop)
        return self

    def get(self, numbytes: int = -1, skip: bool = False) -> Any:
        """The part that is left, in the form that `send` takes."""
        raise NotImplementedError


class _AnswerTask(WSGITask):
    """An answer of the application. Its head goes with its first bytes.

    An answer to HEAD has no body, so it has no last chunk either (RFC 9112 Section 6.3).
    """

    channel: "BaseConnection"
    request: BaseRequest  # type: ignore[assignment]  # the stubs take it for an error

    def write(self, data: "bytes | BaseFileBuffer") -> None:
        if data and not self.wrote_header:
            self.channel.head, self.wrote_header = self.build_response_header(), True
        super().write(data)  # type: ignore[arg-type]  # buffers pass through

    def build_response_header(self) -> bytes:
        if self._leaves_body:
            self.request.headers["CONNECTION"] = "close"
        head = super().build_response_header()
        if self.request.command == "HEAD":
            self.chunked_response = False
        return head

    def finish(self) -> None:
        super().finish()
        if self.request.stream and self._leaves_body:
            self.channel.linger(self.request.stream)

    @property
    def _leaves_body(self) -> bool:
        return self.request.stream is not None and not self.request.stream.at_end


class BaseRefusalTask(ErrorTask):
    """An answer to a request that has an error. A subclass overrides `execute` and calls `respond`."""

    channel: "BaseConnection"
    request: BaseRequest  # type: ignore[assignment]  # the stubs take it for an error

    def respond(self, status: HTTPStatus, headers: Mapping[str, str], body: bytes) -> None:
        """Write the answer, without `body` for a HEAD request. The connection is closed afterwards."""
        self.status = f"{status.value} {status.phrase}"
        self.response_headers = [*headers.items()]
        self.set_close_on_finish()
        self.content_length = len(body)
        self.write(b"" if self.request.command == "HEAD" else body)


class BaseConnection(HTTPChannel):
    """A connection. A subclass may override `received`, `service`, `send` and `wait_for_room`.

    `requests` are those that have come in whole; the first one is being answered, or is next. `connected` is false once
    the connection is closed. The loop closes a connection of which `will_close` is true.
    """

    parser_class = BaseRequest
    task_class = _AnswerTask
    server: "WebServer[Any]"
    requests: list[BaseRequest]
    request: BaseRequest | None
    head = b""
    """The head of an answer whose first bytes come next."""

    def __init__(self, server: Any, sock: socket.socket, address: Any, adjustments: Any, map: Any = None) -> None:
        super().__init__(server, sock, address, adjustments, map=map)
        self.address = str(address[0])

    def linger(self, stream: BodyStream) -> None:
        """Let the client read the answer, although it still sends its body; in the thread that has answered."""

    def duplicate(self) -> "socket.socket | None":
        """A second descriptor of the connection, for a thread that reads from it; None if it is closed."""
        try:
            return self.socket.dup() if self.socket else None
        except OSError:
            return None

    def invite(self) -> None:
        """Tell the client to send the body of its request (RFC 9110 Section 10.1.1)."""
        super().write_soon(b"HTTP/1.1 100 Continue\r\n\r\n")

    @property
    def is_idle(self) -> bool:
        """Whether no request comes in, and none is being answered."""
        return not (self.requests or self.request or self.total_outbufs_len)

    @property
    def is_answering(self) -> bool:
        """Whether a request waits or is being answered, or some of an answer has not been sent."""
        return bool(self.requests or self.total_outbufs_len)

    @property
    def unsent_bytes(self) -> int:
        """The size of what has been written and not been sent."""
        return self.total_outbufs_len

    @property
    def max_unsent_bytes(self) -> int:
        """Above this, an answer has to wait before it writes more."""
        limit: int = self.adj.outbuf_high_watermark
        return limit

    @property
    def buffers(self) -> list[Any]:
        """The parts of answers that have not been sent: MemoryBuffer, BaseFileBuffer. Hold `buffers_lock` meanwhile."""
        return self.outbufs  # type: ignore[return-value]  # the stubs know no files among them

    @property
    def buffers_lock(self) -> Any:
        """The condition that is notified when the client has taken enough, or the connection is closed."""
        return self.outbuf_lock

    def write_soon(self, data: bytes | BaseFileBuffer) -> int:
        """Take bytes or a file to be sent, together with the head of the answer if these are its first bytes."""
        if self.total_outbufs_len > self.adj.outbuf_high_watermark:
            self.wait_for_room()
        head, self.head = self.head, b""
        if head and not (isinstance(data, bytes) and len(data) < _SMALL_BYTES):
            super().write_soon(head)
        elif head:
            data = head + data  # type: ignore[operator]  # it is bytes
        return super().write_soon(data)  # type: ignore[arg-type]  # buffers pass through

    def wait_for_room(self) -> None:
        """Wait until the client has taken enough of what was written."""
        super()._flush_outbufs_below_high_watermark()  # type: ignore[misc]

    def _flush_outbufs_below_high_watermark(self) -> None:
        """Replaced by `wait_for_room`: waitress would wait here with `buffers_lock` held."""

    def flush(self) -> None:
        """Send what the client takes now; hold `buffers_lock` meanwhile."""
        self._flush_exception(self._flush_some, do_close=False)  # type: ignore[attr-defined]

    def drop_sent(self) -> None:
        """Free the memory of an answer that was sent, which waitress keeps until the next one; hold `buffers_lock`."""
        last: Any = self.buffers[-1]
        if not self.total_outbufs_len and last.buf is not None:
            last.close()
            self.buffers[-1] = OverflowableBuffer(self.adj.outbuf_overflow)

    def end_unfinished(self, began_before: float) -> None:
        """Have a request `give_up` and be answered that began to come in before this time (monotonic clock)."""
        with self.requests_lock:  # type: ignore[attr-defined]
            unfinished = self.request
            if unfinished and not self.requests and unfinished.began < began_before:
                unfinished.give_up()
                self.request = None
                self.requests.append(unfinished)
                self.server.add_task(self)  # type: ignore[arg-type]  # a connection is the task

    def let_go(self) -> None:
        """Close the connection now; in the thread of the loop."""
        self.will_close = True
        self.handle_close()  # waitress would wait for a socket that takes something


class Pollable(Protocol):
    """An entry of `WebServer.sockets`."""

    def readable(self) -> bool:
        """Whether it waits for bytes."""

    def writable(self) -> bool:
        """Whether it has bytes to send, or is to be closed."""


class TaskQueue(Protocol):
    """The queue of connections that have a request, and the threads that answer them."""

    def add_task(self, task: Any) -> None:
        """Queue a connection whose first request has come in whole."""

    def pausing(self) -> AbstractContextManager[None]:
        """A context in which the current thread waits for its client."""


ConnectionT = TypeVar("ConnectionT", bound=BaseConnection)


class WebServer(TcpWSGIServer, Generic[ConnectionT]):
    """A listening socket and its connections, without the loop of waitress: `app.server.event_loop` takes its place."""

    leaving = False
    """Whether each connection ends with its next answer."""

    def __init__(
        self,
        application: WsgiApp,
        listening: socket.socket,
        connection_class: type[ConnectionT],
        tasks: TaskQueue,
        **adjustments: Any,
    ) -> None:
        """`adjustments` are the arguments of waitress, as it documents them."""
        self.sockets: dict[int, Pollable] = {}
        """The entries that the loop polls, by descriptor: this server, its connections, the pipe of `interrupt`."""

        super().__init__(
            application,
            self.sockets,  # type: ignore[arg-type]  # the stubs take the entries for sockets
            _sock=listening,
            dispatcher=tasks,  # type: ignore[arg-type]  # waitress only adds tasks to it
            adj=Adjustments(sockets=[listening], **adjustments),
            sockinfo=(listening.family, listening.type, listening.proto, listening.getsockname()),
            bind_socket=False,
        )
        self.tasks = tasks
        self.channel_class = connection_class
        self.connections: dict[int, ConnectionT] = self.active_channels  # type: ignore[assignment]  # wrong in the stubs
        """The open connections by descriptor."""

    def call_on_change(self, wake: Callable[[], None]) -> None:
        """Have `wake` called, in any thread, when there is something to send or to close."""
        self.pull_trigger = wake  # type: ignore[method-assign]

    def wake_loop(self) -> None:
        """Tell the loop that there is something to send or to close."""
        self.pull_trigger()

    def interrupt(self) -> None:
        """End a `poll` of `sockets`, from any thread."""
        self.trigger.pull_trigger()  # type: ignore[attr-defined]  # wrong in the stubs

    def take_connection(self) -> tuple[socket.socket, Any]:
        """The next new connection and its address; OSError where there is none."""
        return self.socket.accept()  # type: ignore[union-attr]  # there is one until `stop_listening`

    def open_connection(self, sock: socket.socket, address: Any) -> None:
        """Begin to serve a connection; OSError where it is gone."""
        self.set_socket_options(sock)
        self.channel_class(self, sock, address, self.adj, map=self.sockets)  # type: ignore[arg-type]

    def close_silent(self) -> None:
        """Mark connections for closing on which nothing has moved for `channel_timeout` seconds."""
        self.maintenance(time.time())  # type: ignore[arg-type]  # wrong in the stubs

    def stop_listening(self) -> None:
        """Take no more connections."""
        self.del_channel(self.sockets)  # type: ignore[arg-type]
        self.socket.close()  # type: ignore[union-attr]


handle_events: Callable[[Pollable, int], None] = readwrite  # type: ignore[assignment]
"""Let an entry of `WebServer.sockets` read, write or close, as the flags of `poll` say."""
