"""Read-only sessions on the metadata index, whichever database holds it."""

import logging
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from functools import partial
from typing import Any, TypeVar

from sqlalchemy import Connection, Engine, Executable, Row, create_engine, event, inspect, select
from sqlalchemy.engine import URL
from sqlalchemy.exc import DBAPIError, InvalidatePoolError, NoSuchTableError, StatementError
from sqlalchemy.exc import TimeoutError as PoolTimeout
from sqlalchemy.pool import QueuePool

from db import driver_errors, drivers
from db.connector import connect, kind_of
from db.driver_errors import Cause
from db.drivers import UnusableUrl
from db.fuzzy import search_in_sqlite
from db.index_kind import IndexKind, find_kind, note_kind
from db.login import Login
from db.statement_cache import StatementCache
from db.tls import Tls
from dicomweb.errors import BadRequest, ProxyError, UpstreamBusy, UpstreamFailed
from runtime.fairness import FairSemaphore, UsualWait
from runtime.outage import Outage
from runtime.timing import describe, measured

log = logging.getLogger(__name__)

T = TypeVar("T")

_QUICK_SECONDS = 8.0  # more than the kernel needs to give up a connection, see db.drivers
_POOL_SECONDS = 10.0  # for a connection to become free
_IDLE_SECONDS = 5.0  # a connection that was idle for longer is checked before its use
_PING_SECONDS = 1.0
_SILENT_SECONDS = 5.0  # beyond the time that a statement may take: the server itself gives up before that

# Statements at the begin of a session: it is read-only, and no statement takes longer than {seconds}. MySQL would cut
# off the texts of db.comparison.listed after 1 KB.
_SESSION_START = {
    "mysql": (
        "SET SESSION TRANSACTION READ ONLY",
        "SET SESSION max_execution_time = {milliseconds}",
        "SET SESSION group_concat_max_len = 1048576",
    ),
    "mariadb": ("SET SESSION TRANSACTION READ ONLY", "SET SESSION max_statement_time = {seconds}"),
    "postgresql": ("SET default_transaction_read_only = on", "SET statement_timeout = {milliseconds}"),
    "sqlite": ("PRAGMA query_only = ON",),  # and a deadline for each statement, see below
}
_USUAL_PORTS = {"mysql": 3306, "postgresql": 5432}
_SQLITE_STEPS = 1000  # of its virtual machine, between two looks at the clock


