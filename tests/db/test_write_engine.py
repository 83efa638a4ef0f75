"""Sessions that write use the same login as those that read: TLS, secrets that are rotated, statements that end."""

import threading

import pytest
from sqlalchemy import select, text
from sqlalchemy.engine import make_url
from sqlalchemy.exc import SQLAlchemyError

from db.engine import Database
from db.login import Login
from db.schema import issuer
from db.tls import REQUIRE, Tls
from db.write_engine import write_engine
from tests.servers import MariaDb, PostgreSql, Sqlite

KINDS = ["mariadb", "postgresql", "sqlite"]

Server = MariaDb | PostgreSql | Sqlite


@pytest.mark.parametrize("kind", KINDS)
def test_what_is_written_is_read_by_the_service(kind: str, request: pytest.FixtureRequest) -> None:
    server: Server = request.getfixturevalue(kind)
    url = server.new_index()
    engine = write_engine(url)
    with engine.begin() as connection:
        connection.execute(issuer.insert().values(issuerofpatientid="hospital"))
    engine.dispose()
    database = Database(url)
    assert [row[0] for row in database.rows(select(issuer.c.issuerofpatientid))] == ["hospital"]
    database.close()


@pytest.mark.parametrize("kind", KINDS)
def test_a_transaction_that_fails_leaves_nothing(kind: str, request: pytest.FixtureRequest) -> None:
    server: Server = request.getfixturevalue(kind)
    engine = write_engine(server.new_index())
    with pytest.raises(RuntimeError, match="mistake"), engine.begin() as connection:
        connection.execute(issuer.insert().values(issuerofpatientid="hospital"))
        raise RuntimeError("mistake")
    with engine.begin() as connection:
        assert connection.execute(select(issuer)).all() == []
    engine.dispose()


@pytest.mark.parametrize("kind", KINDS)
def test_a_row_that_was_waited_for_is_current(kind: str, request: pytest.FixtureRequest) -> None:
    """The second transaction has begun before the first commits, and yet it reads what that has written."""
    server: Server = request.getfixturevalue(kind)
    engine = write_engine(server.new_index())
    with engine.begin() as connection:
        connection.execute(issuer.insert().values(issuerofpatientid="hospital", description="0"))

    def add() -> None:
        with engine.begin() as connection:
            connection.execute(text("SELECT 1"))
            locked = select(issuer.c.description).with_for_update()
            assert connection.execute(locked).scalar_one() is not None
            number = int(str(connection.execute(select(issuer.c.description)).scalar_one()))
            connection.execute(issuer.update().values(description=str(number + 1)))

    threads = [threading.Thread(target=add) for _ in range(12)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    with engine.begin() as connection:
        assert connection.execute(select(issuer.c.description)).scalar_one() == "12"
    engine.dispose()


@pytest.mark.parametrize("kind", ["mariadb", "postgresql"])
def test_a_login_that_was_refused_is_read_again(kind: str, request: pytest.FixtureRequest) -> None:
    server: MariaDb | PostgreSql = request.getfixturevalue(kind)
    right = make_url(server.new_index())
    if isinstance(server, PostgreSql):
        name = f"{right.database}_writer"
        server.asks_for_passwords_of(name)
        server.execute(f"CREATE ROLE {name} SUPERUSER LOGIN PASSWORD 'right'")
        right = right.set(username=name, password="right")  # noqa: S106 - a test's
    engine = write_engine(Login(right.set(password="old"), lambda: right))  # noqa: S106 - a test's
    with engine.begin() as connection:
        assert connection.execute(text("SELECT 1")).scalar_one() == 1
    engine.dispose()


@pytest.mark.parametrize("kind", ["mariadb", "postgresql"])
def test_a_server_without_tls_is_refused_where_tls_is_asked_for(kind: str, request: pytest.FixtureRequest) -> None:
    server: MariaDb | PostgreSql = request.getfixturevalue(kind)
    engine = write_engine(server.new_index(), Tls(REQUIRE))
    with pytest.raises(SQLAlchemyError), engine.begin():
        pass
    engine.dispose()


@pytest.mark.parametrize("kind", ["mariadb", "postgresql"])
def test_a_statement_that_takes_too_long_ends(kind: str, request: pytest.FixtureRequest) -> None:
    server: MariaDb | PostgreSql = request.getfixturevalue(kind)
    engine = write_engine(server.new_index(), statement_timeout_seconds=1)
    sleep = "SELECT SLEEP(600) FROM seq_1_to_2" if kind == "mariadb" else "SELECT pg_sleep(600)"
    with pytest.raises(SQLAlchemyError), engine.begin() as connection:
        connection.execute(text(sleep))
    engine.dispose()
