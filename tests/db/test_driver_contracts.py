"""The contracts with PyMySQL, psycopg and SQLAlchemy: parts beyond their documents that db/ relies on.

An upgrade fails here first. For each failure, read what the part is needed for, and what has become of it.
"""

import inspect
import os
import re
import socket
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path
from typing import Any

import psycopg
import pymysql
import pytest
from sqlalchemy import create_engine, select
from sqlalchemy.util import LRUCache

from db.drivers import as_remote, connect
from db.mysql import MySqlConnection
from db.postgresql import PostgreSqlConnection
from db.schema import series
from tests.servers import MariaDb, PostgreSql, free_port

REQUIREMENTS = (Path(__file__).parents[2] / "requirements.txt").read_text()


@pytest.mark.parametrize("package", ["PyMySQL", "psycopg", "SQLAlchemy"])
def test_the_installed_version_is_the_pinned_one(package: str) -> None:
    pinned = re.search(rf"^{package}(\[binary])?==(\S+)", REQUIREMENTS, re.MULTILINE)
    assert pinned and version(package) == pinned[2]


def test_pymysql_takes_its_time_outs_when_a_connection_is_made() -> None:
    parameters = inspect.signature(pymysql.Connection.__init__).parameters
    assert {"connect_timeout", "read_timeout", "write_timeout"} <= parameters.keys()
    closed = MySqlConnection(defer_connect=True, read_timeout=3, write_timeout=4)
    assert (closed._read_timeout, closed._write_timeout, closed._sock) == (3, 4, None)


def connected(server: str, found: MariaDb | PostgreSql) -> Any:
    """A connection as the proxy makes it."""
    engine = create_engine(found.new_index())
    positional, named = engine.dialect.create_connect_args(engine.url)
    return connect("mysql" if server == "mariadb" else server, engine.dialect, positional, named)


@pytest.mark.parametrize("server", ["mariadb", "postgresql"])
def test_connections_are_made_with_socket_options_and_answer(request: pytest.FixtureRequest, server: str) -> None:
    connection = connected(server, request.getfixturevalue(server))
    try:
        remote = as_remote(connection)
        assert remote and remote.answers()
        descriptor = connection._sock.fileno() if server == "mariadb" else connection.fileno()
        with socket.socket(fileno=os.dup(descriptor)) as sock:
            assert sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT) == 5000
            assert sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPCNT) == 3
    finally:
        connection.close()


@pytest.mark.parametrize(
    ("server", "statement"), [("mariadb", "SELECT SLEEP(60)"), ("postgresql", "SELECT pg_sleep(60)")]
)
def test_patience_holds_on_an_open_connection(request: pytest.FixtureRequest, server: str, statement: str) -> None:
    """PyMySQL reads its two time-outs before each packet; psycopg waits in `wait`, which ends with `_WaitTimeout`."""
    found: MariaDb | PostgreSql = request.getfixturevalue(server)
    connection = connected(server, found)
    connection.set_patience(0.5)
    cursor = connection.cursor()
    with pytest.raises((pymysql.OperationalError, psycopg.OperationalError)):
        cursor.execute(statement)
    remote = as_remote(connection)
    assert remote and not remote.answers()


def test_psycopg_waits_in_one_method() -> None:
    assert [*inspect.signature(psycopg.Connection.wait).parameters] == ["self", "gen", "interval", "timeout"]
    assert issubclass(psycopg.errors._WaitTimeout, Exception)


def test_a_server_that_is_not_there_is_an_error_of_the_driver() -> None:
    with pytest.raises(pymysql.Error):
        MySqlConnection(host="127.0.0.1", port=free_port(), user="x", connect_timeout=5)
    with pytest.raises(psycopg.Error):
        PostgreSqlConnection.connect(host="127.0.0.1", port=free_port(), connect_timeout=5)


@pytest.mark.parametrize("method", [LRUCache.__init__, LRUCache.__setitem__])
def test_sqlalchemy_has_a_cache_that_may_be_extended(method: Callable[..., Any]) -> None:
    """`StatementCache` leaves out statements that are large."""
    assert [*inspect.signature(method).parameters][:3] in (["self", "capacity", "threshold"], ["self", "key", "value"])


def test_a_compiled_statement_tells_its_parameters() -> None:
    compiled = select(series.c.series_pkey).where(series.c.modality.in_(["CT", "MR"])).compile()
    assert ["CT", "MR"] in [parameter.value for parameter in compiled.binds.values()]
