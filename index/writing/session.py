"""Transactions that write the index, on MySQL, MariaDB, PostgreSQL and SQLite. Safe to share between threads.

A transaction that meets another writer (a deadlock, a row that both insert) is rolled back and run again.
"""

import logging
import random
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, TypeVar

from sqlalchemy import Connection, Engine, create_engine, event
from sqlalchemy.exc import DBAPIError, IntegrityError, StatementError
from sqlalchemy.exc import TimeoutError as PoolTimeout

from db import driver_errors, drivers
from db.connector import connect, kind_of
from db.driver_errors import Cause
from db.login import Login
from db.tls import Tls
from dicomweb.errors import ProxyError, UpstreamBusy, UpstreamFailed, UpstreamRefused, UpstreamThrottled

log = logging.getLogger(__name__)

T = TypeVar("T")

_ATTEMPTS = 20
_PAUSE_SECONDS = 0.02  # after the first conflict, twice as long after each further one
_LONGEST_PAUSE_SECONDS = 1.0
_LONG_WORK_SECONDS = 24 * 3600.0
_CHANGED_MEANWHILE = 1020  # MariaDB, by its snapshots

_SESSION_START = {
    "mysql": (
        "SET SESSION sql_mode = 'STRICT_ALL_TABLES,NO_ZERO_DATE,NO_ENGINE_SUBSTITUTION'",
        "SET SESSION innodb_lock_wait_timeout = {lock_seconds}",
    ),
    "postgresql": ("SET lock_timeout = '{lock_seconds}s'",),
    "sqlite": (
        "PRAGMA busy_timeout = {lock_seconds}000",
        "PRAGMA foreign_keys = ON",
        "PRAGMA journal_mode = WAL",
    ),  # searches read while an import writes
}


@dataclass(frozen=True)
class Patience:
    """Seconds that a transaction may wait: for a lock, for an answer to a statement, and for a connection.

    After `again_seconds` it is not run again.
    """

    lock_seconds: int
    answer_seconds: float
    connection_seconds: float
    again_seconds: float


OF_PROGRAMS = Patience(lock_seconds=30, answer_seconds=120, connection_seconds=60, again_seconds=60)
"""Nobody waits for what they write: it must be written."""

OF_PEOPLE = Patience(lock_seconds=3, answer_seconds=10, connection_seconds=3, again_seconds=3)
"""A browser waits, and a thread of a web process: they are told soon that it cannot be written."""


