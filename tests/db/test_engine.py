"""Sessions on the index: read only, bounded, and back by themselves after an outage; on every database."""

import logging
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any

import pytest
from sqlalchemy import insert, literal, select, text
from sqlalchemy.engine import make_url

from db import drivers, engine
from db.engine import Database
from db.schema import issuer
from dicomweb.errors import ProxyError, UpstreamBusy, UpstreamFailed
from runtime.timing import TimedPart, start_timing
from tests.servers import Hole, MariaDb, OpenDatabase, PostgreSql, Sqlite, engine_of, free_port, mysql_server

SECRET_VALUE = "ROE^RICHARD"  # noqa: S105 - a patient, who must not be in a log


@pytest.fixture(scope="module")
def url(new_index: Callable[[], str]) -> str:
    found = new_index()
    with engine_of(found) as engine, engine.begin() as connection:
        connection.execute(insert(issuer).values(issuerofpatientid="HOSPITAL"))
    return found


def test_rows_come_by_name(url: str, open_database: OpenDatabase) -> None:
    (row,) = open_database(url).rows(select(issuer.c.issuerofpatientid, issuer.c.description))
    assert (row.issuerofpatientid, row.description) == ("HOSPITAL", None)


def test_an_index_that_answers_is_well(url: str, open_database: OpenDatabase) -> None:
    open_database(url).ping()


@pytest.mark.parametrize(
    "statement",
    ["INSERT INTO issuer (issuerofpatientid) VALUES ('X')", "UPDATE issuer SET description = 'X'", "DELETE FROM issuer",
     "CREATE TABLE more (x int)", "DROP TABLE frame"],
)  # fmt: skip
def test_a_session_refuses_to_write(url: str, open_database: OpenDatabase, statement: str) -> None:
    database = open_database(url)
    database.ping()  # what holds for the session must outlive its first transaction
    with pytest.raises(ProxyError):
        database.rows(text(statement))
    assert [tuple(row) for row in database.rows(select(issuer.c.issuerofpatientid, issuer.c.description))] == [
        ("HOSPITAL", None)
    ]


def test_the_right_to_select_is_enough(mariadb: MariaDb, open_database: OpenDatabase) -> None:
    database = open_database(mariadb.new_reader()[1])
    assert database.rows(select(issuer)) == []


def test_failed_statements_give_their_connection_back(url: str, open_database: OpenDatabase) -> None:
    database = open_database(url, pool_size=1)
    for _ in range(3):
        with pytest.raises(ProxyError):
            database.rows(text("SELECT nothing FROM nowhere"))
    database.ping()


def test_more_threads_than_connections_take_turns(url: str, open_database: OpenDatabase) -> None:
    database = open_database(url, pool_size=2)
    with ThreadPoolExecutor(16) as threads:
        found = list(threads.map(lambda number: database.rows(select(literal(number)))[0][0], range(100)))
    assert found == list(range(100))


def test_what_the_index_refuses_is_told_without_statement_and_values(
    url: str, open_database: OpenDatabase, caplog: pytest.LogCaptureFixture
) -> None:
    database = open_database(url)
    with caplog.at_level(logging.INFO), pytest.raises(ProxyError) as told:
        database.rows(text("SELECT * FROM nowhere WHERE name = :name").bindparams(name=SECRET_VALUE))
    assert "index" in caplog.text
    for hidden in (SECRET_VALUE, "nowhere", "SELECT"):
        assert hidden not in f"{told.value}{caplog.text}"


@pytest.mark.parametrize("server", ["sqlite", "mariadb", "postgresql"])
def test_a_statement_of_ours_that_is_wrong_is_no_outage(
    request: pytest.FixtureRequest, open_database: OpenDatabase, server: str
) -> None:
    found: Sqlite | MariaDb | PostgreSql = request.getfixturevalue(server)
    with pytest.raises(UpstreamFailed):
        open_database(found.new_index()).rows(text("SELECT * FROM nowhere"))


ENDLESS = "WITH RECURSIVE n(x) AS (SELECT 1 UNION ALL SELECT x + 1 FROM n) SELECT count(*) FROM n"
_COLLATIONS = "information_schema.collations"
ENDLESS_IN_MYSQL = f"SELECT count(*) FROM {_COLLATIONS} a, {_COLLATIONS} b, {_COLLATIONS} c, {_COLLATIONS} d"  # noqa: S608
"""MySQL's SLEEP() ends without an error when its statement is cancelled."""


