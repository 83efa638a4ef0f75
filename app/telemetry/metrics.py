"""The metrics for Prometheus: `GET /metrics` on a port of its own, answered by a process of its own.

`python main.py check` reads them as well.
"""

import http.client
import socket
from collections.abc import Callable, Iterable, Iterator
from itertools import accumulate
from typing import Any

from prometheus_client import CollectorRegistry, make_wsgi_app
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily
from prometheus_client.core import Metric as PrometheusMetric
from prometheus_client.parser import text_string_to_metric_families
from prometheus_client.registry import Collector

from app.telemetry.replacements import Replacements
from app.telemetry.request_metrics import BUCKETS_SECONDS, RequestMetrics, ResourceMetrics
from runtime.shared_metrics import Metric, SharedMetrics

_PATIENCE_SECONDS = 5
_PREFIX = "dicomweb_proxy"

REPLACED = f"{_PREFIX}_processes_replaced"
"""The counter of replaced processes, by kind and reason."""

_CALLS = {
    "GetImageSet": Metric.AHI_GET_IMAGE_SET,
    "GetImageSetMetadata": Metric.AHI_GET_IMAGE_SET_METADATA,
    "GetImageFrame": Metric.AHI_GET_IMAGE_FRAME,
    "SearchImageSets": Metric.AHI_SEARCH_IMAGE_SETS,
    "StoreDICOM": Metric.AHI_STORE_DICOM,
}

_COUNTERS = {
    "ahi_retries": Metric.AHI_RETRIES,
    "ahi_throttles": Metric.AHI_THROTTLES,
    "cache_hits": Metric.CACHE_HITS,
    "cache_misses": Metric.CACHE_MISSES,
    "cache_written_bytes": Metric.CACHE_WRITTEN_BYTES,
    "cache_evicted_bytes": Metric.CACHE_EVICTED_BYTES,
    "cache_refused": Metric.CACHE_REFUSED,
    "cache_damaged": Metric.CACHE_DAMAGED,
    "jobs_done": Metric.JOBS_DONE,
    "jobs_refused": Metric.JOBS_REFUSED,
    "prefetches": Metric.PREFETCHES,
    "stored_instances": Metric.STORED_INSTANCES,
    "stored_bytes": Metric.STORED_BYTES,
    "store_refused_instances": Metric.STORE_REFUSED_INSTANCES,
    "store_failures": Metric.STORE_FAILURES,
}

_GAUGES = {
    "jobs_queued": Metric.JOBS_QUEUED,
    "jobs_running": Metric.JOBS_RUNNING,
    "spool_entries": Metric.SPOOL_ENTRIES,
    "spool_bytes": Metric.SPOOL_BYTES,
    "spool_age_seconds": Metric.SPOOL_AGE_SECONDS,
    "spool_refused": Metric.SPOOL_REFUSED,
    "spool_unreadable": Metric.SPOOL_UNREADABLE,
    "spool_unknown": Metric.SPOOL_UNKNOWN,
    "audit_failing": Metric.AUDIT_FAILING,
    "index_connections_in_use": Metric.INDEX_CONNECTIONS_IN_USE,
    "client_connections": Metric.CLIENT_CONNECTIONS,
}


def metrics_application(
    counters: SharedMetrics, requests: RequestMetrics, index_connections: int, replacements: Replacements
) -> Callable[..., Any]:
    """The WSGI application of `/metrics`. `index_connections` is the limit of all processes together."""
    registry = CollectorRegistry()
    registry.register(_ServiceCollector(counters, requests, index_connections, replacements))
    application: Callable[..., Any] = make_wsgi_app(registry)
    return application


class _ServiceCollector(Collector):
    def __init__(
        self, counters: SharedMetrics, requests: RequestMetrics, index_connections: int, replacements: Replacements
    ) -> None:
        self._counters, self._requests, self._index_connections = counters, requests, index_connections
        self._replacements = replacements

    def collect(self) -> Iterable[PrometheusMetric]:
        yield from _request_metrics(self._requests.totals())
        calls = CounterMetricFamily(
            f"{_PREFIX}_ahi_calls", "calls to AWS HealthImaging, repeated ones included", labels=["operation"]
        )
        for operation, count in _CALLS.items():
            calls.add_metric([operation], self._counters.total(count))
        yield calls
        for name, count in _COUNTERS.items():
            yield CounterMetricFamily(f"{_PREFIX}_{name}", count.value, value=self._counters.total(count))
        for name, count in _GAUGES.items():
            yield GaugeMetricFamily(f"{_PREFIX}_{name}", count.value, value=self._counters.total(count))
        most = "connections to the index that there may be"
        yield GaugeMetricFamily(f"{_PREFIX}_index_connections_max", most, value=self._index_connections)
        replaced = CounterMetricFamily(REPLACED, "processes replaced", labels=["process", "reason"])
        for (kind, reason), number in self._replacements.totals().items():
            replaced.add_metric([kind.value, reason.value], number)
        yield replaced


def _request_metrics(totals: Iterable[ResourceMetrics]) -> Iterator[PrometheusMetric]:
    by_status = CounterMetricFamily(f"{_PREFIX}_requests", "requests answered", labels=["resource", "status"])
    durations = HistogramMetricFamily(
        f"{_PREFIX}_request_seconds", "time from a request to the last byte of its answer", labels=["resource"]
    )
    ends = [*map(str, BUCKETS_SECONDS), "+Inf"]
    for one in totals:
        for status, number in one.by_status.items():
            by_status.add_metric([one.resource, str(status or "other")], number)
        durations.add_metric([one.resource], list(zip(ends, accumulate(one.by_bucket), strict=True)), one.total_seconds)
    yield by_status
    yield durations


def listen(host: str, port: int) -> socket.socket:
    """The socket for Prometheus; OSError if the address cannot be used."""
    listening = socket.create_server((host, port), family=socket.AF_INET6 if ":" in host else socket.AF_INET)
    listening.setblocking(False)
    return listening


def replaced_processes(host: str, port: int) -> dict[tuple[str, str], int]:
    """The number of processes that a running service replaced, by kind and reason; OSError if it does not answer."""
    connection = http.client.HTTPConnection(host, port, timeout=_PATIENCE_SECONDS)
    try:
        connection.request("GET", "/metrics")
        text = connection.getresponse().read().decode()
        families = [family for family in text_string_to_metric_families(text) if family.name == REPLACED]
    except (http.client.HTTPException, ValueError) as error:
        raise OSError("what answers there is not the service") from error
    finally:
        connection.close()
    samples = [sample for family in families for sample in family.samples if sample.value]
    return {(one.labels["process"], one.labels["reason"]): int(one.value) for one in samples}
