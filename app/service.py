"""The processes of the service: FrameFetchers, and the web processes that hand them what is slow."""

import logging
import socket

from sqlalchemy.engine import URL, make_url
from sqlalchemy.exc import ArgumentError

from ahi.cache import Cache
from ahi.client import AhiClient
from ahi.desk import Limits
from ahi.fetcher import serve as serve_fetcher
from ahi.fetchers import Checked, Fetchers, FetcherSockets, Workshop
from app import web
from app.factory import create_app
from app.settings import Settings, SettingsError
from app.supervisor import Child, Supervisor
from db.engine import Database
from db.secret import SecretError, index_url
from dicomweb.errors import UpstreamBusy

log = logging.getLogger(__name__)

_BACKLOG = 1024


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


def open_cache(settings: Settings) -> None:
    """Nothing if the cache can be written to, else SettingsError."""
    try:
        Cache(settings.cache_root, settings.cache_max_bytes).evict()
    except OSError as error:
        raise SettingsError(f"CACHE_ROOT {settings.cache_root}: {error.strerror}") from error


def find_index(settings: Settings) -> URL:
    """Where the metadata index is: named directly, or in the secret; SettingsError when that cannot be told."""
    try:
        if settings.database_url:
            return make_url(settings.database_url)
        return index_url(settings.db_secret_arn or "", region=settings.aws_default_region)
    except ArgumentError as error:
        raise SettingsError("DATABASE_URL is not a database URL") from error
    except (SecretError, UpstreamBusy) as error:
        raise SettingsError(f"DB_SECRET_ARN: {error}") from error


def start(supervisor: Supervisor, settings: Settings, index: URL, listening: socket.socket) -> FetcherSockets:
    """Fork the processes of the service. The sockets are the caller's to remove when all has ended."""
    open_cache(settings)
    listening.listen(_BACKLOG)
    listening.setblocking(False)  # of several that wake for one connection, all but one find none
    sockets = FetcherSockets(settings.frame_fetchers)
    for number, fetcher_socket in enumerate(sockets.listening):
        log.info("[Startup] - Forking FrameFetcher FF%d", number)
        supervisor.start(_fetcher(f"FF{number}", fetcher_socket, settings))
    for number in range(settings.web_processes):
        supervisor.start(_web(f"web{number}", listening, sockets.paths, settings, index))
    log.info("QIDO/WADO-RS service started.")
    return sockets


def _fetcher(name: str, fetcher_socket: socket.socket, settings: Settings) -> Child:
    def run() -> None:
        region = settings.aws_default_region or ""
        threads, deadline_seconds = settings.fetch_threads, settings.ahi_deadline_seconds
        client = AhiClient(region=region, max_connections=threads, deadline_seconds=deadline_seconds)
        cache = Cache(settings.cache_root, settings.cache_max_bytes)
        workshop = Workshop(client, cache, Checked(settings.image_set_fresh_seconds))
        serve_fetcher(fetcher_socket, workshop, Limits(threads, patience_seconds=deadline_seconds))

    return Child(name, run)


def _web(name: str, listening: socket.socket, fetcher_paths: list[str], settings: Settings, index: URL) -> Child:
    def run() -> None:
        database = Database(
            index,
            pool_size=settings.db_pool_size,
            statement_timeout_seconds=settings.db_statement_timeout_seconds,
        )
        app = create_app(settings, database, Fetchers(fetcher_paths))
        web.serve(app, listening, threads=settings.web_threads, trusted_proxy=settings.trusted_proxy)

    return Child(name, run, drains_seconds=web.DRAIN_SECONDS + 1)
