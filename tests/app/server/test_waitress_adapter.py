"""The contract with waitress: each part that app/server/waitress_adapter.py relies on is there, in the form it needs.

An upgrade of waitress fails here first. For each failure, read what the part is needed for, and what has become of it.
"""

import ast
import inspect
import re
import socket
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, nullcontext
from importlib.metadata import version
from pathlib import Path
from typing import Any

import pytest
from waitress import channel, parser, receiver, server, task, utilities, wasyncore
from waitress.adjustments import Adjustments
from waitress.buffers import OverflowableBuffer, ReadOnlyFileBasedBuffer

from app.server import waitress_adapter
from app.server.waitress_adapter import BaseConnection, BaseFileBuffer, BaseRequest, MalformedUrl, WebServer

ROOT = Path(__file__).parents[3]

_CHANNEL: Any = channel.HTTPChannel
SIGNATURES: dict[Callable[..., Any], tuple[str, str]] = {  # part: its parameters, and what it is needed for
    server.TcpWSGIServer.__init__: (
        "(self, application, map=None, _start=True, _sock=None, dispatcher=None, adj=None, sockinfo=None, "
        "bind_socket=True, **kw)",
        "a server on a socket that is bound already, with a map and threads of ours",
    ),
    server.TcpWSGIServer.add_task: ("(self, task)", "connections with a request are handed to the pool"),
    server.TcpWSGIServer.pull_trigger: ("(self)", "replaced: waitress calls it when there is something to send"),
    server.TcpWSGIServer.set_socket_options: ("(self, conn)", "a new connection, as handle_accept makes it"),
    server.TcpWSGIServer.maintenance: ("(self, now)", "closes connections that are silent"),
    channel.HTTPChannel.__init__: ("(self, server, sock, addr, adj, map=None)", "connections are made by our loop"),
    channel.HTTPChannel.received: ("(self, data)", "overridden: when a connection was active last"),
    channel.HTTPChannel.service: ("(self)", "overridden, and called by our pool: refusals, `Connection: close`"),
    channel.HTTPChannel.cancel: ("(self)", "called by our pool when all ends"),
    channel.HTTPChannel.write_soon: (
        "(self, data)",
        "overridden: the head goes with the first bytes; waiting for room",
    ),
    channel.HTTPChannel.send: ("(self, data, do_close=True)", "overridden: spans of files, bytes that were sent"),
    channel.HTTPChannel.handle_close: ("(self)", "a slow client is let go at once"),
    _CHANNEL._flush_some: ("(self, do_close=True)", "sends what the client takes while a thread waits"),
    _CHANNEL._flush_exception: ("(self, flush, do_close=True)", "the same, without errors of the socket"),
    _CHANNEL._flush_outbufs_below_high_watermark: ("(self)", "overridden: it would wait with a lock held"),
    channel.HTTPChannel.del_channel: ("(self, map=None)", "a server that leaves takes itself out of the map"),
    channel.HTTPChannel.readable: ("(self)", "asked by our loop"),
    channel.HTTPChannel.writable: ("(self)", "asked by our loop"),
    parser.HTTPRequestParser.__init__: ("(self, adj)", "overridden"),
    parser.HTTPRequestParser.received: (
        "(self, data)",
        "overridden: heads are checked before; called with whole heads",
    ),
    parser.HTTPRequestParser.get_body_stream: (
        "(self)",
        "overridden: a body that the application reads from the socket",
    ),
    parser.HTTPRequestParser.close: ("(self)", "overridden: that body is closed when its answer has been sent"),
    receiver.ChunkedReceiver.__init__: ("(self, buf)", "a body whose lines have a bound"),
    receiver.ChunkedReceiver.received: ("(self, s)", "overridden"),
    task.WSGITask.write: ("(self, data)", "overridden: the head goes with the first bytes"),
    task.WSGITask.build_response_header: ("(self)", "overridden: no last chunk after an answer to HEAD"),
    task.WSGITask.finish: ("(self)", "overridden: a client that still sends its body can read the answer"),
    task.ErrorTask.execute: ("(self)", "overridden: errors in our own form"),
    task.ErrorTask.set_close_on_finish: ("(self) -> None", "the connection ends with a refusal"),
    utilities.Error.__init__: ("(self, body)", "our refusals are errors of a request"),
    OverflowableBuffer.__init__: ("(self, overflow)", "a new buffer in the place of one that was sent"),
    OverflowableBuffer.get: ("(self, numbytes=-1, skip=False)", "what a client does not take is written to a file"),
    OverflowableBuffer.close: ("(self)", "its memory is given back"),
    ReadOnlyFileBasedBuffer.get: ("(self, numbytes=-1, skip=False)", "overridden: a span in the place of bytes"),
    ReadOnlyFileBasedBuffer.skip: ("(self, numbytes, allow_prune=0)", "overridden: so much was sent"),
    ReadOnlyFileBasedBuffer.close: ("(self)", "overridden: the file is closed"),
    wasyncore.readwrite: ("(obj, flags)", "handles events in our loop"),
}

