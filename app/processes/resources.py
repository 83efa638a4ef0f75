"""Sockets, cache and index that the settings name, opened or checked. Runs in the supervisor and in commands."""

import errno
import logging
import socket
from functools import partial

from ahi.cache.cache import Cache
from app.setting_parsers import ANSWER_SPOOLED
from app.settings import NotNowError, Settings, SettingsError
from app.telemetry import metrics
from db import tls
from db.drivers import UnusableUrl
from db.engine import Database
from db.login import Login
from db.migrations.migrate import NewerVersion, OtherTables
from db.rds import token_maker
from db.secret import SecretError, index_url
from db.tls import Tls
from dicomweb.errors import UpstreamBusy, UpstreamFailed
from index.writing.session import OF_PROGRAMS, Patience
from index.writing.writer import IndexWriter
from runtime.outage import Outage
from store.spool.layout import LOCK_SECONDS, Layout, SpoolInUse, SpoolLock, passing_file_system
from store.spool.shared import layouts_in, take_spool
from store.spool.spool import Spool

log = logging.getLogger(__name__)

_DISK_ERRORS = (errno.EROFS, errno.EIO, errno.ENOSPC, errno.EDQUOT, errno.ESTALE)


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
        if error.errno not in _DISK_ERRORS:
            raise SettingsError(f"CACHE_ROOT {settings.cache_root}: {error.strerror}") from error
        log.warning("the cache cannot be used, serving without it: %s", error.strerror)
    return cache


def open_spools(settings: Settings) -> list[Spool]:
    """The spools of the settings: one, or those of all services that share the folder. Nothing is made; OSError."""
    roots = [layout.root for layout in layouts_in(settings.spool_root)] if settings.spool_shared else []
    return [Spool(root, settings.spool_min_free_bytes) for root in roots or [settings.spool_root]]


def lock_spool(settings: Settings, wait_seconds: float = LOCK_SECONDS) -> SpoolLock | None:
    """Make or clean the spool and lock it, for a service that stores; None for another.

    SettingsError if it cannot be written, or not relied on, NotNowError if another service uses it for `wait_seconds`.
    """
    if not settings.store:
        return None
    where = f"SPOOL_ROOT {settings.spool_root}"
    try:
        if settings.spool_shared:
            lock = take_spool(settings.spool_root)
        else:
            layout = Layout(settings.spool_root)
            layout.make()
            lock = SpoolLock(layout, wait_seconds)
        Spool(lock.layout.root).open()
    except OSError as error:
        raise SettingsError(f"{where}: {error.strerror}") from error
    except SpoolInUse as error:
        raise NotNowError(f"{where}: {error}") from error
    if settings.store_answer == ANSWER_SPOOLED and (kind := passing_file_system(lock.layout.root)):
        raise SettingsError(f"{where} is on {kind}, which does not last: STORE_ANSWER=spooled needs a disk that does")
    return lock


def prepare_store_index(settings: Settings) -> None:
    """Make the tables that a service that stores writes to, or migrate them; SettingsError if they are not ours.

    If the index does not answer, a line in the log says so, and the start goes on.
    """
    writer = open_index_writer(settings, pool_size=1)
    try:
        writer.create_or_migrate()
    except (OtherTables, NewerVersion) as error:
        raise SettingsError(f"STORE needs an index of its own (doc/deploy/index.md): {error}") from error
    except UpstreamFailed as error:
        raise SettingsError(f"INDEX_WRITE_URL or INDEX_WRITE_SECRET_ARN: {error}") from error
    except UpstreamBusy as error:
        log.warning("the index cannot be written yet: %s", error)
    finally:
        writer.close()


def find_index(settings: Settings) -> Login:
    """The login of the metadata index, from a URL or the secret; SettingsError if there is no usable one.

    NotNowError if Secrets Manager gives no secret: it may be away, or rights or credentials of a role may come later.
    """
    return _find_login(settings, "DATABASE_URL", settings.database_url, "DB_SECRET_ARN", settings.db_secret_arn)


def find_index_writer(settings: Settings) -> Login:
    """The login that may write to the index; errors are those of `find_index`, and SettingsError without a login."""
    if not settings.may_write_index:
        raise SettingsError("neither INDEX_WRITE_SECRET_ARN nor INDEX_WRITE_URL gives a login that may write the index")
    url, secret_arn = settings.index_write_url, settings.index_write_secret_arn
    return _find_login(settings, "INDEX_WRITE_URL", url, "INDEX_WRITE_SECRET_ARN", secret_arn)


def open_index_writer(settings: Settings, *, pool_size: int = 4, patience: Patience = OF_PROGRAMS) -> IndexWriter:
    """What writes to the index, with the login for it; errors are those of `find_index_writer`."""
    return IndexWriter(find_index_writer(settings), find_trust(settings), pool_size=pool_size, patience=patience)


def _find_login(settings: Settings, url_name: str, url: str | None, arn_name: str, secret_arn: str | None) -> Login:
    read_secret = partial(
        index_url,
        secret_arn or "",
        region=settings.aws_default_region,
        usual_host=settings.db_host,
        needs_password=not settings.db_iam_auth,
    )
    make_password = token_maker(settings.aws_default_region) if settings.db_iam_auth else None
    try:
        if url:
            return Login(url, make_password=make_password)
        return Login(read_secret(), read_secret, make_password)
    except UnusableUrl as error:
        raise SettingsError(f"{url_name} {error}") from error
    except (SecretError, UpstreamBusy) as error:
        raise NotNowError(f"{arn_name}: {error}") from error


def try_index(settings: Settings, index: Login, outage: Outage) -> None:
    """Make a first connection; SettingsError if the driver does not take the settings.

    If the index does not answer, a line in the log says so, and the start goes on: it may come later.
    """
    first = index.without_reading_again()  # in a process without threads
    database = Database(first, find_trust(settings), outage, pool_size=1)
    try:
        database.ping()
    except UpstreamFailed as error:
        raise SettingsError(f"{'DATABASE_URL' if settings.database_url else 'DB_SECRET_ARN'}: {error}") from error
    except UpstreamBusy:
        pass  # the outage has logged it
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