class Database:
    """The metadata index: statements in, rows out. Connections are made when first needed, after any fork."""

    def __init__(
        self,
        login: Login | str | URL,
        tls: Tls | None = None,
        outage: Outage | None = None,
        *,
        pool_size: int = 8,
        statement_timeout_seconds: float = 30,
        expecting: Callable[[float], AbstractContextManager[object]] = nullcontext,
    ) -> None:
        """`pool_size` is the most connections at once; a statement is cancelled after `statement_timeout_seconds`.

        `outage` is told when the index goes and comes back, and may be shared by processes. `expecting` is entered
        around each wait, with the most seconds that it takes.
        """
        self._expecting = partial(expecting, _POOL_SECONDS + _QUICK_SECONDS + statement_timeout_seconds)
        self._outage = outage or Outage("index")
        self._login = login if isinstance(login, Login) else Login(login)
        self._tls = tls or Tls()
        self._statement_timeout_seconds = statement_timeout_seconds
        self._places = FairSemaphore(pool_size)
        self._statements = UsualWait()
        self._engine: Engine = create_engine(
            self._login.url,
            creator=lambda: connect(self._login, self._tls, self._engine.dialect),
            poolclass=QueuePool,
            pool_size=pool_size,
            max_overflow=0,
            pool_timeout=_POOL_SECONDS,
            pool_recycle=1800,
            isolation_level="AUTOCOMMIT",  # a statement is all there is: no round trips to begin and to end it
            skip_autocommit_rollback=True,
            hide_parameters=True,  # values of a search are patient data
        )
        self._index_kind: IndexKind | None = None
        event.listen(self._engine, "connect", self._start_session)
        event.listen(self._engine, "checkout", self._make_sure)
        event.listen(self._engine, "checkin", _note_idle)
        if self.kind == "sqlite":
            event.listen(self._engine, "before_cursor_execute", self._start_clock)

    def _start_session(self, connection: Any, _record: Any) -> None:
        dialect = self._engine.dialect
        kind = "mariadb" if getattr(dialect, "is_mariadb", False) else dialect.name
        seconds = self._statement_timeout_seconds
        if kind == "sqlite":
            connection.create_function("regexp", 2, search_in_sqlite, deterministic=True)
        cursor = connection.cursor()
        for statement in _SESSION_START[kind]:
            cursor.execute(statement.format(seconds=seconds, milliseconds=int(seconds * 1000)))
        cursor.close()
        connection.commit()  # or PostgreSQL forgets all of it when the first transaction is rolled back

    def _make_sure(self, connection: Any, record: Any, _proxy: Any) -> None:
        """Check a connection before its use. If it died while idle, all older ones are made again."""
        if remote := drivers.as_remote(connection):
            idle_since = record.info.get("idle_since", time.monotonic())
            if time.monotonic() - idle_since > _IDLE_SECONDS and not drivers.answers(remote, _PING_SECONDS):
                log.warning("a connection to the index had died")
                raise InvalidatePoolError()
            remote.set_patience(self._statement_timeout_seconds + _SILENT_SECONDS)

    def _start_clock(self, _connection: Any, cursor: Any, *_statement: Any) -> None:
        deadline = time.monotonic() + self._statement_timeout_seconds
        cursor.connection.set_progress_handler(lambda: time.monotonic() > deadline, _SQLITE_STEPS)

    def tell_use(self, tell: Callable[[int], None]) -> None:
        """Have `tell` called with 1 whenever a connection is taken from the pool, with -1 when it is given back.

        SQLAlchemy also gives back connections that could not be made; they are not counted.
        """

        def taken(_connection: Any, record: Any, _proxy: Any) -> None:
            record.record_info["taken"] = True
            tell(1)

        def given_back(_connection: Any, record: Any) -> None:
            if record.record_info.pop("taken", False):
                tell(-1)

        event.listen(self._engine, "checkout", taken)
        event.listen(self._engine, "checkin", given_back)

    def describe_statements(self) -> None:
        """Add the text of each statement to the timing of its request. Values in it are placeholders."""

        def begin(_connection: Any, _cursor: Any, statement: str, *_values: Any) -> None:
            describe(statement)

        event.listen(self._engine, "before_cursor_execute", begin)

    def rows(self, statement: Executable, parameters: Mapping[str, Any] | None = None) -> Sequence[Row[Any]]:
        """All rows of a statement with these parameters.

        UpstreamBusy if the index does not answer, BadRequest if it cannot compare a value, UpstreamFailed if it refuses
        the statement.

        A dead connection fails quickly; then the statement is tried again on a new one.
        """
        started = time.monotonic()
        with self._translated():
            try:
                return self._run(statement, parameters)
            except DBAPIError as error:
                died = error.connection_invalidated and error.statement is not None  # else it could not be made
                if not died or time.monotonic() - started > min(_QUICK_SECONDS, self._statement_timeout_seconds):
                    raise
            return self._run(statement, parameters)

    def _run(self, statement: Executable, parameters: Mapping[str, Any] | None) -> Sequence[Row[Any]]:
        with self._connection() as connection:
            started = time.monotonic()
            with self._statements.waiting():
                rows = connection.execute(statement, parameters).all()
            log.debug("index rows=%d ms=%d", len(rows), (time.monotonic() - started) * 1000)
            return rows

    @contextmanager
    def _connection(self) -> Iterator[Connection]:
        """A connection of the pool, which clients get in turn; PoolTimeout if that takes too long."""
        client = self._places.acquire(_POOL_SECONDS)
        if client is None:
            raise PoolTimeout("all connections are in use")
        try:
            with self._engine.connect() as connection:
                if self._index_kind is None:
                    self._find_index_kind(connection)
                yield connection
        finally:
            self._places.release(client)

    def _find_index_kind(self, connection: Connection) -> None:
        """Find the kind of the tables, before the first statement; again as long as there are none."""
        kind = find_kind(connection)
        note_kind(self._engine.dialect, kind or IndexKind.LEGACY)
        self._engine.update_execution_options(compiled_cache=StatementCache())
        self._index_kind = kind

    def look(self, at: Callable[[Connection], T]) -> T:
        """The result of `at` on a connection; errors are those of `rows`."""
        with self._translated(), self._connection() as connection:
            return at(connection)

    def columns(self, table: str) -> frozenset[str]:
        """The names of the columns of a table, none if there is no such table; errors are those of `rows`."""
        with self._translated(), self._connection() as connection:
            try:
                return frozenset(column["name"].lower() for column in inspect(connection).get_columns(table))
            except NoSuchTableError:
                return frozenset()

    @contextmanager
    def _translated(self) -> Iterator[None]:
        try:
            with measured("db"), self._expecting():
                yield
        except PoolTimeout as error:  # it is busy with us
            log.warning("no connection to the index was free")
            raise UpstreamBusy(_BUSY) from error
        except UnusableUrl as error:
            raise UpstreamFailed(f"the URL of the metadata index {error}") from error
        except (StatementError, UnicodeError, OverflowError) as error:  # the latter two from values, by some drivers
            raise self._in_our_words(error) from error
        self._outage.is_over()

    def _in_our_words(self, error: Exception) -> ProxyError:
        match driver_errors.cause(error):
            case Cause.AWAY:
                return self._away(error)
            case Cause.BUSY:
                log.warning("index has no room for a statement error=%s", driver_errors.kind(error))
                found: ProxyError = UpstreamBusy(_BUSY)
            case Cause.SLOW:
                log.warning("statement cancelled after=%gs", self._statement_timeout_seconds)
                found = UpstreamBusy(_TOO_SLOW.format(self._statement_timeout_seconds), retry_after_seconds=30)
            case Cause.ASKED:
                log.info("index cannot compare what was asked for error=%s", driver_errors.kind(error))
                found = BadRequest(str(driver_errors.asked_too_much(error)))
            case Cause.REFUSED:
                log.error("index refused a statement error=%s", driver_errors.kind(error))
                found = UpstreamFailed("the metadata index refused the search")
        self._outage.is_over()  # it answered
        return found

    def _away(self, error: Exception) -> UpstreamBusy:
        reason = driver_errors.not_trusted(error)
        self._outage.begins(f"not trusted, {reason}" if reason else driver_errors.kind(error))
        return UpstreamBusy(
            f"the metadata index is not trusted: {reason}" if reason else "the metadata index does not answer"
        )

    @property
    def kind(self) -> str:
        """`mysql`, `postgresql` or `sqlite`."""
        return kind_of(self._engine.dialect)

    @property
    def index_kind(self) -> IndexKind:
        """The kind of the tables, LEGACY if there are none; the errors are those of `rows` until it is known."""
        if self._index_kind is None:
            self.look(lambda _: None)
        return self._index_kind or IndexKind.LEGACY

    @property
    def host(self) -> str | None:
        """The host of the index; None for a file."""
        return self._login.url.host

    @property
    def place(self) -> str:
        """The server of the index in words, `HOST port PORT`, or its file."""
        url = self._login.url
        if self.kind not in _USUAL_PORTS:
            return f"the file {url.database}"
        return f"{url.host or 'localhost'} port {url.port or _USUAL_PORTS[self.kind]}"

    def ping(self) -> None:
        """Return if the index answers, else raise UpstreamBusy."""
        self.rows(select(1))

    def close(self) -> None:
        """Close all connections."""
        self._engine.dispose()


_BUSY = "the metadata index has more to do than it can at the moment"
_TOO_SLOW = (
    "the metadata index took longer than {:g} seconds: narrow the search, by a patient or a range of dates for example"
)


def _note_idle(_connection: Any, record: Any) -> None:
    record.info["idle_since"] = time.monotonic()
