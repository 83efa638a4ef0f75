"""The children of the supervisor: FrameFetchers, web processes, the prefetch process and the metrics process.

The functions `run` run in these processes, all else in the supervisor.
"""

import os
import socket
import threading
import time
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any

from flask import Flask

from ahi.cache.cache import Cache
from ahi.client.calls import AhiClient
from ahi.client.searches import CALLS_PER_SECOND, ImageSetSearches
from ahi.client.stow import StowClient
from ahi.codecs.frames import HAS_OPENJPH
from ahi.codecs.pixel_memory import PixelMemory
from ahi.image_sets.deleted import DeletedImageSets
from ahi.image_sets.version_cache import VersionCache
from ahi.retrieval.deletion_recheck import DeletionRecheck
from ahi.retrieval.frames import Frames
from ahi.retrieval.located_image_sets import ImageSets
from ahi.workers.context import JobLimits, WorkerContext
from ahi.workers.pool import FetcherPool, FetcherSockets
from ahi.workers.scheduler import SchedulerLimits, Urgency
from ahi.workers.verification import Verification
from ahi.workers.worker import serve as serve_fetcher
from app.audit.configure import FLUSH_SECONDS, open_trail
from app.audit.store_events import note_forwarded
from app.factory import create_app
from app.health import live_paths
from app.index_revocations import IndexRevocations
from app.index_share_links import IndexShareLinks
from app.lazy_writer import LazyWriter
from app.middleware.rate_limiter import RateLimiter
from app.prefetch.worker import PrefetchWorker
from app.prefetch.worker import serve as serve_prefetch
from app.processes import web
from app.processes.resources import find_trust, open_index_writer
from app.processes.supervisor import Child, Place
from app.processes.watchdog import SILENT_SECONDS
from app.server.refusals import ErrorResponder
from app.service_status import ServiceStatus
from app.services import Monitoring, Services
from app.session_state import SessionState
from app.setting_parsers import DECODE, SHA256
from app.settings import Settings
from app.telemetry import metrics
from app.telemetry.access_log import hide
from app.telemetry.replacements import ProcessKind, Replacements
from app.telemetry.request_metrics import ProcessRequestMetrics, RequestMetrics
from app.telemetry.tracing import Tracing, find_tracing
from db.engine import Database
from db.login import Login
from index.writing.session import OF_PEOPLE
from index.writing.store_records import StoreRecords
from runtime.changes import Changes
from runtime.heartbeat import Heartbeat
from runtime.outage import Outage
from runtime.shared_metrics import Metric, ProcessMetrics, SharedMetrics
from store.forward.client import Forwarder
from store.forward.process import ForwarderParts, ForwardLimits, holder_name
from store.forward.process import serve as serve_forwarder
from store.forward.server import THREADS
from store.receive.request import is_store_request
from store.spool.layout import SpoolLock
from store.spool.shared import take_over
from store.spool.spool import Spool

_PREFETCH_CACHE_BYTES = 16 * 2**20
_STORE_PATIENCE_SECONDS = 30.0  # of calls to AHI that store: nothing is lost if one does not succeed


@dataclass(frozen=True)
class Shared:
    """The sockets and the shared memory of the processes, made before they are forked.

    Each process has two rows of counters, one for each side: it can leave while the next one already works.
    """

    listening: socket.socket
    sockets: FetcherSockets
    counters: SharedMetrics
    requests: RequestMetrics
    rate: RateLimiter | None
    tracing: Tracing | None
    status: ServiceStatus
    spool_lock: SpoolLock | None = None
    """Held by all processes; None in a service that does not store."""
    changes: Changes = field(default_factory=Changes)
    session_state: SessionState = field(default_factory=SessionState)

    @classmethod
    def of(
        cls, settings: Settings, listening: socket.socket, index_outage: Outage, replacements: Replacements
    ) -> "Shared":
        """Sockets and memory for the numbers of processes in the settings."""
        fetchers = settings.frame_fetchers
        counters = SharedMetrics(2 * (fetchers + 2 + settings.web_processes))
        rate = RateLimiter(settings.rate_limit, settings.rate_limit_burst) if settings.rate_limit else None
        requests, tracing = RequestMetrics(2 * settings.web_processes), find_tracing(os.environ)
        traces_outage = tracing.outage if tracing else None
        status = ServiceStatus(counters, requests, index_outage, Outage("AHI"), traces_outage, replacements)
        return cls(listening, FetcherSockets(fetchers + 2), counters, requests, rate, tracing, status)

    @property
    def index_outage(self) -> Outage:
        return self.status.index_outage

    @property
    def ahi_outage(self) -> Outage:
        return self.status.ahi_outage

    def metrics_of_fetcher(self, number: int, place: Place) -> ProcessMetrics:
        """The counters of one fetcher; the numbers after the last one are the prefetch process and the forwarder."""
        return self.counters.process_metrics(2 * number + place.side)

    def metrics_of_web(self, number: int, place: Place) -> ProcessMetrics:
        """The counters of one web process."""
        return self.counters.process_metrics(2 * (len(self.sockets.paths) + number) + place.side)

    def with_spool(self, settings: Settings) -> Settings:
        """The settings of a process: SPOOL_ROOT is the spool of this service, also where several share a folder."""
        return replace(settings, spool_root=self.spool_lock.layout.root) if self.spool_lock else settings

    @property
    def prefetch_socket(self) -> str:
        return self.sockets.paths[-2]

    @property
    def forwarder_socket(self) -> str:
        return self.sockets.paths[-1]

    @property
    def fetcher_paths(self) -> list[str]:
        return self.sockets.paths[:-2]