ATTRIBUTES: dict[
    str, dict[str, Any]
] = {  # kind of object: attributes that are read or set, with a value that has the type
    "server": {
        "adj": Adjustments,  # our loop makes connections with it
        "active_channels": dict,  # our loop goes through all connections
        "channel_class": type,  # our class of connections
        "socket": socket.socket,  # our loop accepts
        "trigger": object,  # its `pull_trigger` wakes our loop
    },
    "connection": {
        "adj": Adjustments,  # outbuf_high_watermark, outbuf_overflow
        "addr": tuple,  # the address of the client
        "connected": bool,  # whoever waits for the client stops waiting
        "outbufs": list,  # what was not sent is moved to files
        "outbuf_lock": AbstractContextManager,  # a condition: held for that, and waited on for the client
        "request": type(None),  # the request that comes in
        "requests": list,  # those that have come in
        "requests_lock": AbstractContextManager,  # held when one that does not end is given up
        "server": server.TcpWSGIServer,
        "socket": socket.socket,  # sendfile(2) needs its descriptor
        "total_outbufs_len": int,  # how much was not sent
        "will_close": bool,  # our loop closes the connection
        "task_class": type,  # our answers
        "error_task_class": type,  # our refusals
        "parser_class": type,  # our requests
    },
    "request": {
        "adj": Adjustments,  # max_request_header_size, inbuf_overflow
        "body_rcv": type(None),  # the body: chunked ones have a class of ours
        "chunked": bool,
        "command": str,
        "completed": bool,
        "content_length": int,
        "error": type(None),
        "expect_continue": bool,
        "headers": dict,
        "headers_finished": bool,
        "path": str,
        "version": str,
    },
    "chunks": {"control_line": bytes, "trailer": bytes, "completed": bool, "error": type(None)},
    "memory buffer": {"buf": type(None)},
    "file buffer": {"remain": int},
    "task": {
        "channel": object,
        "request": object,
        "status": str,
        "response_headers": list,
        "content_length": type(None),
        "chunked_response": bool,
        "wrote_header": bool,
    },
}
ADJUSTMENTS = ("outbuf_high_watermark", "outbuf_overflow", "max_request_header_size", "inbuf_overflow")


class Tasks:
    """Stands for the pool: remembers the connections that have a request."""

    def __init__(self) -> None:
        self.queued: list[Any] = []

    def add_task(self, task: Any) -> None:
        self.queued.append(task)

    def pausing(self) -> AbstractContextManager[None]:
        return nullcontext()


@pytest.fixture
def tasks() -> Tasks:
    return Tasks()


@pytest.fixture
def client() -> Iterator[tuple[socket.socket, socket.socket]]:
    ours, theirs = socket.socketpair()
    with ours, theirs:
        yield ours, theirs


@pytest.fixture
def web_server(tasks: Tasks) -> Iterator[WebServer[BaseConnection]]:
    with socket.create_server(("127.0.0.1", 0)) as listening:
        made = WebServer(lambda environ, start: [], listening, BaseConnection, tasks, outbuf_high_watermark=100_000)
        made.call_on_change(lambda: None)
        yield made
        made.close()


@pytest.fixture
def connection(
    web_server: WebServer[BaseConnection], client: tuple[socket.socket, socket.socket]
) -> Iterator[BaseConnection]:
    made = BaseConnection(web_server, client[0], ("192.0.2.1", 1), web_server.adj, map=web_server.sockets)
    yield made
    made.let_go()