@pytest.mark.parametrize(
    ("server", "slow", "running"),
    [
        ("mariadb", ENDLESS_IN_MYSQL, "SELECT count(*) FROM information_schema.processlist WHERE info = :slow"),
        ("postgresql", "SELECT pg_sleep(20)",
         "SELECT count(*) FROM pg_stat_activity WHERE query = :slow AND wait_event = 'PgSleep'"),
    ],
)  # fmt: skip
def test_a_statement_that_takes_too_long_is_cancelled_on_the_server(
    request: pytest.FixtureRequest, open_database: OpenDatabase, server: str, slow: str, running: str
) -> None:
    found: MariaDb | PostgreSql = request.getfixturevalue(server)
    url = found.new_index()
    database = open_database(url, statement_timeout_seconds=0.3)
    database.ping()
    started = time.monotonic()
    with pytest.raises(UpstreamBusy, match="longer than 0.3 seconds: narrow the search") as told:
        database.rows(text(slow))
    assert time.monotonic() - started < 15  # it would take 20 seconds and more
    assert told.value.retry_after_seconds == 30
    with engine_of(url) as engine, engine.connect() as connection:
        assert connection.scalar(text(running).bindparams(slow=slow)) == 0
    database.ping()


@pytest.mark.parametrize("driver", ["mysql+pymysql", "postgresql+psycopg"])
def test_a_database_that_is_down_is_busy(open_database: OpenDatabase, driver: str) -> None:
    database = open_database(f"{driver}://reader:x@127.0.0.1:{free_port()}/ahiindex")
    started = time.monotonic()
    with pytest.raises(UpstreamBusy):
        database.ping()
    assert time.monotonic() - started < 15


def test_wrong_credentials_are_busy_and_not_logged(
    mariadb: MariaDb, open_database: OpenDatabase, caplog: pytest.LogCaptureFixture
) -> None:
    wrong = make_url(mariadb.new_index()).set(password=SECRET_VALUE)
    with pytest.raises(UpstreamBusy):
        open_database(wrong).ping()
    assert "OperationalError 1045" in caplog.text
    assert SECRET_VALUE not in caplog.text


@pytest.mark.service
def test_an_outage_passes_by_itself(open_database: OpenDatabase) -> None:
    server = mysql_server()  # one of our own: others use the shared one
    try:
        database = open_database(server.new_index())
        database.ping()
        server.stop()
        with pytest.raises(UpstreamBusy):
            database.ping()
        server.start()
        database.ping()
    finally:
        server.close()


@pytest.mark.service
def test_a_server_that_has_fallen_silent_is_left(open_database: OpenDatabase) -> None:
    server = mysql_server()
    try:
        database = open_database(server.new_index(), statement_timeout_seconds=0.3)
        database.ping()
        with server.silent():
            began = time.monotonic()
            with pytest.raises(UpstreamBusy, match="does not answer"):
                database.ping()
            assert 4 < time.monotonic() - began < 30
        database.ping()
    finally:
        server.close()


@contextmanager
def behind_a_hole(url: str) -> Iterator[tuple[Hole, str]]:
    """A way to the database that can fall silent, and the URL that takes it."""
    real = make_url(url)
    hole = Hole(real.port or 0)
    try:
        yield hole, real.set(port=hole.port).render_as_string(hide_password=False)
    finally:
        hole.close()


@pytest.mark.parametrize("server", ["mariadb", "postgresql"])
def test_connections_that_died_silently_cost_one_quick_retry(
    request: pytest.FixtureRequest,
    open_database: OpenDatabase,
    monkeypatch: pytest.MonkeyPatch,
    server: str,
) -> None:
    """Not the time that a statement may take: it was 35 s, for each connection of the pool."""
    found: MariaDb | PostgreSql = request.getfixturevalue(server)
    with behind_a_hole(found.new_index()) as (hole, url):
        database = open_database(url, pool_size=4)
        with ThreadPoolExecutor(4) as threads:
            list(threads.map(lambda _: database.ping(), range(16)))
        hole.swallow()
        monkeypatch.setattr(engine, "_IDLE_SECONDS", 0.0)
        began = time.monotonic()
        database.ping()
        assert time.monotonic() - began < 20
        monkeypatch.undo()
        began = time.monotonic()
        with ThreadPoolExecutor(4) as threads:  # the other connections are known to be dead, too
            list(threads.map(lambda _: database.ping(), range(16)))
        assert time.monotonic() - began < 20  # whoever uses a dead one waits for 35 seconds


@pytest.mark.parametrize("server", ["mariadb", "postgresql"])
def test_a_network_that_swallows_everything_is_an_outage_within_seconds(
    request: pytest.FixtureRequest, open_database: OpenDatabase, monkeypatch: pytest.MonkeyPatch, server: str
) -> None:
    found: MariaDb | PostgreSql = request.getfixturevalue(server)
    monkeypatch.setattr(engine, "_IDLE_SECONDS", 0.0)
    with behind_a_hole(found.new_index()) as (hole, url):
        database = open_database(url)
        database.ping()
        hole.swallow(new=True)
        began = time.monotonic()
        with pytest.raises(UpstreamBusy, match="does not answer"):
            database.ping()
        assert time.monotonic() - began < 30  # a second for the connection that there was, five for another one


