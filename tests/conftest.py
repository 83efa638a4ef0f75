"""What many tests share: the databases that can hold an index, and the marker `unit` or `service` of each test."""

import sys
from collections.abc import Callable, Generator, Iterator, Sequence
from pathlib import Path

import pytest
from hypothesis import settings

from db.engine import Database
from db.index_kind import IndexKind
from tests.servers import MariaDb, OpenDatabase, PostgreSql, Sqlite, mysql_server

settings.register_profile("untimed", deadline=None)  # a busy machine is no failure
settings.load_profile("untimed")
pytest.register_assert_rewrite("tests.service.answers", "tests.service.expected")  # before anything imports them

_FOLDER = Path(__file__).parent
_OF_THE_SERVICE = ("service", "crowd", "mass", "bench")
"""Folders whose tests start the whole service."""
_SERVERS = {"mariadb", "postgresql"}
"""Fixtures that start a server; parameters name them too."""

_runs_unit_test = False


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Give each test that is not marked `service` in its module the marker that its folder or its fixtures ask for.

    Files that take long come first, so that no worker is alone with one at the end.
    """
    for item in items:
        if item.get_closest_marker("service") is None:
            item.add_marker(pytest.mark.service if _needs_more_than_python(item) else pytest.mark.unit)
    of_the_service = {item.path for item in items if _is_in(item, _OF_THE_SERVICE)}
    others = {item.path for item in items if any(map(item.get_closest_marker, ("service", "slow")))}
    items.sort(key=lambda item: (item.path not in of_the_service, item.path not in others))


def _is_in(item: pytest.Item, folders: Sequence[str]) -> bool:
    return item.path.relative_to(_FOLDER).parts[0] in folders


def _needs_more_than_python(item: pytest.Item) -> bool:
    if _is_in(item, _OF_THE_SERVICE):
        return True
    parameters = (
        item.callspec.params.values() if isinstance(item, pytest.Function) and hasattr(item, "callspec") else ()
    )
    needed = {*getattr(item, "fixturenames", ()), *(value for value in parameters if isinstance(value, str))}
    return bool(needed & _SERVERS)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_protocol(item: pytest.Item) -> Generator[None, object, object]:
    """Tell the hook below whether a unit test runs, its fixtures included, where unit tests were asked for."""
    global _runs_unit_test
    asked_for: str = item.config.option.markexpr
    _runs_unit_test = "unit" in asked_for and item.get_closest_marker("unit") is not None
    try:
        return (yield)
    finally:
        _runs_unit_test = False


def _refuse_programs(event: str, arguments: tuple[object, ...]) -> None:
    """Fail a unit test that starts the service, or a program that did not come with Python packages."""
    if event == "subprocess.Popen" and _runs_unit_test:
        executable, command, *_ = arguments
        of_python = Path(str(executable)).parent == Path(sys.executable).parent
        if not of_python or "main.py" in {Path(str(word)).name for word in command}:  # type: ignore[attr-defined]
            raise AssertionError(f"a test that starts {command} is to be marked `service`")


sys.addaudithook(_refuse_programs)


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


@pytest.fixture(scope="session", params=INDEXES)
def new_database(request: pytest.FixtureRequest) -> Callable[[], str]:
    """Makes fresh databases without tables and gives their URLs; once for each kind of database."""
    server: Sqlite | MariaDb | PostgreSql = request.getfixturevalue(request.param)
    return server.new_database


@pytest.fixture(scope="session", params=IndexKind, ids=lambda kind: kind.name.lower())
def tables(request: pytest.FixtureRequest) -> IndexKind:
    """Each kind of tables that an index may have."""
    kind: IndexKind = request.param
    return kind


@pytest.fixture(scope="session")
def new_tables(new_index: Callable[..., str], tables: IndexKind) -> Callable[[], str]:
    """As `new_index`, once for each kind of tables too."""
    return lambda: new_index(tables)


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