class WriteSession:
    """Makes connections when they are first needed, after any fork."""

    def __init__(self, login: Login, tls: Tls, pool_size: int, patience: Patience = OF_PROGRAMS) -> None:
        """`pool_size` is the most connections at once."""
        self._patience = patience
        url = login.url
        is_file = url.get_backend_name() == "sqlite"
        kept = {"pool_size": pool_size, "max_overflow": 0, "pool_recycle": 1800}
        pool = {} if is_file else {**kept, "pool_timeout": patience.connection_seconds}
        self._engine: Engine = create_engine(
            url,
            creator=lambda: connect(login, tls, self._engine.dialect),
            hide_parameters=True,  # they are patient data
            pool_pre_ping=True,
            isolation_level=None if is_file else "READ COMMITTED",  # each statement sees what others have committed
            **pool,
        )
        event.listen(self._engine, "connect", self._start)
        if is_file:
            event.listen(self._engine, "begin", _lock_file)
        self._not_lasting = self._engine.execution_options(lasts=False)

    @property
    def kind(self) -> str:
        """`mysql`, `postgresql` or `sqlite`."""
        return kind_of(self._engine.dialect)

    def run(self, work: Callable[[Connection], T], *, lasts: bool = True) -> T:
        """The result of `work` in a transaction, which it may run several times.

        If it need not last, a loss of power may take it away from a file of SQLite: nobody waits for the disk.

        UpstreamBusy if the index does not answer, UpstreamThrottled if it has no room or others hold it too long,
        UpstreamFailed if it refuses a statement, UpstreamRefused if the login may not write.
        """
        begun = time.monotonic()
        for attempt in range(_ATTEMPTS):
            try:
                with (self._engine if lasts else self._not_lasting).begin() as connection:
                    return work(connection)
            except (StatementError, PoolTimeout, drivers.UnusableUrl) as error:
                is_last = attempt == _ATTEMPTS - 1 or time.monotonic() - begun > self._patience.again_seconds
                if is_last or not _is_conflict(error):
                    self._forget_servers_that_are_away(error)
                    raise _in_our_words(error) from None
                log.debug("index transaction again error=%s", driver_errors.kind(error))
            longest = min(_LONGEST_PAUSE_SECONDS, _PAUSE_SECONDS * 2**attempt)
            time.sleep(random.uniform(0, longest))  # noqa: S311 - so that two do not meet again
        raise AssertionError("the last attempt returns or raises")

    def _forget_servers_that_are_away(self, error: Exception) -> None:
        """Have the next transactions make connections of their own: a failover leaves some to a server that reads."""
        if isinstance(error, DBAPIError) and driver_errors.cause(error) is Cause.AWAY:
            self._engine.dispose()

    @contextmanager
    def long_work(self) -> Iterator[Connection]:
        """A connection for statements that may take hours; it serves for nothing else afterwards.

        It begins transactions by itself. Errors are those of `run`.
        """
        with self.connection() as connection:
            if remote := drivers.as_remote(connection.connection.driver_connection):
                remote.set_patience(_LONG_WORK_SECONDS)
            try:
                yield connection
            finally:
                connection.invalidate()

    @contextmanager
    def connection(self) -> Iterator[Connection]:
        """A connection that begins a transaction by itself; errors are those of `run`."""
        try:
            with self._engine.connect() as connection:
                yield connection
        except (StatementError, PoolTimeout, drivers.UnusableUrl) as error:
            raise _in_our_words(error) from None

    def close(self) -> None:
        """Close all connections."""
        self._engine.dispose()

    def _start(self, connection: Any, _record: Any) -> None:
        if remote := drivers.as_remote(connection):
            remote.set_patience(self._patience.answer_seconds)
        else:
            connection.isolation_level = None  # the driver begins no transaction: `_lock_file` does
        cursor = connection.cursor()
        for statement in _SESSION_START[self.kind]:
            cursor.execute(statement.format(lock_seconds=self._patience.lock_seconds))
        cursor.close()
        if self.kind != "sqlite":
            connection.commit()


def _lock_file(connection: Connection) -> None:
    lasts = connection.get_execution_options().get("lasts", True)
    connection.exec_driver_sql(f"PRAGMA synchronous = {'FULL' if lasts else 'NORMAL'}")
    connection.exec_driver_sql("BEGIN IMMEDIATE")


def _is_conflict(error: Exception) -> bool:
    if isinstance(error, IntegrityError):
        return True
    if not isinstance(error, DBAPIError):
        return False
    return driver_errors.cause(error) is Cause.BUSY or _CHANGED_MEANWHILE in getattr(error.orig, "args", ())[:1]


def _in_our_words(error: Exception) -> ProxyError:
    if isinstance(error, PoolTimeout):
        return UpstreamThrottled("all connections to the index are in use")
    if isinstance(error, drivers.UnusableUrl):
        return UpstreamFailed(f"the URL of the index {error}")
    kind = driver_errors.kind(error)
    cause = driver_errors.cause(error)
    if cause is Cause.BUSY:
        return UpstreamThrottled(f"the index has no room, or others hold it: {kind}")
    if cause in (Cause.AWAY, Cause.SLOW):
        reason = driver_errors.not_trusted(error)
        return UpstreamBusy(f"the index does not answer: {reason or kind}")
    if driver_errors.writing_refused(error):
        return UpstreamRefused(f"the login has no right to write the index: {kind}")
    return UpstreamFailed(f"the index refused to be written: {kind}")
