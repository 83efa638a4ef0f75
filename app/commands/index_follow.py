"""`python main.py index --follow`: keep the index up to date until SIGTERM or SIGINT."""

import logging
import signal
from collections.abc import Callable
from threading import Event
from types import FrameType

from ahi.client.calls import AhiClient
from app.processes.sd_notify import READY, STOPPING, feed_watchdog, notify
from app.settings import Settings, SettingsError
from app.telemetry.index_metrics import MetricsServer, serve_metrics
from index.follow.changed import Parse
from index.follow.follower import Follower
from index.follow.queue import EventQueue
from index.writing.writer import IndexWriter

log = logging.getLogger(__name__)


def follow(
    settings: Settings, client: AhiClient, writer: IndexWriter, parse: Parse, on_round: Callable[[], None]
) -> None:
    """Follow until a signal comes; what was begun is ended first. `on_round` is called every few seconds."""
    region = settings.aws_default_region or ""
    queue = EventQueue(settings.index_events_queue_url, region) if settings.index_events_queue_url else None
    follower = Follower(client, writer, parse, datastore_ids=settings.ahi_datastore_ids, queue=queue)
    stop = Event()

    def on_signal(_number: int, _frame: FrameType | None) -> None:
        stop.set()

    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, on_signal)
    server = _serve_metrics(settings, follower, queue)
    log.info("following by %s", "the queue of events" if queue else "asking AHI for what was updated")
    notify(READY)

    def each_round() -> None:
        feed_watchdog()
        on_round()

    follower.run(stop, each_round)
    notify(STOPPING)
    log.info("following ended")
    if server:
        server.shutdown()


def _serve_metrics(settings: Settings, follower: Follower, queue: EventQueue | None) -> MetricsServer | None:
    if settings.metrics_port is None:
        return None
    try:
        return serve_metrics(
            settings.metrics_host, settings.metrics_port, follower.tally, queue.depth if queue else None
        )
    except OSError as error:
        where = f"METRICS_HOST {settings.metrics_host}, METRICS_PORT {settings.metrics_port}"
        raise SettingsError(f"{where}: {error.strerror}") from error
