"""Connections of the drivers, which give up a server that has fallen silent.

A server that is gone without a word, behind a firewall that drops packets for example, never ends a connection. So each
connection has a patience: the seconds that it waits for the server to say anything.
"""

import socket
from collections.abc import Mapping, Sequence
from contextlib import suppress
from typing import TYPE_CHECKING, Any, Protocol, cast

import psycopg
import pymysql
from sqlalchemy import Dialect

CONNECT_SECONDS = 5
"""The patience while a connection is made and a session begins."""

_UNACKNOWLEDGED_SECONDS = 5
"""The kernel ends a connection whose server has not acknowledged what was sent for that long."""

_ALIVE = {"idle": 5, "interval": 5, "count": 3}
"""TCP keep-alive: seconds, seconds, and probes without an answer."""

_KEPT_STATEMENTS = 16
"""Of SQLite's, for each connection; one for a thousand UIDs takes a megabyte."""

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
    """A connection to a database of this kind (`mysql`, `postgresql`, `sqlite`), with arguments of its driver."""
    match kind:
        case "mysql":
            patience = {"connect_timeout": CONNECT_SECONDS, "read_timeout": CONNECT_SECONDS}
            made = MySqlConnection(*positional, **{**named, **patience, "write_timeout": CONNECT_SECONDS})
            made.set_socket_options()
            return made
        case "postgresql":
            alive = {f"keepalives_{name}": value for name, value in _ALIVE.items()}
            patience = {"connect_timeout": CONNECT_SECONDS, "tcp_user_timeout": _UNACKNOWLEDGED_SECONDS * 1000}
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
