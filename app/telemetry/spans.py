"""The traces of one web process: a span for each request, and spans below it for the parts that took time.

Names and attributes follow OpenTelemetry's semantic conventions for HTTP servers, databases and the AWS SDK. The query
is left out, as the values of a search are patient data. Statements have placeholders.

This module is imported only if traces are asked for: see app/telemetry/tracing.py.
"""

import logging
import os
import socket
import threading
import time
from collections.abc import Mapping, Sequence

from flask import Flask, Response, g, request
from opentelemetry import trace
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.resources import OTELResourceDetector, Resource
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor, SpanExporter, SpanExportResult
from opentelemetry.sdk.version import __version__
from opentelemetry.trace import Span, SpanKind, Status, StatusCode
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator
from opentelemetry.util.types import AttributeValue

from app.telemetry.access_log import logged_path
from db.engine import Database
from runtime.outage import Outage
from runtime.timing import TimedPart, current_timing

_EXPORTER_LOG = logging.getLogger("opentelemetry.exporter")
_CHECK_SECONDS = 3.0
_SERVICE = "ahi-dicomweb-proxy"
_AHI = "Medical Imaging"  # as the AWS SDKs name it
_METHODS = frozenset(("GET", "HEAD", "POST", "PUT", "DELETE", "CONNECT", "OPTIONS", "TRACE", "PATCH"))
_STATEMENT_CHARACTERS = 4096
_PROPAGATOR = TraceContextTextMapPropagator()

Attributes = dict[str, AttributeValue]


class Spans:
    """The spans of one web process. A thread of its own sends them to the collector."""

    def __init__(self, outage: Outage, database: Database) -> None:
        _EXPORTER_LOG.setLevel(logging.CRITICAL)  # `outage` logs it once
        database.describe_statements()
        self._database_kind = database.kind
        self._provider = TracerProvider(resource=_resource(), shutdown_on_exit=False)
        self._provider.add_span_processor(BatchSpanProcessor(_ReportingExporter(OTLPSpanExporter(), outage)))
        self._tracer = self._provider.get_tracer(_SERVICE)

    def add_to(self, app: Flask) -> None:
        """Trace each request; must be added after the access log, which measures the parts."""

        @app.before_request
        def start() -> None:
            sent = {name: request.headers[name] for name in _PROPAGATOR.fields if name in request.headers}
            parent = _PROPAGATOR.extract(sent)
            g.span = self._tracer.start_span(_name(), parent, SpanKind.SERVER, _request_attributes())
            timing = current_timing()
            if timing:
                timing.traceparent = _traceparent(g.span)
                if g.span.is_recording():
                    timing.tell = _PartListener(self, g.span)

        @app.after_request
        def end(response: Response) -> Response:
            span: Span = g.span
            span.set_attributes(_response_attributes(response))
            if response.status_code >= 500:
                span.set_status(Status(StatusCode.ERROR))
            response.call_on_close(span.end)
            return response

    def tell(self, part: TimedPart, parent: Span, offset: float) -> None:
        """Add a span below its parent for a finished part; `offset` converts the monotonic clock to Unix time."""
        name, kind, attributes = self._describe(part)
        context = trace.set_span_in_context(parent)
        span = self._tracer.start_span(name, context, kind, attributes, start_time=int((part.start + offset) * 1e9))
        if part.error:
            span.set_attribute("error.type", part.error)
            span.set_status(Status(StatusCode.ERROR))
        for inner in part.inner:
            self.tell(inner, span, offset)
        span.end(int((part.end + offset) * 1e9))

    def close(self, seconds: float) -> None:
        """Send the spans that wait, for at most `seconds`; the rest is lost."""
        sending = threading.Thread(target=self._provider.shutdown, daemon=True)  # it has no deadline
        sending.start()
        sending.join(max(0.0, seconds))

    def _describe(self, part: TimedPart) -> tuple[str, SpanKind, Attributes]:
        match part.name:
            case "db":
                operation = next(iter(part.what.split(maxsplit=1)), self._database_kind)
                text = part.what[:_STATEMENT_CHARACTERS]
                return operation, SpanKind.CLIENT, {"db.system.name": self._database_kind, "db.query.text": text}
            case "ahi":
                attributes: Attributes = {"rpc.system": "aws-api", "rpc.service": _AHI, "rpc.method": part.what}
                return f"{_AHI}/{part.what}", SpanKind.CLIENT, attributes
            case _:
                return f"{part.name} {part.what}".rstrip(), SpanKind.INTERNAL, {}


class _PartListener:
    """Receives the finished parts of one request."""

    def __init__(self, spans: Spans, parent: Span) -> None:
        self._spans, self._parent, self._offset = spans, parent, time.time() - time.monotonic()

    def __call__(self, part: TimedPart) -> None:
        self._spans.tell(part, self._parent, self._offset)


class _ReportingExporter(SpanExporter):
    """An exporter that reports its failures as an outage."""

    def __init__(self, exporter: SpanExporter, outage: Outage) -> None:
        self._exporter, self._outage = exporter, outage

    def export(self, spans: Sequence[ReadableSpan]) -> SpanExportResult:
        """Send the spans; they are lost if that fails."""
        result = self._exporter.export(spans)
        if result is SpanExportResult.SUCCESS:
            self._outage.is_over()
        else:
            self._outage.begins("traces are lost")
        return result

    def shutdown(self) -> None:
        """Close the connection."""
        self._exporter.shutdown()


def is_taken() -> bool:
    """Whether the collector accepts an export without spans."""
    _EXPORTER_LOG.setLevel(logging.CRITICAL)
    exporter: SpanExporter = OTLPSpanExporter(timeout=_CHECK_SECONDS)
    try:
        return exporter.export(()) is SpanExportResult.SUCCESS
    finally:
        exporter.shutdown()


def _resource() -> Resource:
    """The attributes of this process; those of the environment override them."""
    attributes: Mapping[str, AttributeValue] = {
        "service.name": _SERVICE,
        "service.instance.id": f"{socket.gethostname()}:{os.getpid()}",
        "host.name": socket.gethostname(),
        "process.pid": os.getpid(),
        "telemetry.sdk.language": "python",
        "telemetry.sdk.name": "opentelemetry",
        "telemetry.sdk.version": __version__,
    }
    return Resource(attributes).merge(OTELResourceDetector().detect())


def _name() -> str:
    """The name of a span: method and route, of which there are few."""
    return " ".join(filter(None, (_method(), _route())))


def _method() -> str:
    return request.method if request.method in _METHODS else "_OTHER"


def _route() -> str:
    return request.url_rule.rule if request.url_rule else ""


def _request_attributes() -> Attributes:
    attributes: Attributes = {
        "http.request.method": _method(),
        "url.scheme": request.scheme,
        "url.path": logged_path(),
        "network.protocol.version": request.environ.get("SERVER_PROTOCOL", "").removeprefix("HTTP/"),
        "client.address": request.remote_addr or "",
        "user_agent.original": request.user_agent.string,
    }
    return {**attributes, "http.route": _route()} if request.url_rule else attributes


def _response_attributes(response: Response) -> Attributes:
    status = response.status_code
    attributes: Attributes = {"http.response.status_code": status, "http.response.header.x-request-id": [g.request_id]}
    if response.content_length is not None:
        attributes["http.response.body.size"] = response.content_length
    if status >= 500:
        attributes["error.type"] = str(status)
    return attributes


def _traceparent(span: Span) -> str:
    carrier: dict[str, str] = {}
    _PROPAGATOR.inject(carrier, trace.set_span_in_context(span))
    return carrier.get("traceparent", "")
