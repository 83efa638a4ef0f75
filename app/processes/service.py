"""The processes of the service: FrameFetchers, web processes, the prefetch process and the metrics process."""

import errno
import logging
import os
import resource
import socket
import threading
import time
from dataclasses import dataclass, field, replace
from functools import partial

from flask import Flask

from ahi.cache.cache import Cache
from ahi.client.calls import AhiClient
from ahi.client.configuration import configuration_error
from ahi.client.searches import CALLS_PER_SECOND, ImageSetSearches
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
from app.audit.configure import FLUSH_SECONDS, announce, check_audit, open_trail
from app.audit.event import EventKind
from app.auth.configure import open_gate
from app.factory import create_app
from app.health import live_paths
from app.middleware.rate_limiter import RateLimiter
from app.prefetch.worker import PrefetchWorker
from app.prefetch.worker import serve as serve_warmer
from app.processes import web
from app.processes.supervisor import Child, Place, Supervisor
from app.processes.watchdog import SILENT_SECONDS
from app.server.refusals import ErrorResponder
from app.services import Monitoring, Services
from app.setting_parsers import DECODE
from app.settings import NotNowError, Settings, SettingsError
from app.telemetry import metrics
from app.telemetry.access_log import hide
from app.telemetry.replacements import ProcessKind, Replacements
from app.telemetry.request_metrics import ProcessRequestMetrics, RequestMetrics
from app.telemetry.tracing import Tracing, find_tracing
from db import tls
from db.drivers import UnusableUrl
from db.engine import Database
from db.login import Login
from db.rds import token_maker
from db.secret import SecretError, index_url
from db.tls import Tls
from dicomweb.errors import UpstreamBusy, UpstreamFailed
from runtime.heartbeat import Heartbeat
from runtime.outage import Outage
from runtime.shared_metrics import Metric, ProcessMetrics, SharedMetrics

log = logging.getLogger(__name__)

_DISK_TROUBLES = (errno.EROFS, errno.EIO, errno.ENOSPC, errno.EDQUOT, errno.ESTALE)
_BACKLOG = 1024
_MOST_FILES = 65_536  # connections, and files that are being sent
_WARMER_KEPT_BYTES = 16 * 2**20


def bind(settings: Settings) -> socket.socket:
    """The bound socket of the service, not listening yet; SettingsError if the address is taken or not ours."""
    family = socket.AF_INET6 if ":" in settings.host else socket.AF_INET
    listening = socket.socket(family)
    listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listening.bind((settings.host, settings.port))
    except (OSError, UnicodeError) as error:  # the latter from a malformed name
        reason = error.strerror if isinstance(error, OSError) else "is not the name of a host"
        raise SettingsError(f"HOST {settings.host}, PORT {settings.port}: {reason}") from error
    return listening


def bind_metrics(settings: Settings) -> socket.socket | None:
    """The socket for Prometheus, None without METRICS_PORT; SettingsError if the address is taken or not ours."""
    if settings.metrics_port is None:
        return None
    try:
        return metrics.listen(settings.metrics_host, settings.metrics_port)
    except OSError as error:
        where = f"METRICS_HOST {settings.metrics_host}, METRICS_PORT {settings.metrics_port}"
        raise SettingsError(f"{where}: {error.strerror}") from error


def open_cache(settings: Settings) -> Cache:
    """The cache, within its limits; SettingsError if it cannot be written to.

    A full, read-only or broken disk is no mistake in the settings: the service runs without a cache meanwhile.
    """
    cache = Cache(settings.cache_root, settings.cache_max_bytes, settings.cache_min_free_bytes)
    try:
        cache.make_root()
        cache.evict()
        if write_error := cache.write_error():
            raise write_error
    except OSError as error:
        if error.errno not in _DISK_TROUBLES:
            raise SettingsError(f"CACHE_ROOT {settings.cache_root}: {error.strerror}") from error
        log.warning("the cache cannot be used, serving without it: %s", error.strerror)
    return cache


def find_index(settings: Settings) -> Login:
    """Where the metadata index is: named directly, or in the secret; SettingsError when that cannot be told.

    NotNowError where Secrets Manager does not tell: it may be away, or a right or the credentials of a role come later.
    """
    read_secret = partial(
        index_url,
        settings.db_secret_arn or "",
        region=settings.aws_default_region,
        usual_host=settings.db_host,
        needs_password=not settings.db_iam_auth,
    )
    make_password = token_maker(settings.aws_default_region) if settings.db_iam_auth else None
    try:
        if settings.database_url:
            return Login(settings.database_url, make_password=make_password)
        return Login(read_secret(), read_secret, make_password)
    except UnusableUrl as error:
        raise SettingsError(f"DATABASE_URL {error}") from error
    except (SecretError, UpstreamBusy) as error:
        raise NotNowError(f"DB_SECRET_ARN: {error}") from error


def try_index(settings: Settings, index: Login, outage: Outage) -> None:
    """Make a first connection; SettingsError where the driver does not take what is set.

    An index that does not answer is told in one line, and keeps nothing from starting: it may come later.
    """
    first = index.without_reading_again()  # in a process without threads
    database = Database(first, find_trust(settings), outage, pool_size=1)
    try:
        database.ping()
    except UpstreamFailed as error:
        raise SettingsError(f"{'DATABASE_URL' if settings.database_url else 'DB_SECRET_ARN'}: {error}") from error
    except UpstreamBusy:
        pass  # told by the outage
    finally:
        database.close()


