"""`/health` answers soon whatever hangs, and asking it often is no work for the index; `/live` asks nobody."""

import socket
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from flask import Flask
from flask.testing import FlaskClient
from sqlalchemy import event

from ahi.workers.pool import FetcherPool
from app import health
from db.engine import Database
from dicomweb import respond
from dicomweb.errors import ProxyError
from tests.servers import MariaDb, Sqlite, mysql_server
from tests.waiting import wait_for

pytestmark = pytest.mark.service


@pytest.mark.parametrize(
    ("accept", "status"),
    [(None, 200), ("*/*", 200), ("application/json", 200), ("text/html,application/xml;q=0.9,*/*;q=0.8", 303)],
)
def test_the_front_door_answers_programs_and_sends_browsers_on(accept: str | None, status: int) -> None:
    app = Flask(__name__, static_folder=None)
    app.register_blueprint(health.front_door("console/"))
    answer = app.test_client().get("/", headers={"Accept": accept} if accept else {})
    assert answer.status_code == status
    assert (answer.text == "OK") if status == 200 else (answer.location == "console/")


def client(database: Database, fetchers: FetcherPool) -> FlaskClient:
    app = Flask(__name__, static_folder=None)
    app.register_blueprint(health.blueprint(database, fetchers))
    app.register_error_handler(ProxyError, respond.problem)
    return app.test_client()


@pytest.fixture(scope="module")
def server() -> Iterator[MariaDb]:
    server = mysql_server()
    yield server
    server.close()


@pytest.fixture
def silent_fetcher(tmp_path: Path) -> Iterator[FetcherPool]:
    """One that takes questions and says nothing."""
    path = str(tmp_path / "fetcher")
    with socket.socket(socket.AF_UNIX) as listening:
        listening.bind(path)
        listening.listen(64)
        yield FetcherPool([path])


def test_whatever_hangs_it_answers_within_two_seconds(server: MariaDb, silent_fetcher: FetcherPool) -> None:
    database = Database(server.new_index())
    database.ping()
    asking = client(database, silent_fetcher)
    with server.silent():
        for _ in range(3):  # and threads do not add up
            began = time.monotonic()
            answer = asking.get("/health")
            assert time.monotonic() - began < 15  # 1.5 s and what a busy machine needs; the index is given up after 35
            assert answer.status_code == 503
            assert answer.headers["Retry-After"]
            for what in ("the metadata index", "AWS HealthImaging"):
                assert f"{what} has not answered for 1.5 seconds" in answer.get_json()["detail"]
        assert asking.get("/live").status_code == 200  # which asks nobody


def test_the_index_that_is_back_is_told(server: MariaDb, silent_fetcher: FetcherPool) -> None:
    database = Database(server.new_index(), statement_timeout_seconds=0.3)
    database.ping()
    asking = client(database, silent_fetcher)
    with server.silent():
        assert "the metadata index" in asking.get("/health").get_json()["detail"]
    wait_for(lambda: "the metadata index" not in asking.get("/health").get_json()["detail"])


def test_it_asks_the_index_once_a_second_however_often_it_is_asked(sqlite: Sqlite, silent_fetcher: FetcherPool) -> None:
    database, statements = Database(sqlite.new_index()), list[float]()
    event.listen(database._engine, "before_cursor_execute", lambda *_: statements.append(time.monotonic()))
    began = time.monotonic()
    with ThreadPoolExecutor(16) as threads:
        list(threads.map(lambda _: client_once(asking), [asking := client(database, silent_fetcher)] * 64))
    assert 1 <= len(statements) <= time.monotonic() - began + 1


def client_once(asking: FlaskClient) -> None:
    asking.application.test_client().get("/health")


def test_live_asks_nobody(silent_fetcher: FetcherPool) -> None:
    database, connections = Database("sqlite:////none/index"), list[int]()
    database.tell_use(connections.append)
    assert client(database, silent_fetcher).get("/live").data == b"OK"
    assert connections == []
