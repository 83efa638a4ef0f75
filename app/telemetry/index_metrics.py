"""The metrics of a follower of AHI, for Prometheus: `GET /metrics` of the process `python main.py index --follow`."""

import logging
from collections.abc import Callable, Iterable, Iterator
from wsgiref.simple_server import WSGIServer

from prometheus_client import CollectorRegistry, start_wsgi_server
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily
from prometheus_client.core import Metric as PrometheusMetric
from prometheus_client.registry import Collector

from dicomweb.errors import ProxyError
from index.follow.queue import QueueDepth
from index.follow.tally import Tally

MetricsServer = WSGIServer

log = logging.getLogger(__name__)

_PREFIX = "dicomweb_index"


class _FollowerCollector(Collector):
    def __init__(self, tally: Tally, depth: Callable[[], QueueDepth] | None) -> None:
        self._tally, self._depth = tally, depth

    def collect(self) -> Iterable[PrometheusMetric]:
        tally = self._tally
        yield CounterMetricFamily(f"{_PREFIX}_events", "events of AHI that were received", value=tally.events)
        image_sets = CounterMetricFamily(f"{_PREFIX}_image_sets", "image sets by outcome", labels=["outcome"])
        for outcome, number in tally.outcomes.copy().items():
            image_sets.add_metric([outcome.name.lower()], number)
        yield image_sets
        ignored = CounterMetricFamily(f"{_PREFIX}_events_ignored", "events that were not for us", labels=["reason"])
        for reason, number in tally.ignored.copy().items():
            ignored.add_metric([reason], number)
        yield ignored
        last = "Unix time of the last event, 0 before the first"
        yield GaugeMetricFamily(f"{_PREFIX}_last_event_timestamp_seconds", last, value=tally.event_at)
        yield from self._queue_metrics()

    def _queue_metrics(self) -> Iterator[PrometheusMetric]:
        try:
            depth = self._depth() if self._depth else None
        except ProxyError:
            return  # the follower itself logs it
        if depth:
            yield GaugeMetricFamily(f"{_PREFIX}_queue_waiting", "events that wait in the queue", value=depth.waiting)
            yield GaugeMetricFamily(f"{_PREFIX}_queue_in_hand", "events that followers work at", value=depth.in_hand)
            if depth.dead is not None:
                dead = "events in the dead-letter queue"
                yield GaugeMetricFamily(f"{_PREFIX}_queue_dead_letters", dead, value=depth.dead)


def serve_metrics(host: str, port: int, tally: Tally, depth: Callable[[], QueueDepth] | None) -> MetricsServer:
    """Answer Prometheus from a thread until the server is shut down; OSError if the address cannot be used."""
    registry = CollectorRegistry()
    registry.register(_FollowerCollector(tally, depth))
    server, _thread = start_wsgi_server(port, host, registry)
    return server
