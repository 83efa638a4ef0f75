"""A logout at one host counts at all of them, by own tables; without them, and while they are away, at the one."""

import math
import time
from collections.abc import Callable, Iterator
from dataclasses import replace

import pytest
from sqlalchemy import create_engine, text

from app.auth.basic import Basic
from app.auth.principal import Principal
from app.auth.session import SessionEnded, Sessions
from app.index_revocations import IndexRevocations
from app.lazy_writer import LazyWriter
from app.session_state import SessionState
from db.engine import Database
from db.index_kind import IndexKind
from index.writing.session import Patience
from index.writing.writer import IndexWriter
from tests.servers import OpenDatabase, Sqlite
from tests.waiting import wait_for

KEY = b"k" * 32
ANNA = Principal("anna", scheme="basic")
USERS = {"anna": "$2b$04$x"}


class Host:
    """One host of a service: its memory is its own, its key and its index are those of all."""

    def __init__(self, database: Database, url: str) -> None:
        self.writer = IndexWriter(url, pool_size=1, patience=Patience(0, 10, 1, 0))
        self.state = SessionState(key=KEY)
        self.revoked = IndexRevocations(self.state.memory, database, LazyWriter(lambda: self.writer))
        self.state = replace(self.state, everywhere=self.revoked)
        self.sessions = Sessions(KEY, {"basic": Basic(USERS)}, self.state.revocations)

    def counts(self, token: str) -> bool:
        try:
            self.sessions.read(token)
        except SessionEnded:
            return False
        return True


Hosts = Callable[[str], tuple[Host, Host]]


@pytest.fixture
def hosts(open_database: OpenDatabase) -> Iterator[Hosts]:
    made: list[Host] = []

    def make(url: str) -> tuple[Host, Host]:
        made.extend(Host(open_database(url), url) for _ in range(2))
        return made[-2], made[-1]

    yield make
    for host in made:
        host.revoked._reading.latest(math.inf).result(60)  # else it may connect while the database is being closed
        host.writer.close()


def own_index(new_database: Callable[[], str]) -> str:
    url = new_database()
    writer = IndexWriter(url)
    writer.create_or_migrate()
    writer.close()
    return url


def test_a_logout_counts_at_every_host(new_database: Callable[[], str], hosts: Hosts) -> None:
    here, there = hosts(own_index(new_database))
    session = here.sessions.open(ANNA)
    token, other = here.sessions.token(session), here.sessions.token(here.sessions.open(ANNA))
    assert there.counts(token)
    here.sessions.revoke(session)
    here.sessions.revoke(session)  # a button that was pressed twice
    assert not here.counts(token)
    wait_for(lambda: not there.counts(token))
    assert here.counts(other) and there.counts(other)


def test_what_need_not_be_kept_is_forgotten(sqlite: Sqlite, hosts: Hosts) -> None:
    url = own_index(sqlite.new_database)
    here, _ = hosts(url)
    now = time.time()
    here.state.revocations.add("old", now - 10, now - 1000)
    here.state.revocations.add("new", now + 1000, now)
    engine = create_engine(url)
    with engine.connect() as connection:
        assert connection.scalar(text("SELECT count(*) FROM revoked_session")) == 1
    engine.dispose()


@pytest.mark.parametrize("migrated", [True, False])
def test_without_such_a_table_one_host_knows_it(
    sqlite: Sqlite, hosts: Hosts, caplog: pytest.LogCaptureFixture, *, migrated: bool
) -> None:
    url = own_index(sqlite.new_database) if migrated else sqlite.new_index(IndexKind.LEGACY)
    here, there = hosts(url)
    if migrated:
        engine = create_engine(url)
        with engine.begin() as connection:
            connection.execute(text("DROP TABLE revoked_session"))  # as a release before has it
        engine.dispose()
    session = here.sessions.open(ANNA)
    token = here.sessions.token(session)
    here.sessions.revoke(session)
    assert not here.counts(token) and there.counts(token)
    assert "logout" not in caplog.text


def test_an_index_that_is_away_keeps_nobody_in(open_database: OpenDatabase, caplog: pytest.LogCaptureFixture) -> None:
    host = Host(open_database("sqlite:////none/index"), "sqlite:////none/index")
    session = host.sessions.open(ANNA)
    token = host.sessions.token(session)
    assert host.counts(token)
    host.sessions.revoke(session)
    assert not host.counts(token)
    assert "a logout is known to this host alone" in caplog.text


def test_a_logout_that_could_not_be_written_is_written_later(
    sqlite: Sqlite, hosts: Hosts, caplog: pytest.LogCaptureFixture
) -> None:
    url = own_index(sqlite.new_database)
    here, there = hosts(url)
    session = here.sessions.open(ANNA)
    token = here.sessions.token(session)

    def read_again(host: Host) -> None:
        host.revoked._reading.latest(0).result(60)

    engine = create_engine(url)
    with engine.connect() as connection:
        connection.exec_driver_sql("BEGIN IMMEDIATE")
        here.sessions.revoke(session)
        read_again(here)
    engine.dispose()
    assert "a logout is known to this host alone" in caplog.text
    read_again(there)
    assert there.counts(token) and not here.counts(token)
    for host in (here, there):
        read_again(host)
    assert not there.counts(token)
