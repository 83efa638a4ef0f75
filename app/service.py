"""The processes of the service: FrameFetchers, and the web processes that hand them what is slow."""

import errno
import logging
import os
import resource
import socket
from functools import partial

from sqlalchemy.exc import ArgumentError

from ahi.cache import Cache
from ahi.client import AhiClient
from ahi.counters import Count, Counters, Tally
from ahi.desk import Limits, Urgency
from ahi.fetcher import serve as serve_fetcher
from ahi.fetchers import Checked, Fetchers, FetcherSockets, Workshop
from ahi.store import Frames, ImageSets
from app import metrics, web
from app.auth.configure import open_gate
from app.factory import create_app
from app.request_counts import RequestCounts
from app.settings import Settings, SettingsError
from app.supervisor import Child, Supervisor
from app.warmer import Warmer
from app.warmer import serve as serve_warmer
from db.engine import Database
from db.login import Login
from db.secret import SecretError, index_url
from db.tls import Tls
from dicomweb.errors import UpstreamBusy

log = logging.getLogger(__name__)

_BACKLOG = 1024
_MOST_FILES = 65_536  # connections, and files that are being sent
_WARMER_MAPPED_BYTES = 16 * 2**20


def bind(settings: Settings) -> socket.socket:
    """The bound socket of the service, not open yet; SettingsError when the address is taken or not ours."""
    family = socket.AF_INET6 if ":" in settings.host else socket.AF_INET
    listening = socket.socket(family)
    listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listening.bind((settings.host, settings.port))
    except OSError as error:
        raise SettingsError(f"HOST {settings.host}, PORT {settings.port}: {error.strerror}") from error
    return listening


def bind_metrics(settings: Settings) -> socket.socket | None:
    """The socket that Prometheus asks, None where it is not to; SettingsError when the address is taken or not ours."""
    if settings.metrics_port is None:
        return None
    try:
        return metrics.listen(settings.metrics_host, settings.metrics_port)
    except OSError as error:
        where = f"METRICS_HOST {settings.metrics_host}, METRICS_PORT {settings.metrics_port}"
        raise SettingsError(f"{where}: {error.strerror}") from error


def open_cache(settings: Settings) -> Cache:
    """The cache, within its bounds; SettingsError if it cannot be written to."""
    try:
        cache = Cache(settings.cache_root, settings.cache_max_bytes, settings.cache_min_free_bytes)
        cache.evict()
        if not os.access(cache.root, os.W_OK):
            raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))
    except OSError as error:
        raise SettingsError(f"CACHE_ROOT {settings.cache_root}: {error.strerror}") from error
    return cache


def find_index(settings: Settings) -> Login:
    """Where the metadata index is: named directly, or in the secret; SettingsError when that cannot be told."""
    read_secret = partial(index_url, settings.db_secret_arn or "", region=settings.aws_default_region)
    try:
        return Login(settings.database_url) if settings.database_url else Login(read_secret(), read_secret)
    except ArgumentError as error:
        raise SettingsError("DATABASE_URL is not a database URL") from error
    except (SecretError, UpstreamBusy) as error:
        raise SettingsError(f"DB_SECRET_ARN: {error}") from error


def find_trust(settings: Settings) -> Tls:
    """Whose certificates the index may show; SettingsError when they cannot be read."""
    trust = Tls(settings.db_tls, settings.db_tls_ca)
    try:
        trust.check()
    except ValueError as error:
        raise SettingsError(f"DB_TLS_CA {error}") from error
    return trust