def fetcher_children(settings: Settings, shared: Shared) -> list[Child]:
    """The FrameFetchers."""
    return [_fetcher(number, settings, shared) for number in range(settings.frame_fetchers)]


def _fetcher(number: int, settings: Settings, shared: Shared) -> Child:
    def run(place: Place) -> None:
        process_metrics, threads = shared.metrics_of_fetcher(number, place), settings.fetch_threads
        client = AhiClient(
            region=settings.aws_default_region or "",
            max_connections=threads,
            deadline_seconds=settings.ahi_deadline_seconds,
            process_metrics=process_metrics,
            outage=shared.ahi_outage,
            heartbeat=place.heartbeat,
        )
        cache = Cache(settings.cache_root, settings.cache_max_bytes, settings.cache_min_free_bytes, process_metrics)
        versions = VersionCache(
            settings.image_set_fresh_seconds,
            unchecked_seconds=settings.image_set_unchecked_seconds,
            cache=cache,
            changes=shared.changes,
        )
        verification = Verification(by_decoding=settings.verify_frames == DECODE)
        searches = ImageSetSearches(CALLS_PER_SECOND / settings.frame_fetchers, changes=shared.changes)
        bounds = JobLimits(settings.frame_max_bytes, settings.metadata_max_bytes)
        pixel_memory = PixelMemory(settings.frame_max_bytes)
        context = WorkerContext(client, cache, versions, bounds, pixel_memory, verification, searches=searches)
        limits = SchedulerLimits(threads, patience_seconds=settings.ahi_deadline_seconds)
        serve_fetcher(shared.sockets.listening[number], context, limits, place.heartbeat)

    silent_seconds = SILENT_SECONDS if HAS_OPENJPH else 3 * SILENT_SECONDS  # OpenJPEG keeps the interpreter
    return Child(f"FF{number}", run, ProcessKind.FETCHER, leaves=True, silent_seconds=silent_seconds)


def web_children(settings: Settings, index: Login, shared: Shared) -> list[Child]:
    """The web processes."""
    return [_web(number, settings, index, shared) for number in range(settings.web_processes)]


def _web(number: int, settings: Settings, index: Login, shared: Shared) -> Child:
    def run(place: Place) -> None:
        process_metrics = shared.metrics_of_web(number, place)
        database = _database(settings, index, shared, process_metrics, place.heartbeat)
        request_metrics = shared.requests.of_process(2 * number + place.side)
        audit_queue = open_trail(settings, database, process_metrics)
        fetchers = FetcherPool(shared.fetcher_paths, expecting=place.heartbeat.expecting)
        expecting = place.heartbeat.expecting
        may_write = settings.may_write_index
        open_writer = partial(open_index_writer, settings, pool_size=1, patience=OF_PEOPLE)
        writer = LazyWriter(open_writer) if may_write else None
        forwarder = Forwarder(shared.forwarder_socket, settings.store_wait_seconds, expecting)
        spans = shared.tracing.open(database) if shared.tracing else None
        monitoring = Monitoring(process_metrics, request_metrics, audit_queue, spans, shared.status)
        services = Services.of(
            shared.with_spool(settings),
            database,
            fetchers,
            monitoring,
            rate_limiter=shared.rate,
            prefetch_socket=shared.prefetch_socket,
            forwarder=forwarder if settings.store else None,
            changes=shared.changes,
            session_state=_session_state(writer, database, shared),
            index_writer=writer,
        )
        app = create_app(services)
        web.serve(
            app,
            shared.listening,
            threads=settings.web_threads,
            limits=_limits(settings),
            error_responder=_error_responder(settings, app, request_metrics),
            heartbeat=place.heartbeat,
            tell_connections=partial(process_metrics.set, Metric.CLIENT_CONNECTIONS),
        )
        give_up = time.monotonic() + FLUSH_SECONDS
        if audit_queue:
            audit_queue.close(FLUSH_SECONDS)
        if spans:
            spans.close(give_up - time.monotonic())

    drains_seconds = web.DRAIN_SECONDS + FLUSH_SECONDS + 1
    return Child(f"web{number}", run, ProcessKind.WEB, drains_seconds, leaves=True, silent_seconds=SILENT_SECONDS)


def _limits(settings: Settings) -> web.ServerLimits:
    return web.ServerLimits(
        of_client=settings.client_max_requests,
        of_all=settings.max_requests,
        connections_of_client=settings.client_max_connections,
        connections=settings.max_connections,
        patience_seconds=settings.slow_client_seconds,
        deadline_seconds=settings.response_deadline_seconds,
        trusted=settings.trusted_proxy,
        live_paths=live_paths(settings),
        spool_folder=settings.cache_root,
        is_body_streamed=is_store_request if settings.store else lambda _method, _path: False,
    )


