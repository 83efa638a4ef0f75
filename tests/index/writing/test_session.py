"""Sessions that write use the same login as those that read: TLS, secrets that are rotated."""

import threading

import pytest
from sqlalchemy import Connection, select, text
from sqlalchemy.engine import make_url

from db.engine import Database
from db.login import Login
from db.schema import issuer
from db.tls import REQUIRE, Tls
from dicomweb.errors import UpstreamBusy, UpstreamThrottled
from index.writing.session import OF_PEOPLE, OF_PROGRAMS, Patience, WriteSession
from tests.servers import MariaDb, PostgreSql, Sqlite

KINDS = ["mariadb", "postgresql", "sqlite"]

Server = MariaDb | PostgreSql | Sqlite


def opened(url: str) -> WriteSession:
    return WriteSession(Login(url), Tls(), 4)


@pytest.mark.parametrize("kind", KINDS)
def test_what_is_written_is_read_by_the_service(kind: str, request: pytest.FixtureRequest) -> None:
    server: Server = request.getfixturevalue(kind)
    url = server.new_index()
    session = opened(url)
    session.run(lambda connection: connection.execute(issuer.insert().values(issuerofpatientid="hospital")))
    session.close()
    database = Database(url)
    assert [row[0] for row in database.rows(select(issuer.c.issuerofpatientid))] == ["hospital"]
    database.close()


@pytest.mark.parametrize("kind", KINDS)
def test_a_transaction_that_fails_leaves_nothing(kind: str, request: pytest.FixtureRequest) -> None:
    server: Server = request.getfixturevalue(kind)
    session = opened(server.new_index())

    def fail(connection: Connection) -> None:
        connection.execute(issuer.insert().values(issuerofpatientid="hospital"))
        raise RuntimeError("mistake")

    with pytest.raises(RuntimeError, match="mistake"):
        session.run(fail)
    assert session.run(lambda connection: connection.execute(select(issuer)).all()) == []
    session.close()


@pytest.mark.parametrize("kind", KINDS)
def test_a_row_that_was_waited_for_is_current(kind: str, request: pytest.FixtureRequest) -> None:
    """A transaction that has begun before another one commits reads what that has written."""
    server: Server = request.getfixturevalue(kind)
    session = opened(server.new_index())
    first = issuer.insert().values(issuerofpatientid="hospital", description="0")
    session.run(lambda connection: connection.execute(first))

    def add(connection: Connection) -> None:
        connection.execute(text("SELECT 1"))
        connection.execute(select(issuer.c.description).with_for_update()).all()
        number = int(str(connection.execute(select(issuer.c.description)).scalar_one()))
        connection.execute(issuer.update().values(description=str(number + 1)))

    threads = [threading.Thread(target=session.run, args=(add,)) for _ in range(12)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    found = session.run(lambda connection: connection.execute(select(issuer.c.description)).scalar_one())
    assert found == "12"
    session.close()


@pytest.mark.parametrize("kind", ["mariadb", "postgresql"])
def test_a_login_that_was_refused_is_read_again(kind: str, request: pytest.FixtureRequest) -> None:
    server: MariaDb | PostgreSql = request.getfixturevalue(kind)
    right = make_url(server.new_index())
    if isinstance(server, PostgreSql):
        name = f"{right.database}_writer"
        server.asks_for_passwords_of(name)
        server.execute(f"CREATE ROLE {name} SUPERUSER LOGIN PASSWORD 'right'")
        right = right.set(username=name, password="right")  # noqa: S106 - a test's
    old = right.set(password="old")  # noqa: S106 - a test's
    session = WriteSession(Login(old, lambda: right), Tls(), 1)
    assert session.run(lambda connection: connection.execute(text("SELECT 1")).scalar_one()) == 1
    session.close()


@pytest.mark.parametrize("kind", ["mariadb", "postgresql"])
def test_a_server_without_tls_is_refused_where_tls_is_asked_for(kind: str, request: pytest.FixtureRequest) -> None:
    server: MariaDb | PostgreSql = request.getfixturevalue(kind)
    session = WriteSession(Login(server.new_index()), Tls(REQUIRE), 1)
    with pytest.raises(UpstreamBusy, match="it offers no TLS"):
        session.run(lambda connection: connection.execute(text("SELECT 1")))
    session.close()


def test_only_what_must_last_waits_for_the_disk(sqlite: Sqlite) -> None:
    """SQLite waits at the end of a transaction with FULL (2), and in WAL mode not with NORMAL (1)."""
    session = opened(sqlite.new_index())

    def synchronous(connection: Connection) -> int | None:
        return connection.exec_driver_sql("PRAGMA synchronous").scalar()

    modes = [session.run(synchronous, lasts=lasts) for lasts in (True, False, False, True)]
    modes.append(session.run(synchronous))
    session.close()
    assert modes == [2, 1, 1, 2, 2]


@pytest.mark.parametrize("kind", KINDS)
def test_people_are_told_soon_that_others_hold_the_index(kind: str, request: pytest.FixtureRequest) -> None:
    """A transaction of theirs is not run again and again, and the next one is written."""
    server: Server = request.getfixturevalue(kind)
    url = server.new_index()
    session = WriteSession(Login(url), Tls(), 1, Patience(1, 10, 1, 0))
    change = issuer.update().values(description="1")
    first = issuer.insert().values(issuerofpatientid="hospital", description="0")
    session.run(lambda connection: connection.execute(first))
    attempts = []

    def work(connection: Connection) -> None:
        attempts.append(1)
        connection.execute(change)

    holding = opened(url)

    def hold(connection: Connection) -> None:
        connection.execute(change)
        with pytest.raises(UpstreamThrottled, match="others hold it"):
            session.run(work)

    holding.run(hold)
    assert len(attempts) <= 1
    session.run(work)
    for one in (session, holding):
        one.close()


def test_people_are_told_soon_that_the_index_is_silent(mariadb: MariaDb) -> None:
    session = WriteSession(Login(mariadb.new_index()), Tls(), 1, Patience(1, 0.5, 1, 0))
    session.run(lambda connection: connection.execute(select(issuer)))
    with mariadb.silent(), pytest.raises(UpstreamBusy, match="does not answer"):
        session.run(lambda connection: connection.execute(select(issuer)))
    session.close()


def test_a_browser_is_kept_waiting_for_seconds_alone() -> None:
    assert OF_PEOPLE.lock_seconds + OF_PEOPLE.connection_seconds + OF_PEOPLE.again_seconds <= 10
    assert OF_PROGRAMS.lock_seconds >= 30, "an import goes on while others hold the index for long"
