"""Sessions that write to the index, for the index command and what stores objects. The service itself only reads."""

from typing import Any, TypeAlias

from sqlalchemy import Connection, Engine, create_engine, event

from db import drivers
from db.connector import connect, kind_of
from db.login import Login
from db.tls import Tls

WriteEngine: TypeAlias = Engine
"""The name for packages that do not know SQLAlchemy."""

_IDLE_SECONDS = 600  # a pooled connection is made again after that: firewalls forget it
_SILENT_SECONDS = 5.0  # beyond the time that a statement may take: the server itself gives up before that

# Statements at the begin of a session: no statement takes longer than {seconds}, nor waits longer for a lock.
_SESSION_START = {
    "mysql": (
        "SET SESSION max_execution_time = {milliseconds}",
        "SET SESSION innodb_lock_wait_timeout = {lock_seconds}",
        "SET SESSION group_concat_max_len = 1048576",
    ),
    "mariadb": (
        "SET SESSION max_statement_time = {seconds}",
        "SET SESSION innodb_lock_wait_timeout = {lock_seconds}",
    ),
    "postgresql": ("SET statement_timeout = {milliseconds}",),
    "sqlite": ("PRAGMA foreign_keys = ON", "PRAGMA journal_mode = WAL"),  # searches can read while we write
}


def write_engine(
    login: Login | str, tls: Tls | None = None, *, pool_size: int = 4, statement_timeout_seconds: float = 60.0
) -> WriteEngine:
    """An engine whose transactions write. Connections are made when first needed, after any fork.

    Transactions read what others have committed meanwhile (READ COMMITTED), so a row that was locked is also current.
    Those of SQLite take its one lock at their begin. Values are patient data: no error shows them.
    """
    own = login if isinstance(login, Login) else Login(login)
    trust = tls or Tls()
    engine: Engine = create_engine(
        own.url,
        creator=lambda: connect(own, trust, engine.dialect),
        pool_size=pool_size,
        max_overflow=0,
        pool_pre_ping=True,
        pool_recycle=_IDLE_SECONDS,
        hide_parameters=True,
        **({} if own.url.get_backend_name() == "sqlite" else {"isolation_level": "READ COMMITTED"}),
    )

    def start_session(connection: Any, _record: Any) -> None:
        kind = "mariadb" if getattr(engine.dialect, "is_mariadb", False) else engine.dialect.name
        seconds = statement_timeout_seconds
        times = {"seconds": seconds, "milliseconds": int(seconds * 1000), "lock_seconds": max(1, int(seconds))}
        if remote := drivers.as_remote(connection):
            remote.set_patience(seconds + _SILENT_SECONDS)
        cursor = connection.cursor()
        for statement in _SESSION_START[kind]:
            cursor.execute(statement.format(**times))
        cursor.close()
        connection.commit()  # or PostgreSQL forgets all of it when the first transaction is rolled back

    event.listen(engine, "connect", start_session)
    if kind_of(engine.dialect) == "sqlite":
        event.listen(engine, "connect", _begin_by_ourselves)
        event.listen(engine, "begin", _take_the_lock)
    return engine


def _begin_by_ourselves(connection: Any, _record: Any) -> None:
    connection.isolation_level = None  # or the driver begins later than we do


def _take_the_lock(connection: Connection) -> None:
    connection.exec_driver_sql("BEGIN IMMEDIATE")