@pytest.fixture
def objects(web_server: WebServer[BaseConnection], connection: BaseConnection) -> dict[str, object]:
    """One object of each kind, as waitress makes it."""
    request = BaseRequest(web_server.adj)
    request.read_head(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
    return {
        "server": web_server,
        "connection": connection,
        "request": request,
        "chunks": receiver.ChunkedReceiver(OverflowableBuffer(1)),
        "memory buffer": connection.buffers[0],
        "file buffer": BaseFileBuffer(3),
        "task": task.WSGITask(connection, request),  # type: ignore[arg-type]
    }


def test_the_installed_version_is_the_pinned_one() -> None:
    pinned = re.search(r"^waitress==(\S+)", (ROOT / "requirements.txt").read_text(), re.MULTILINE)
    assert pinned and version("waitress") == pinned[1]


@pytest.mark.parametrize("part", SIGNATURES, ids=lambda part: f"{part.__module__}.{part.__qualname__}")
def test_signatures(part: Callable[..., Any]) -> None:
    parameters, reason = SIGNATURES[part]
    assert str(inspect.signature(part)) == parameters, reason


@pytest.mark.parametrize(("kind", "name"), [(kind, name) for kind, names in ATTRIBUTES.items() for name in names])
def test_attributes(objects: dict[str, object], kind: str, name: str) -> None:
    assert isinstance(getattr(objects[kind], name), ATTRIBUTES[kind][name])


@pytest.mark.parametrize("name", ADJUSTMENTS)
def test_adjustments(name: str) -> None:
    assert isinstance(getattr(Adjustments(), name), int)


def names_of_waitress() -> set[str]:
    """The methods of waitress's classes, and the attributes of its objects."""
    names: set[str] = set()
    for path in Path(inspect.getfile(channel)).parent.glob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            match node:
                case ast.ClassDef(body=body):
                    names.update(one.name for one in body if isinstance(one, ast.FunctionDef))
                case ast.Attribute(value=ast.Name(id="self"), attr=name, ctx=ast.Store()):
                    names.add(name)
    return names


def test_the_lists_above_are_complete() -> None:
    """Whatever the adapter names of an object of waitress is in them."""
    tree = ast.parse(Path(waitress_adapter.__file__).read_text())
    named = {node.attr for node in ast.walk(tree) if isinstance(node, ast.Attribute)}
    of_others = {"append", "accept", "getsockname", "family", "value"}  # lists, sockets, statuses
    listed = set[str]().union(*ATTRIBUTES.values(), ADJUSTMENTS, (part.__name__ for part in SIGNATURES))
    assert named & names_of_waitress() - of_others <= listed


INTERFACE = {"body", "connected", "error", "headers", "path", "command", "completed", "headers_finished", "remain"} | {
    *("server", "socket", "requests", "request", "will_close", "status", "task_class", "error_task_class"),
    *("parser_class", "expect_continue", "channel"),
}
"""Attributes that the adapter declares for others, under the names that waitress gives them."""


@pytest.mark.parametrize(
    "module", [*sorted((ROOT / "app/server").glob("*.py")), ROOT / "app/processes/web.py"], ids=lambda path: path.name
)
def test_others_name_nothing_else_of_waitress(module: Path) -> None:
    hidden = set[str]().union(*ATTRIBUTES.values()) - INTERFACE
    named = {node.attr for node in ast.walk(ast.parse(module.read_text())) if isinstance(node, ast.Attribute)}
    assert module == Path(waitress_adapter.__file__) or not named & hidden


def test_a_file_goes_to_send_as_get_gives_it(connection: BaseConnection) -> None:
    class Buffer(BaseFileBuffer):
        def get(self, numbytes: int = -1, skip: bool = False) -> object:  # type: ignore[override]
            return self

        def skip(self, numbytes: int, allow_prune: int = 0) -> None:
            self.remain -= numbytes

        def close(self) -> None:
            sent.append("closed")

    sent: list[object] = []

    def send(data: object, do_close: bool = True) -> int:
        sent.append(data)
        return 4

    connection.send = send  # type: ignore[method-assign]
    connection.adj.send_bytes = 1
    buffer = Buffer(12)
    assert connection.write_soon(buffer) == 12
    assert sent == [buffer] * 3 + ["closed"]
    assert connection.unsent_bytes == 0
    assert [type(one) for one in connection.buffers] == [OverflowableBuffer]


def test_an_answer_that_is_too_long_shortens_the_file(connection: BaseConnection) -> None:
    request = BaseRequest(connection.adj)
    request.read_head(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
    answer = connection.task_class(connection, request)  # type: ignore[arg-type]
    answer.content_length, answer.complete = 5, True
    buffer = BaseFileBuffer(9)
    connection.write_soon = lambda data: len(data)  # type: ignore[method-assign]
    answer.write(buffer)
    assert len(buffer) == 5


def test_writing_waits_for_room_before_the_lock_is_taken(
    connection: BaseConnection, client: tuple[socket.socket, socket.socket]
) -> None:
    held: list[bool] = []

    def wait_for_room() -> None:
        held.append(connection.buffers_lock._is_owned())

    connection.wait_for_room = wait_for_room  # type: ignore[method-assign]
    for _ in range(200):
        connection.write_soon(b"x" * 10_000)
    assert held and not any(held)
    assert connection.unsent_bytes > connection.max_unsent_bytes
    with connection.buffers_lock:
        before = connection.unsent_bytes
        client[1].recv(2**20)
        connection.flush()
        assert connection.unsent_bytes < before


def test_a_request_that_has_come_in_is_queued_and_the_loop_sees_the_connection(
    web_server: WebServer[BaseConnection], tasks: Tasks
) -> None:
    host = web_server.socket.getsockname()  # type: ignore[union-attr]
    web_server.socket.setblocking(True)  # type: ignore[union-attr]
    with socket.create_connection(host) as other:
        web_server.open_connection(*web_server.take_connection())
        (one,) = web_server.connections.values()
        assert web_server.sockets[one.socket.fileno()] is one  # type: ignore[union-attr]
        assert one.is_idle and one.readable() and not one.writable()
        one.received(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
        assert tasks.queued == [one] and one.is_answering
        one.let_go()
        assert not one.connected and not web_server.connections
        assert other.recv(1) == b""


def test_interrupt_is_an_entry_that_becomes_readable(web_server: WebServer[BaseConnection]) -> None:
    before = set(web_server.sockets)
    web_server.stop_listening()
    (pipe,) = web_server.sockets
    assert pipe in before
    web_server.interrupt()
    assert web_server.sockets[pipe].readable()
    waitress_adapter.handle_events(web_server.sockets[pipe], 1)
    with socket.create_server(("127.0.0.1", 0)) as listening:  # closed at the end once more
        web_server.socket = listening


@pytest.mark.parametrize(
    ("head", "expected"),
    [
        (b"GET /a%20b?c=d HTTP/1.1\r\nHost:x\r\nX-Y:z\r\n\r\n", ("GET", "/a b", {"HOST": "x", "X_Y": "z"}, True)),
        (
            b"PUT / HTTP/1.1\r\nHost:x\r\nContent-Length:3\r\n\r\n",
            ("PUT", "/", {"HOST": "x", "CONTENT_LENGTH": "3"}, False),
        ),
    ],
)
def test_a_head_is_parsed_as_a_whole(head: bytes, expected: tuple[object, ...]) -> None:
    request = BaseRequest(Adjustments())
    request.read_head(head)
    assert (request.command, request.path, request.headers, request.completed) == expected
    assert request.headers_finished


def test_a_url_that_cannot_be_taken_apart_is_told() -> None:
    with pytest.raises(MalformedUrl):
        BaseRequest(Adjustments()).read_head(b"GET http://[::::]/ HTTP/1.1\r\nHost:x\r\n\r\n")


@pytest.mark.parametrize("end", [b"5;" + b"x" * 2000, b"0\r\n" + b"x" * 2000])
def test_lines_of_a_chunked_body_have_a_bound(end: bytes) -> None:
    request = BaseRequest(Adjustments())
    request.read_head(b"PUT / HTTP/1.1\r\nHost:x\r\nTransfer-Encoding:chunked\r\n\r\n")
    request.read_body(end)
    assert request.completed and request.error
