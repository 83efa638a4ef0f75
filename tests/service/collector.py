"""An OpenTelemetry collector: takes OTLP over HTTP, and keeps the spans."""

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, HTTPServer, ThreadingHTTPServer
from typing import Any

from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.common.v1.common_pb2 import AnyValue
from opentelemetry.proto.trace.v1.trace_pb2 import Span

from tests.waiting import PATIENCE_SECONDS

Attributes = dict[str, Any]


@dataclass(frozen=True)
class Received:
    """A span, and who told of it."""

    span: Span
    attributes: Attributes
    resource: Attributes

    @property
    def trace_id(self) -> str:
        return self.span.trace_id.hex()


@dataclass
class Collector:
    """What has come. `asked` is paths and headers; `status` is what the next ones are answered with."""

    port: int = 0
    status: int = 200
    spans: list[Received] = field(default_factory=list)
    bodies: list[bytes] = field(default_factory=list)
    asked: list[tuple[str, dict[str, str]]] = field(default_factory=list)

    def of(self, trace_id: str) -> list[Received]:
        """The spans of a trace, once its server span is there: that ends last, and comes with all others."""
        found: list[Received] = []

        def complete() -> bool:
            found[:] = [one for one in list(self.spans) if one.trace_id == trace_id]
            return any(one.span.kind == Span.SPAN_KIND_SERVER for one in found)

        self.wait(complete)
        return found

    def wait(self, condition: Callable[[], bool]) -> None:
        deadline = time.monotonic() + PATIENCE_SECONDS
        while not condition():
            assert time.monotonic() < deadline, [one.span.name for one in self.spans]
            time.sleep(0.05)

    def receive(self, body: bytes) -> None:
        self.bodies.append(body)
        for told in ExportTraceServiceRequest.FromString(body).resource_spans:
            resource = _plain(told.resource.attributes)
            for scope in told.scope_spans:
                self.spans += [Received(span, _plain(span.attributes), resource) for span in scope.spans]


@contextmanager
def collecting() -> Iterator[Collector]:
    """A collector on a port of its own."""
    collector = Collector()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            collector.asked.append((self.path, dict(self.headers)))
            if collector.status == 200:
                collector.receive(body)
            self.send_response(collector.status)
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, *_: object) -> None:
            pass

    server: HTTPServer = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    collector.port = server.server_port
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
    thread.start()
    yield collector
    server.shutdown()
    server.server_close()
    thread.join()


def _plain(attributes: Any) -> Attributes:
    return {one.key: _value(one.value) for one in attributes}


def _value(value: AnyValue) -> Any:
    kind = value.WhichOneof("value")
    return [_value(one) for one in value.array_value.values] if kind == "array_value" else getattr(value, kind or "")
