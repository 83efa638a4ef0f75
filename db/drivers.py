"""Connections of the drivers, which give up a server that has fallen silent.

A server that is gone without a word, behind a firewall that drops packets for example, never ends a connection. So each
connection has a patience: the seconds that it waits for the server to say anything.
"""

import socket
from collections.abc import Mapping, Sequence
from contextlib import suppress
from typing import TYPE_CHECKING, Any, Protocol, cast

import psycopg
import psycopg.conninfo
import pymysql
from sqlalchemy import Dialect
from sqlalchemy.engine import URL, make_url
from sqlalchemy.exc import ArgumentError

CONNECT_SECONDS = 5
"""The patience while a connection is made and a session begins."""

_UNACKNOWLEDGED_SECONDS = 5
"""The kernel ends a connection whose server has not acknowledged what was sent for that long."""

_ALIVE = {"idle": 5, "interval": 5, "count": 3}
"""TCP keep-alive: seconds, seconds, and probes without an answer."""

_OF_PSYCOPG = frozenset({"context", "autocommit", "prepare_threshold", "row_factory", "cursor_factory"})
"""What psycopg takes itself, and libpq does not know."""

_KEPT_STATEMENTS = 16
"""Of SQLite's, for each connection; one for a thousand UIDs takes a megabyte."""

_DRIVERS = {
    **dict.fromkeys(("mysql", "mysql+pymysql"), "mysql+pymysql"),
    **dict.fromkeys(("mariadb", "mariadb+pymysql"), "mariadb+pymysql"),
    **dict.fromkeys(("postgres", "postgresql", "postgresql+psycopg"), "postgresql+psycopg"),
    **dict.fromkeys(("sqlite", "sqlite+pysqlite"), "sqlite"),
}
"""What a URL may begin with, and which driver it then is."""


class UnusableUrl(ValueError):
    """A database URL that is none, or that its driver does not take; the message never holds any of it."""


def usable_url(url: str | URL) -> URL:
    """The URL with a driver that is there; UnusableUrl for all else."""
    try:
        found = make_url(url)
    except (ArgumentError, ValueError):  # the latter from a port; both quote the URL
        raise UnusableUrl("is not a database URL") from None
    if found.drivername not in _DRIVERS:
        raise UnusableUrl(f"begins with none of {', '.join(_DRIVERS)}")
    if not 0 < (found.port or 1) < 65_536:
        raise UnusableUrl("has a port that is none")
    return found.set(drivername=_DRIVERS[found.drivername])


if TYPE_CHECKING:
    _MySqlBase = Any  # the stubs know neither the socket nor the time-outs
    _PostgreSqlBase = psycopg.Connection[Any]
else:
    _MySqlBase = pymysql.Connection
    _PostgreSqlBase = psycopg.Connection


class RemoteConnection(Protocol):
    """A connection over a network."""

    def set_patience(self, seconds: float) -> None:
        """How long the server may say nothing."""

    def ask(self) -> None:
        """One round trip; an error of the driver if the server does not answer."""


class MySqlConnection(_MySqlBase):  # type: ignore[misc]
    """One to MySQL or MariaDB."""

    def set_patience(self, seconds: float) -> None:
        self._read_timeout = self._write_timeout = seconds

    def ask(self) -> None:
        self.ping()

    def set_socket_options(self) -> None:
        """Have the kernel notice a server that is gone; a Unix socket has no need of it."""
        options = {
            socket.TCP_KEEPIDLE: _ALIVE["idle"],
            socket.TCP_KEEPINTVL: _ALIVE["interval"],
            socket.TCP_KEEPCNT: _ALIVE["count"],
            socket.TCP_USER_TIMEOUT: _UNACKNOWLEDGED_SECONDS * 1000,
        }
        with suppress(OSError):
            for option, value in options.items():
                self._sock.setsockopt(socket.IPPROTO_TCP, option, value)


class PostgreSqlConnection(_PostgreSqlBase):
    """One to PostgreSQL; libpq itself would wait for an answer for ever."""

    _patience: float | None = None  # the driver waits before it calls a constructor of ours

    def set_patience(self, seconds: float) -> None:
        self._patience = seconds

    def ask(self) -> None:
        self.execute("SELECT 1")

    def wait(self, gen: Any, interval: float = 0.1, timeout: float | None = None) -> Any:
        try:
            return super().wait(gen, interval, self._patience if timeout is None else timeout)
        except psycopg.errors._WaitTimeout as error:
            self.close()
            raise psycopg.OperationalError("the server does not answer") from error


def connect(kind: str, dialect: Dialect, positional: Sequence[Any], named: Mapping[str, Any]) -> Any:
    """A connection to a database of this kind (`mysql`, `postgresql`, `sqlite`), with arguments of its driver.

    UnusableUrl where the driver does not take them.
    """
    try:
        return _connected(kind, dialect, positional, named)
    except (TypeError, AttributeError, ValueError, LookupError, psycopg.ProgrammingError) as error:
        raise UnusableUrl("has an option that the driver does not take") from error


def _connected(kind: str, dialect: Dialect, positional: Sequence[Any], named: Mapping[str, Any]) -> Any:
    match kind:
        case "mysql":
            patience = {"connect_timeout": CONNECT_SECONDS, "read_timeout": CONNECT_SECONDS}
            made = MySqlConnection(*positional, **{**named, **patience, "write_timeout": CONNECT_SECONDS})
            made.set_socket_options()
            return made
        case "postgresql":
            alive = {f"keepalives_{name}": value for name, value in _ALIVE.items()}
            patience = {"connect_timeout": CONNECT_SECONDS, "tcp_user_timeout": _UNACKNOWLEDGED_SECONDS * 1000}
            of_libpq = {name: value for name, value in named.items() if name not in _OF_PSYCOPG}
            psycopg.conninfo.make_conninfo(
                *positional, **of_libpq
            )  # a host that is not found would hide a wrong option
            connection = PostgreSqlConnection.connect(*positional, **{**named, **patience, **alive})
            connection.set_patience(CONNECT_SECONDS)
            return connection
        case _:
            kept = {"cached_statements": _KEPT_STATEMENTS}
            return dialect.connect(*positional, **{**named, "timeout": 10, "check_same_thread": False, **kept})


def answers(connection: RemoteConnection, seconds: float) -> bool:
    """Whether the server answers within `seconds`; a connection on which it did not is of no more use."""
    connection.set_patience(seconds)
    try:
        connection.ask()
    except (pymysql.Error, psycopg.Error, OSError):
        return False
    return True


def as_remote(connection: Any) -> RemoteConnection | None:
    """The connection that an event of SQLAlchemy hands over, None where it is a file."""
    return (
        cast(RemoteConnection, connection) if isinstance(connection, MySqlConnection | PostgreSqlConnection) else None
    )