@pytest.mark.parametrize("server", ["mariadb", "postgresql"])
def test_a_statement_whose_answer_is_swallowed_is_given_up(
    request: pytest.FixtureRequest, open_database: OpenDatabase, server: str
) -> None:
    found: MariaDb | PostgreSql = request.getfixturevalue(server)
    with behind_a_hole(found.new_index()) as (hole, url):
        database = open_database(url, statement_timeout_seconds=0.3)
        database.ping()
        hole.swallow()
        began = time.monotonic()
        with pytest.raises(UpstreamBusy, match="does not answer"):
            database.ping()
        assert time.monotonic() - began < 30
        database.ping()


@pytest.mark.parametrize("server", ["mariadb", "postgresql"])
def test_connections_that_are_used_are_not_asked_whether_they_live(
    request: pytest.FixtureRequest, open_database: OpenDatabase, monkeypatch: pytest.MonkeyPatch, server: str
) -> None:
    found: MariaDb | PostgreSql = request.getfixturevalue(server)
    asked: list[Any] = []
    monkeypatch.setattr(drivers, "answers", lambda *of: asked.append(of) or True)
    database = open_database(found.new_index(), pool_size=1)
    for _ in range(5):
        database.ping()
    assert asked == []
    monkeypatch.setattr(engine, "_IDLE_SECONDS", 0.0)
    database.ping()
    assert len(asked) == 1


@pytest.mark.parametrize(
    ("server", "which", "kill"),
    [
        ("mariadb", "SELECT CONNECTION_ID()", "KILL {}"),
        ("postgresql", "SELECT pg_backend_pid()", "SELECT pg_terminate_backend({})"),
    ],
)
def test_connections_that_the_server_has_closed_are_replaced(
    request: pytest.FixtureRequest, open_database: OpenDatabase, server: str, which: str, kill: str
) -> None:
    found: MariaDb | PostgreSql = request.getfixturevalue(server)
    database = open_database(found.new_index(), pool_size=1)
    (before,) = database.rows(text(which))[0]
    found.execute(kill.format(before))
    (after,) = database.rows(text(which))[0]
    assert after != before


SLOW = {"sqlite": ENDLESS, "mysql": ENDLESS_IN_MYSQL, "postgresql": "SELECT pg_sleep(20)"}


def test_many_that_take_too_long_leave_no_place_taken(url: str, open_database: OpenDatabase) -> None:
    """Each is told so in its turn, and all connections serve again, each with a clock of its own."""
    database = open_database(url, pool_size=2, statement_timeout_seconds=0.3)
    slow = text(SLOW[make_url(url).get_backend_name()])

    def told(_: int) -> str:
        with pytest.raises(UpstreamBusy) as error:
            database.rows(slow)
        return str(error.value)

    with ThreadPoolExecutor(4) as threads:
        assert all("narrow the search" in text for text in threads.map(told, range(4)))
        time.sleep(0.4)  # the deadlines of the connections have passed
        assert list(threads.map(lambda _: len(database.rows(select(issuer))), range(8))) == [1] * 8


def test_connections_that_could_not_be_made_are_not_given_back() -> None:
    """A count of those in use that fell below nothing would be an error of its own."""
    told: list[int] = []
    database = Database(f"mysql+pymysql://u:p@127.0.0.1:{free_port()}/d")
    database.tell_use(told.append)
    for _ in range(3):
        with pytest.raises(UpstreamBusy):
            database.ping()
    assert told == []
    database.close()


def test_connections_in_use_are_told(sqlite: Sqlite) -> None:
    told: list[int] = []
    database = Database(sqlite.new_index())
    database.tell_use(told.append)
    database.ping()
    database.ping()
    assert told == [1, -1, 1, -1]
    database.close()


def test_a_statement_is_described_without_its_values(url: str, open_database: OpenDatabase) -> None:
    database, told = open_database(url), list[TimedPart]()
    database.describe_statements()
    start_timing().tell = told.append
    wanted = (issuer.c.issuerofpatientid == SECRET_VALUE) | issuer.c.description.in_([SECRET_VALUE, "Y"])
    database.rows(select(issuer.c.issuer_pkey).where(wanted).limit(4711))
    start_timing()
    (part,) = told
    assert (part.name, part.what.split()[0], "issuer" in part.what) == ("db", "SELECT", True)
    assert SECRET_VALUE not in part.what and "4711" not in part.what
