"""Read-only sessions on the metadata index, whichever database holds it."""

import logging
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext
from typing import Any, TypeVar, cast

from sqlalchemy import Connection, Executable, Row, create_engine, event, inspect, select
from sqlalchemy.engine import URL
from sqlalchemy.exc import DBAPIError, InterfaceError, InternalError, NoSuchTableError, OperationalError
from sqlalchemy.exc import TimeoutError as PoolTimeout
from sqlalchemy.pool import QueuePool

from db import mysql, trouble
from db.fuzzy import search_in_sqlite
from db.login import Login
from db.tls import Tls
from dicomweb.errors import UpstreamBusy, UpstreamFailed
from dicomweb.outage import Outage
from dicomweb.timing import describe, measured
from dicomweb.waiting import waiting

log = logging.getLogger(__name__)

T = TypeVar("T")

_QUICK_SECONDS = 2.0
_POOL_SECONDS = 10.0  # for a connection to become free

# What each database is told when a session begins: read only, and no statement longer than {seconds}. MySQL
# would cut off what db.comparison.listed lists after 1 KB.
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
    ) -> None:
        """`pool_size` is the most connections at once; a statement is cancelled after `statement_timeout_seconds`.

        `outage` is told when the index goes and comes back, and may be shared by processes.
        """
        self._outage = outage or Outage("index")
        self._login = login if isinstance(login, Login) else Login(login)
        self._tls = tls or Tls()
        self._statement_timeout_seconds = statement_timeout_seconds
        self._places = threading.BoundedSemaphore(pool_size)
        self._engine = create_engine(
            self._login.url,
            creator=self._connect,
            poolclass=QueuePool,
            pool_size=pool_size,
            max_overflow=0,
            pool_timeout=_POOL_SECONDS,
            pool_recycle=1800,
            isolation_level="AUTOCOMMIT",  # a statement is all there is: no round trips to begin and to end it
            skip_autocommit_rollback=True,
            hide_parameters=True,  # values of a search are patient data
        )
        event.listen(self._engine, "connect", self._start_session)
        if self.kind == "sqlite":
            event.listen(self._engine, "before_cursor_execute", self._start_clock)

    def _connect(self) -> Any:
        """A connection of the driver; where the login is refused and another has become known, one with that."""
        url = self._login.url
        with waiting():
            try:
                return self._connect_to(url)
            except Exception as error:
                renewed = self._login.other_than(url) if trouble.login_refused(error) else None
                if renewed is None:
                    raise
            return self._connect_to(renewed)

    def _connect_to(self, url: URL) -> Any:
        dialect = self._engine.dialect
        positional, named = dialect.create_connect_args(url)
        named.update(_connect_args(self.kind, self._statement_timeout_seconds) | self._tls_args(named))
        connect = mysql.Connection if self.kind == "mysql" else dialect.connect
        return connect(*positional, **named)

    def _tls_args(self, told: Mapping[str, Any]) -> dict[str, Any]:
        match self.kind:
            case "mysql":
                return self._tls.mysql(told)
            case "postgresql":
                return self._tls.postgresql(told)
            case _:
                return {}

    def _start_session(self, connection: Any, _record: Any) -> None:
        dialect = self._engine.dialect
        kind = "mariadb" if getattr(dialect, "is_mariadb", False) else dialect.name
        seconds = self._statement_timeout_seconds
        if kind == "sqlite":
            connection.create_function("regexp", 2, search_in_sqlite, deterministic=True)
        with waiting():
            cursor = connection.cursor()
            for statement in _SESSION_START[kind]:
                cursor.execute(statement.format(seconds=seconds, milliseconds=int(seconds * 1000)))
            cursor.close()
            connection.commit()  # or PostgreSQL forgets all of it when the first transaction is rolled back

    def _start_clock(self, _connection: Any, cursor: Any, *_statement: Any) -> None:
        deadline = time.monotonic() + self._statement_timeout_seconds
        cursor.connection.set_progress_handler(lambda: time.monotonic() > deadline, _SQLITE_STEPS)

    def tell_use(self, tell: Callable[[int], None]) -> None:
        """Have `tell` called with 1 whenever a connection is taken from the pool, with -1 when it is given back.

        One that could not be made is given back without having been taken.
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
        """Have the time of a request told with the text of each statement, in which values are placeholders."""

        def begin(_connection: Any, _cursor: Any, statement: str, *_values: Any) -> None:
            describe(statement)

        event.listen(self._engine, "before_cursor_execute", begin)

    def rows(self, statement: Executable, parameters: Mapping[str, Any] | None = None) -> Sequence[Row[Any]]:
        """All rows of a statement with these parameters.

        UpstreamBusy when the index does not answer, UpstreamFailed when it refuses.

        A connection that has died in the pool shows itself by a quick failure; then another one is made and asked. To
        ask beforehand whether it lives would cost a round trip for each statement.
        """
        started = time.monotonic()
        with self._translated():
            try:
                return self._run(statement, parameters)
            except DBAPIError as error:
                if not error.connection_invalidated or time.monotonic() - started > _QUICK_SECONDS:
                    raise
            return self._run(statement, parameters)

    def _run(self, statement: Executable, parameters: Mapping[str, Any] | None) -> Sequence[Row[Any]]:
        with self._connection() as connection:
            started = time.monotonic()
            with nullcontext() if self.kind == "mysql" else waiting():  # those connections do it where they wait
                rows = connection.execute(statement, parameters).all()
            log.debug("index rows=%d ms=%d", len(rows), (time.monotonic() - started) * 1000)
            return rows

    @contextmanager
    def _connection(self) -> Iterator[Connection]:
        """One from the pool, when it is our turn; PoolTimeout if that takes too long."""
        if not self._places.acquire(blocking=False):
            with waiting():
                free = self._places.acquire(timeout=_POOL_SECONDS)
            if not free:
                raise PoolTimeout("all connections are in use")
        try:
            pool = cast(QueuePool, self._engine.pool)
            with nullcontext() if pool.checkedin() else waiting():  # making the first one takes locks of the engine's
                connection = self._engine.connect()
            with connection:
                yield connection
        finally:
            self._places.release()

    def look(self, at: Callable[[Connection], T]) -> T:
        """What `at` finds out on a connection; errors are those of `rows`."""
        with self._translated(), self._connection() as connection, waiting():
            return at(connection)

    def columns(self, table: str) -> frozenset[str]:
        """The names of the columns of a table, none where there is no such table; errors are those of `rows`."""
        with self._translated(), self._connection() as connection, waiting():
            try:
                return frozenset(column["name"].lower() for column in inspect(connection).get_columns(table))
            except NoSuchTableError:
                return frozenset()

    @contextmanager
    def _translated(self) -> Iterator[None]:
        try:
            with measured("db"):
                yield
        except (OperationalError, InterfaceError, InternalError, PoolTimeout) as error:
            raise self._busy(error) from error
        except DBAPIError as error:
            log.error("index refused a statement error=%s", trouble.kind(error))
            raise UpstreamFailed("the metadata index refused the search") from error
        self._outage.is_over()

    def _busy(self, error: Exception) -> UpstreamBusy:
        if trouble.timed_out(error):
            log.warning("statement cancelled after=%gs", self._statement_timeout_seconds)
            return UpstreamBusy(_TOO_SLOW.format(self._statement_timeout_seconds), retry_after_seconds=30)
        if isinstance(error, PoolTimeout):  # it is busy with us
            log.warning("no connection to the index was free")
            return UpstreamBusy("the metadata index has more to do than it can at the moment")
        reason = trouble.not_trusted(error)
        self._outage.begins(f"not trusted, {reason}" if reason else trouble.kind(error))
        return UpstreamBusy(
            f"the metadata index is not trusted: {reason}" if reason else "the metadata index does not answer"
        )

    @property
    def kind(self) -> str:
        """`mysql`, `postgresql` or `sqlite`."""
        name = self._engine.dialect.name
        return "mysql" if name == "mariadb" else name

    @property
    def host(self) -> str | None:
        """Where it is; None for a file."""
        return self._login.url.host

    def ping(self) -> None:
        """Nothing if the index answers, else UpstreamBusy."""
        self.rows(select(1))

    def close(self) -> None:
        """Give up all connections."""
        self._engine.dispose()


def _connect_args(kind: str, statement_timeout_seconds: float) -> dict[str, Any]:
    """What the driver is told, so that it notices a server that has gone without a word."""
    silent_seconds = int(statement_timeout_seconds) + 5  # the server itself gives up before that
    match kind:
        case "mysql":
            return {"connect_timeout": 5, "read_timeout": silent_seconds, "write_timeout": silent_seconds}
        case "postgresql":
            alive = {"keepalives_idle": 5, "keepalives_interval": 5, "keepalives_count": 3}
            return {"connect_timeout": 5, "tcp_user_timeout": silent_seconds * 1000, **alive}
        case _:
            return {"timeout": 10, "check_same_thread": False}


_TOO_SLOW = (
    "the metadata index took longer than {:g} seconds: narrow the search, by a patient or a range of dates for example"
)