def _error_responder(settings: Settings, app: Flask, counts: ProcessRequestMetrics) -> ErrorResponder:
    origins, trusted = settings.cors_origins, settings.trusted_proxy
    return ErrorResponder(settings.public_url, origins, trusted, partial(hide, app), counts)


def prefetch_child(settings: Settings, index: Login, shared: Shared) -> Child:
    """The prefetch process."""

    def run(place: Place) -> None:
        process_metrics = shared.metrics_of_fetcher(settings.frame_fetchers, place)
        cache = Cache(settings.cache_root, settings.cache_max_bytes, settings.cache_min_free_bytes, process_metrics)
        fetchers = FetcherPool(shared.fetcher_paths, Urgency.BACKGROUND, place.heartbeat.expecting)
        database = _database(settings, index, shared, process_metrics, place.heartbeat, most=1)
        image_sets = ImageSets(
            fetchers,
            cache,
            fresh_seconds=settings.image_set_fresh_seconds,
            max_bytes=_PREFETCH_CACHE_BYTES,
            changes=shared.changes,
        )
        prefetch_worker = PrefetchWorker(database, image_sets, Frames(fetchers, cache), place.heartbeat)
        watch = DeletionRecheck(DeletedImageSets(cache), fetchers)
        threading.Thread(target=watch.work, name="deletions", daemon=True).start()
        serve_prefetch(
            shared.sockets.listening[-2], shared.prefetch_socket, prefetch_worker, settings.prefetch, database
        )

    return Child("prefetch", run, ProcessKind.PREFETCH, leaves=True, silent_seconds=SILENT_SECONDS)


def forwarder_child(settings: Settings, index: Login, shared: Shared) -> Child:
    """The forwarder of a service that stores."""

    def run(place: Place) -> None:
        process_metrics = shared.metrics_of_fetcher(settings.frame_fetchers + 1, place)
        reporting: dict[str, Any] = {
            "process_metrics": process_metrics,
            "outage": shared.ahi_outage,
            "heartbeat": place.heartbeat,
        }
        region, seconds = settings.aws_default_region or "", _STORE_PATIENCE_SECONDS
        client = AhiClient(region=region, max_connections=THREADS, deadline_seconds=seconds, **reporting)
        stow = StowClient(
            region=region,
            endpoint=settings.ahi_stow_endpoint,
            signs_body=settings.ahi_stow_digest == SHA256,
            deadline_seconds=seconds,
            max_connections=THREADS,
            **reporting,
        )
        writer = open_index_writer(settings, pool_size=THREADS + 1)
        limits = ForwardLimits(settings.store_wait_seconds, seconds, settings.metadata_max_bytes)
        listening = shared.sockets.listening[-1]
        spool = Spool(shared.with_spool(settings).spool_root, settings.spool_min_free_bytes)
        records = StoreRecords(writer.session, holder_name(spool))
        database = _database(settings, index, shared, process_metrics, place.heartbeat, most=1)
        note = note_forwarded(open_trail(settings, database, process_metrics))
        adopt = partial(take_over, spool.layout) if settings.spool_shared else list
        parts = ForwarderParts(spool, client, stow, writer, records, shared.changes, note, adopt)
        serve_forwarder(listening, parts, limits, place.heartbeat, process_metrics)

    return Child("forwarder", run, ProcessKind.FORWARDER, leaves=True, silent_seconds=SILENT_SECONDS)


def metrics_child(listening: socket.socket, settings: Settings, shared: Shared) -> Child:
    """The metrics process, which answers Prometheus on a socket."""

    def run(place: Place) -> None:
        connections = settings.web_processes * settings.db_pool_size + 1  # one is of the prefetch process
        application = metrics.metrics_application(
            shared.counters, shared.requests, connections, shared.status.replacements
        )
        web.serve(application, listening, threads=1, heartbeat=place.heartbeat)

    return Child("metrics", run, ProcessKind.METRICS, leaves=True, silent_seconds=SILENT_SECONDS)


def _session_state(writer: LazyWriter | None, database: Database, shared: Shared) -> SessionState:
    """What the processes of this host share; with a login that writes, all hosts know of logouts and links."""
    state = shared.session_state
    if writer is None:
        return state
    links = IndexShareLinks(state.host_links, database, writer)
    return replace(state, everywhere=IndexRevocations(state.memory, database, writer), links_everywhere=links)


def _database(
    settings: Settings,
    index: Login,
    shared: Shared,
    process_metrics: ProcessMetrics,
    heartbeat: Heartbeat,
    most: int | None = None,
) -> Database:
    database = Database(
        index,
        find_trust(settings),
        shared.index_outage,
        pool_size=most or settings.db_pool_size,
        statement_timeout_seconds=settings.db_statement_timeout_seconds,
        expecting=heartbeat.expecting,
    )
    database.tell_use(lambda change: process_metrics.add(Metric.INDEX_CONNECTIONS_IN_USE, change))
    return database
