"""What many tests share: the databases that can hold an index."""

from collections.abc import Callable, Iterator

import pytest
from hypothesis import settings

from db.engine import Database
from tests.servers import MariaDb, OpenDatabase, PostgreSql, Sqlite, mysql_server

settings.register_profile("untimed", deadline=None)  # a busy machine is no failure
settings.load_profile("untimed")
pytest.register_assert_rewrite("tests.service.answers", "tests.service.expected")  # before anything imports them

INDEXES = ("sqlite", "mariadb", "postgresql")
"""Every database that the index may live in; each is the name of a fixture below. Another one is another row.

Where MYSQLD names a server of MySQL, which Debian's stable releases lack, it is in MariaDB's place: script/try-mysql.
"""


@pytest.fixture(scope="session")
def sqlite(tmp_path_factory: pytest.TempPathFactory) -> Sqlite:
    return Sqlite(tmp_path_factory.mktemp("sqlite"))


@pytest.fixture(scope="session")
def mariadb() -> Iterator[MariaDb]:
    server = mysql_server()
    yield server
    server.close()


@pytest.fixture(scope="session")
def postgresql() -> Iterator[PostgreSql]:
    server = PostgreSql()
    yield server
    server.close()


@pytest.fixture(scope="session", params=INDEXES)
def new_index(request: pytest.FixtureRequest) -> Callable[[], str]:
    """Makes fresh, empty, writable indexes and gives their URLs; once for each kind of database."""
    server: Sqlite | MariaDb | PostgreSql = request.getfixturevalue(request.param)
    return server.new_index


@pytest.fixture
def index_url(new_index: Callable[[], str]) -> str:
    """The URL of a fresh, empty, writable index; once for each kind of database."""
    return new_index()


@pytest.fixture
def open_database() -> Iterator[OpenDatabase]:
    opened: list[Database] = []

    def open_one(url: str, **settings: float) -> Database:
        opened.append(Database(url, **settings))  # type: ignore[arg-type]
        return opened[-1]

    yield open_one
    for database in opened:
        database.close()
