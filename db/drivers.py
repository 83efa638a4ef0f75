"""The drivers of the databases: which URLs they take, and connections that give up a server that has fallen silent.

A server that is gone without a word, behind a firewall that drops packets for example, never ends a connection. So each
connection has a patience: the seconds that it waits for the server to say anything.
"""

import socket
from collections.abc import Mapping, Sequence
from typing import Any, Protocol

from sqlalchemy import Dialect
from sqlalchemy.engine import URL, make_url
from sqlalchemy.exc import ArgumentError

from db import mysql, postgresql

CONNECT_SECONDS = 5
"""The patience while a connection is made and a session begins."""

_UNACKNOWLEDGED_SECONDS = 5
"""The kernel ends a connection whose server has not acknowledged what was sent for that long."""

_ALIVE = {"idle": 5, "interval": 5, "count": 3}
"""TCP keep-alive: seconds, seconds, and probes without an answer."""

_MYSQL_SOCKET = {
    socket.TCP_KEEPIDLE: _ALIVE["idle"],
    socket.TCP_KEEPINTVL: _ALIVE["interval"],
    socket.TCP_KEEPCNT: _ALIVE["count"],
    socket.TCP_USER_TIMEOUT: _UNACKNOWLEDGED_SECONDS * 1000,
}
_POSTGRESQL_SOCKET = {
    **{f"keepalives_{name}": value for name, value in _ALIVE.items()},
    "tcp_user_timeout": _UNACKNOWLEDGED_SECONDS * 1000,
}

_CACHED_STATEMENTS = 16
"""Of SQLite's, for each connection; one for a thousand UIDs takes a megabyte."""

_DRIVERS = {
    **dict.fromkeys(("mysql", "mysql+pymysql"), "mysql+pymysql"),
    **dict.fromkeys(("mariadb", "mariadb+pymysql"), "mariadb+pymysql"),
    **dict.fromkeys(("postgres", "postgresql", "postgresql+psycopg"), "postgresql+psycopg"),
    **dict.fromkeys(("sqlite", "sqlite+pysqlite"), "sqlite"),
}
"""The beginnings of URLs, and the driver of each."""


class UnusableUrl(ValueError):
    """A database URL that is malformed, or that its driver does not take; the message never holds any of it."""


def usable_url(url: str | URL) -> URL:
    """The URL with a driver that is installed; UnusableUrl for all else."""
    try:
        parsed = make_url(url)
    except (ArgumentError, ValueError):  # the latter from a port; both quote the URL
        raise UnusableUrl("is not a database URL") from None
    if parsed.drivername not in _DRIVERS:
        raise UnusableUrl(f"begins with none of {', '.join(_DRIVERS)}")
    if not 0 < (parsed.port or 1) < 65_536:
        raise UnusableUrl("has a port that is none")
    return parsed.set(drivername=_DRIVERS[parsed.drivername])


class RemoteConnection(Protocol):
    """A connection over a network."""

    def set_patience(self, seconds: float) -> None:
        """Set how long the server may say nothing."""

    def answers(self) -> bool:
        """Make a round trip; false if the server does not answer."""


def connect(kind: str, dialect: Dialect, positional: Sequence[Any], named: Mapping[str, Any]) -> Any:
    """A connection to a database of this kind (`mysql`, `postgresql`, `sqlite`), with arguments of its driver.

    UnusableUrl if the driver does not take them.
    """
    try:
        match kind:
            case "mysql":
                return mysql.connect(positional, named, _MYSQL_SOCKET, CONNECT_SECONDS)
            case "postgresql":
                return postgresql.connect(positional, named, _POSTGRESQL_SOCKET, CONNECT_SECONDS)
            case _:
                own = {"timeout": 10, "check_same_thread": False, "cached_statements": _CACHED_STATEMENTS}
                return dialect.connect(*positional, **{**named, **own})
    except (TypeError, AttributeError, ValueError, LookupError, postgresql.OptionError) as error:
        raise UnusableUrl("has an option that the driver does not take") from error


def answers(connection: RemoteConnection, seconds: float) -> bool:
    """Whether the server answers within `seconds`; a connection on which it did not is of no more use."""
    connection.set_patience(seconds)
    return connection.answers()


def as_remote(connection: Any) -> RemoteConnection | None:
    """The connection that an event of SQLAlchemy hands over; None for a file."""
    remote = isinstance(connection, mysql.MySqlConnection | postgresql.PostgreSqlConnection)
    return connection if remote else None
