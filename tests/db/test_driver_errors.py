"""Errors of the drivers, each made by a real server: what a search asks for is never an outage."""

from collections.abc import Callable

import pytest
from sqlalchemy import String, bindparam, literal, select, text
from sqlalchemy.exc import DBAPIError

from db import driver_errors
from db.driver_errors import Cause
from db.engine import Database
from dicomweb.errors import BadRequest
from tests.servers import MariaDb, OpenDatabase, PostgreSql, Sqlite

OF_MARIADB = [
    pytest.param(1267, "SELECT 1 FROM latin WHERE word = :value", "\N{GRINNING FACE}", id="latin1"),
    pytest.param(1267, "SELECT 1 FROM short WHERE word LIKE :value", "\N{GRINNING FACE}%", id="utf8mb3"),
    pytest.param(1139, "SELECT 1 FROM latin WHERE word REGEXP :value", "(", id="pattern"),
    pytest.param(1690, "SELECT 9223372036854775807 + :value", 1, id="integer"),
]


@pytest.mark.parametrize(("code", "statement", "value"), OF_MARIADB)
def test_mariadb(mariadb: MariaDb, open_database: OpenDatabase, code: int, statement: str, value: object) -> None:
    if type(mariadb) is not MariaDb:
        pytest.skip("MySQL has other numbers")
    url = mariadb.new_index()
    name = url.rpartition("/")[2].partition("?")[0]
    mariadb.execute(
        f"CREATE TABLE {name}.latin (word VARCHAR(9)) CHARACTER SET latin1",
        f"CREATE TABLE {name}.short (word VARCHAR(9)) CHARACTER SET utf8mb3",
        f"INSERT INTO {name}.latin VALUES ('a')",  # noqa: S608
    )
    told = refused(open_database(url), text(statement).bindparams(value=value))
    assert driver_errors.ASKED[code] == told


OF_POSTGRESQL = [
    pytest.param("SELECT CAST(:value AS TEXT)", "a\0b", driver_errors.CHARACTERS, id="NUL"),
    pytest.param("SELECT CAST(:value AS TEXT)", "\ud83d", driver_errors.CHARACTERS, id="surrogate"),
    pytest.param("SELECT 'a' ~ :value", "(", driver_errors.PATTERN, id="pattern"),
    pytest.param("SELECT CAST(:value AS INTEGER)", 2**40, driver_errors.VALUE, id="integer"),
]


@pytest.mark.parametrize(("statement", "value", "told"), OF_POSTGRESQL)
def test_postgresql(
    postgresql: PostgreSql, open_database: OpenDatabase, statement: str, value: object, told: str
) -> None:
    assert refused(open_database(postgresql.new_index()), text(statement).bindparams(value=value)) == told


def test_more_parameters_than_postgresql_takes(postgresql: PostgreSql, open_database: OpenDatabase) -> None:
    many = select(literal(1)).where(literal("a").in_([str(number) for number in range(70_000)]))
    assert refused(open_database(postgresql.new_index()), many) == driver_errors.TOO_MUCH


OF_SQLITE = [
    pytest.param("SELECT :value", "\ud83d", driver_errors.CHARACTERS, id="surrogate"),
    pytest.param("SELECT :value", 2**70, driver_errors.VALUE, id="integer"),
    pytest.param("SELECT 'a' REGEXP :value", "(", driver_errors.PATTERN, id="pattern"),
    pytest.param("SELECT 'a' GLOB :value", "a" * 60_000, driver_errors.PATTERN, id="long pattern"),
    pytest.param(f"SELECT {' OR '.join(['1'] * 2000)} = :value", 1, driver_errors.TOO_MUCH, id="depth"),
]


@pytest.mark.parametrize(("statement", "value", "told"), OF_SQLITE)
def test_sqlite(sqlite: Sqlite, open_database: OpenDatabase, statement: str, value: object, told: str) -> None:
    assert refused(open_database(sqlite.new_index()), text(statement).bindparams(value=value)) == told


def test_half_of_a_surrogate_pair_is_refused_everywhere(
    new_index: Callable[[], str], open_database: OpenDatabase
) -> None:
    statement = select(bindparam("value", "\udcff", String()))
    assert refused(open_database(new_index()), statement) == driver_errors.CHARACTERS


def refused(database: Database, statement: object) -> str:
    """What is said of it; the index still is well."""
    database.ping()
    with pytest.raises(BadRequest) as told:
        database.rows(statement)  # type: ignore[arg-type]
    assert not database._outage._since
    database.ping()
    return str(told.value)


class Driver(Exception):
    """An error as PyMySQL makes it."""


class State(Exception):
    """An error as psycopg makes it."""

    def __init__(self, sqlstate: str) -> None:
        super().__init__("as the server says")
        self.sqlstate = sqlstate


@pytest.mark.parametrize(
    ("original", "cause"),
    [
        *((Driver(code), Cause.AWAY) for code in (2003, 2006, 2013, 1040, 1045, 1049, 1053, 1290, 1792, 1836)),
        *((Driver(code), Cause.BUSY) for code in (1205, 1213)),
        *((Driver(code), Cause.SLOW) for code in (1969, 3024)),
        *((Driver(code), Cause.ASKED) for code in (1267, 1366, 3988, 3688, 1153, 1690)),
        *((Driver(code), Cause.REFUSED) for code in (1054, 1064, 1146)),
        *((State(code), Cause.AWAY) for code in ("08006", "57P01", "53300", "28P01", "3D000", "XX000", "25006")),
        *((State(code), Cause.BUSY) for code in ("40001", "53200", "55P03")),
        (State("57014"), Cause.SLOW),
        *((State(code), Cause.ASKED) for code in ("22021", "22003", "2201B", "54001", "54023")),
        *((State(code), Cause.REFUSED) for code in ("42601", "42P01")),
    ],
)
def test_the_cause_of_a_code(original: Exception, cause: Cause) -> None:
    assert driver_errors.cause(DBAPIError("SELECT", {}, original)) is cause