def start(supervisor: Supervisor, settings: Settings, index: Login, listening: socket.socket) -> FetcherSockets:
    """Fork the processes of the service. The sockets are the caller's to remove when all has ended."""
    open_cache(settings)
    find_trust(settings)
    if not open_gate(settings).authenticators and not settings.on_loopback:
        log.warning("AUTH is none and HOST %s: whoever reaches the service sees all of it", settings.host)
    _, most_files = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(most_files, _MOST_FILES), most_files))
    listening.listen(_BACKLOG)
    listening.setblocking(False)  # of several that wake for one connection, all but one find none
    metrics_socket = bind_metrics(settings)
    sockets = FetcherSockets(settings.frame_fetchers + 1)
    counters = Counters(settings.frame_fetchers + settings.web_processes + 1)
    requests = RequestCounts(settings.web_processes)
    *fetcher_sockets, warmer_socket = sockets.listening
    for number, fetcher_socket in enumerate(fetcher_sockets):
        log.info("[Startup] - Forking FrameFetcher FF%d", number)
        supervisor.start(_fetcher(number, fetcher_socket, settings, counters))
    for number in range(settings.web_processes):
        supervisor.start(_web(number, listening, sockets.paths, settings, counters, requests, index))
    supervisor.start(_warmer(warmer_socket, sockets.paths, settings, counters, index))
    if metrics_socket:
        supervisor.start(_metrics(metrics_socket, settings, counters, requests))
    log.info("QIDO/WADO-RS service started.")
    return sockets


def _fetcher(number: int, fetcher_socket: socket.socket, settings: Settings, counters: Counters) -> Child:
    def run() -> None:
        tally, threads = counters.tally(number), settings.fetch_threads
        client = AhiClient(
            region=settings.aws_default_region or "",
            max_connections=threads,
            deadline_seconds=settings.ahi_deadline_seconds,
            tally=tally,
        )
        cache = Cache(settings.cache_root, settings.cache_max_bytes, settings.cache_min_free_bytes, tally)
        workshop = Workshop(client, cache, Checked(settings.image_set_fresh_seconds))
        serve_fetcher(fetcher_socket, workshop, Limits(threads, patience_seconds=settings.ahi_deadline_seconds))

    return Child(f"FF{number}", run)


def _web(
    number: int,
    listening: socket.socket,
    paths: list[str],
    settings: Settings,
    counters: Counters,
    requests: RequestCounts,
    index: Login,
) -> Child:
    def run() -> None:
        *fetcher_paths, warmer_path = paths
        tally = counters.tally(settings.frame_fetchers + number)
        database, counts = _database(settings, index, tally), requests.of_process(number)
        app = create_app(settings, database, Fetchers(fetcher_paths), tally, warmer_path, counts)
        web.serve(app, listening, threads=settings.web_threads)

    return Child(f"web{number}", run, drains_seconds=web.DRAIN_SECONDS + 1)


def _warmer(
    warmer_socket: socket.socket, paths: list[str], settings: Settings, counters: Counters, index: Login
) -> Child:
    def run() -> None:
        tally = counters.tally(settings.frame_fetchers + settings.web_processes)
        cache = Cache(settings.cache_root, settings.cache_max_bytes, settings.cache_min_free_bytes, tally)
        fetchers, database = Fetchers(paths[:-1], Urgency.BACKGROUND), _database(settings, index, tally, most=1)
        image_sets = ImageSets(
            fetchers, cache, fresh_seconds=settings.image_set_fresh_seconds, max_bytes=_WARMER_MAPPED_BYTES
        )
        serve_warmer(warmer_socket, Warmer(database, image_sets, Frames(fetchers, cache)), settings.prefetch, database)

    return Child("warmer", run)


def _metrics(listening: socket.socket, settings: Settings, counters: Counters, requests: RequestCounts) -> Child:
    def run() -> None:
        connections = settings.web_processes * settings.db_pool_size + 1  # one is the warmer's
        application = metrics.metrics_application(counters, requests, connections)
        web.serve(application, listening, threads=1)

    return Child("metrics", run)


def _database(settings: Settings, index: Login, tally: Tally, most: int | None = None) -> Database:
    database = Database(
        index,
        find_trust(settings),
        pool_size=most or settings.db_pool_size,
        statement_timeout_seconds=settings.db_statement_timeout_seconds,
    )
    database.tell_use(lambda change: tally.add(Count.INDEX_CONNECTIONS_IN_USE, change))
    return database