def find_trust(settings: Settings) -> Tls:
    """The certificates that the index may show; SettingsError if they cannot be read."""
    trust = Tls(tls.VERIFY if settings.db_iam_auth else settings.db_tls, settings.db_tls_ca)
    try:
        trust.check()
    except ValueError as error:
        raise SettingsError(f"DB_TLS_CA {error}") from error
    return trust


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
    index_outage: Outage = field(default_factory=lambda: Outage("index"))
    ahi_outage: Outage = field(default_factory=lambda: Outage("AHI"))

    @classmethod
    def of(cls, settings: Settings, listening: socket.socket) -> "Shared":
        """Sockets and memory for the numbers of processes in the settings."""
        fetchers = settings.frame_fetchers
        counters = SharedMetrics(2 * (fetchers + 1 + settings.web_processes))
        rate = RateLimiter(settings.rate_limit, settings.rate_limit_burst) if settings.rate_limit else None
        requests, tracing = RequestMetrics(2 * settings.web_processes), find_tracing(os.environ)
        return cls(listening, FetcherSockets(fetchers + 1), counters, requests, rate, tracing)

    def metrics_of_fetcher(self, number: int, place: Place) -> ProcessMetrics:
        """The counters of one fetcher; the number after the last fetcher is the prefetch process."""
        return self.counters.process_metrics(2 * number + place.side)

    def metrics_of_web(self, number: int, place: Place) -> ProcessMetrics:
        """The counters of one web process."""
        return self.counters.process_metrics(2 * (len(self.sockets.paths) + number) + place.side)

    @property
    def prefetch_socket(self) -> str:
        return self.sockets.paths[-1]

    @property
    def fetcher_paths(self) -> list[str]:
        return self.sockets.paths[:-1]


def start(supervisor: Supervisor, settings: Settings, index: Login, listening: socket.socket) -> Shared:
    """Fork the processes of the service. The shared sockets are the caller's to remove when all has ended."""
    open_cache(settings)
    check_audit(settings)
    if wrong := configuration_error(settings.aws_default_region or ""):
        raise SettingsError(wrong)
    if not open_gate(settings).authenticators and not settings.on_loopback:
        log.warning("AUTH is none and HOST %s: whoever reaches the service sees all of it", settings.host)
    _, most_files = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(most_files, _MOST_FILES), most_files))
    listening.listen(_BACKLOG)
    listening.setblocking(False)  # of several that wake for one connection, all but one find none
    metrics_socket = bind_metrics(settings)
    index_outage = Outage("index")
    try_index(settings, index, index_outage)
    shared = replace(Shared.of(settings, listening), index_outage=index_outage)
    for number in range(settings.frame_fetchers):
        log.info("[Startup] - Forking FrameFetcher FF%d", number)
        supervisor.start(_fetcher(number, settings, shared))
    for child in web_children(settings, index, shared):
        supervisor.start(child)
    supervisor.start(prefetch_child(settings, index, shared))
    if metrics_socket:
        supervisor.start(_metrics(metrics_socket, settings, shared, supervisor.replacements))
    supervisor.growth.max_bytes = settings.memory_max
    announce(settings, EventKind.START)
    log.info("QIDO/WADO-RS service started.")
    log.info("Serving on http://%s:%d", f"[{settings.host}]" if ":" in settings.host else settings.host, settings.port)
    return shared


def stopped(settings: Settings) -> None:
    """To be called when all processes have ended."""
    announce(settings, EventKind.STOP)


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
            settings.image_set_fresh_seconds, unchecked_seconds=settings.image_set_unchecked_seconds, cache=cache
        )
        verification = Verification(by_decoding=settings.verify_frames == DECODE)
        searches = ImageSetSearches(CALLS_PER_SECOND / settings.frame_fetchers)
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
        audit_queue = open_trail(settings, database)
        fetchers = FetcherPool(shared.fetcher_paths, expecting=place.heartbeat.expecting)
        spans = shared.tracing.open(database) if shared.tracing else None
        monitoring = Monitoring(process_metrics, request_metrics, audit_queue, spans)
        services = Services.of(
            settings,
            database,
            fetchers,
            monitoring,
            rate_limiter=shared.rate,
            prefetch_socket=shared.prefetch_socket,
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
            fetchers, cache, fresh_seconds=settings.image_set_fresh_seconds, max_bytes=_WARMER_KEPT_BYTES
        )
        prefetch_worker = PrefetchWorker(database, image_sets, Frames(fetchers, cache), place.heartbeat)
        watch = DeletionRecheck(DeletedImageSets(cache), fetchers)
        threading.Thread(target=watch.work, name="deletions", daemon=True).start()
        serve_warmer(shared.sockets.listening[-1], shared.prefetch_socket, prefetch_worker, settings.prefetch, database)

    return Child("warmer", run, ProcessKind.PREFETCH, leaves=True, silent_seconds=SILENT_SECONDS)


def _metrics(listening: socket.socket, settings: Settings, shared: Shared, replacements: Replacements) -> Child:
    def run(place: Place) -> None:
        connections = settings.web_processes * settings.db_pool_size + 1  # one is the warmer's
        application = metrics.metrics_application(shared.counters, shared.requests, connections, replacements)
        web.serve(application, listening, threads=1, heartbeat=place.heartbeat)

    return Child("metrics", run, ProcessKind.METRICS, leaves=True, silent_seconds=SILENT_SECONDS)


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
