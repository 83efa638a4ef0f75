"""The tables of an index: made once, migrated forwards while others read, and never mixed with another program's."""

import threading
from collections.abc import Callable, Mapping
from typing import Any

import pytest
from sqlalchemy import Column, Connection, Integer, MetaData, String, Table, inspect, select, text

from db.engine import Database
from db.index_schema import VERSION, metadata, schema_version, study
from db.migrations import MIGRATIONS, Migration
from db.migrations.migrate import NewerVersion, OtherTables, create_or_migrate, current_version
from db.migrations.steps import add_missing_column
from index.writing.writer import IndexWriter, Outcome
from tests.index.writing.made import metadata as image_set
from tests.index.writing.made import moment
from tests.servers import engine_of

NEXT = VERSION + 1

_ADDED = Table("added_later", MetaData(), Column("added_pkey", Integer, primary_key=True), Column("text", String(64)))


def _stepwise(steps: int) -> Migration:
    """A migration to the next version that is cut off after so many of its three steps."""

    def migrate(connection: Connection) -> None:
        for step in (_add_table, _add_column, _add_index)[:steps]:
            step(connection)
        if steps < 3:
            raise ConnectionError

    return migrate


def _add_table(connection: Connection) -> None:
    _ADDED.create(connection, checkfirst=True)


def _add_column(connection: Connection) -> None:
    add_missing_column(connection, study, Column("addedlater", String(16)))


def _add_index(connection: Connection) -> None:
    if "study_added_later" not in {one["name"] for one in inspect(connection).get_indexes("study")}:
        connection.execute(text("CREATE INDEX study_added_later ON study (addedlater)"))


def _migrations(steps: int = 3) -> Mapping[int, Migration]:
    return {**MIGRATIONS, NEXT: _stepwise(steps)}


def migrate(url: str, version: int, migrations: Mapping[int, Migration]) -> None:
    writer = IndexWriter(url)
    try:
        with writer.session.long_work() as connection:
            create_or_migrate(connection, version, migrations)
    finally:
        writer.close()


def version_of(url: str) -> int | None:
    with engine_of(url) as engine, engine.connect() as connection:
        return current_version(connection)


@pytest.fixture
def url(new_database: Callable[[], str]) -> str:
    """An index of this version with a study."""
    found = new_database()
    writer = IndexWriter(found)
    writer.create_or_migrate()
    writer.create_or_migrate()
    assert writer.put("1" * 32, image_set("a" * 32), 1, True, moment(1)) is Outcome.WRITTEN
    writer.close()
    return found


def test_tables_are_migrated_while_others_read_them(url: str) -> None:
    ended, failures, rows = threading.Event(), [], [0]
    reading = threading.Event()

    def read() -> None:
        database = Database(url)
        try:
            while not ended.is_set():
                rows[0] += len(database.rows(select(study)))
                reading.set()
        except Exception as error:  # noqa: BLE001 - whatever it is, the test fails
            failures.append(error)
        finally:
            database.close()

    reader = threading.Thread(target=read)
    reader.start()
    assert reading.wait(60)
    migrate(url, NEXT, _migrations())
    before = rows[0]
    reading.clear()
    assert reading.wait(60)  # it goes on
    ended.set()
    reader.join(60)
    assert not failures
    assert rows[0] > before
    assert version_of(url) == NEXT
    with engine_of(url) as engine:
        assert "addedlater" in {one["name"] for one in inspect(engine).get_columns("study")}
        assert inspect(engine).has_table("added_later")


@pytest.mark.parametrize("steps", range(3))
def test_a_migration_that_was_cut_off_begins_again(url: str, steps: int) -> None:
    with pytest.raises(ConnectionError):
        migrate(url, NEXT, _migrations(steps))
    assert version_of(url) == VERSION
    migrate(url, NEXT, _migrations())
    migrate(url, NEXT, _migrations())
    assert version_of(url) == NEXT
    with engine_of(url) as engine:
        assert [one["name"] for one in inspect(engine).get_indexes("study")].count("study_added_later") == 1


def test_tables_of_a_newer_release_are_not_written(url: str) -> None:
    migrate(url, NEXT, _migrations())
    writer = IndexWriter(url)
    with pytest.raises(NewerVersion, match=f"version {NEXT}.* knows version {VERSION}"):
        writer.create_or_migrate()
    writer.close()


@pytest.mark.parametrize("table", ["study", "issuer"])
def test_a_database_with_tables_of_another_program_is_refused(new_database: Callable[[], str], table: str) -> None:
    url = new_database()
    with engine_of(url) as engine, engine.begin() as connection:
        connection.execute(text(f"CREATE TABLE {table} (id INTEGER)"))
    writer = IndexWriter(url)
    with pytest.raises(OtherTables, match=table):
        writer.create_or_migrate()
    writer.close()
    with engine_of(url) as engine:
        assert inspect(engine).get_table_names() == [table]


def test_the_migrations_lead_from_the_first_version_to_what_a_new_index_has(url: str) -> None:
    def described() -> dict[str, Any]:
        with engine_of(url) as engine:
            found = inspect(engine)
            return {
                name: (
                    sorted(str(column["name"]) for column in found.get_columns(name)),
                    sorted(str(index["column_names"]) for index in found.get_indexes(name)),
                )
                for name in found.get_table_names()
            }

    new = described()
    with engine_of(url) as engine, engine.begin() as connection:
        for name in ("series_lease", "stored_instance", "revoked_session", "share_link"):  # of later versions
            metadata.tables[name].drop(connection)
        for column in ("triedversion", "triedupdatedat"):  # of version 3
            connection.execute(text(f"ALTER TABLE indexed_image_set DROP COLUMN {column}"))
        connection.execute(schema_version.update().values(version=1))
    assert described() != new
    writer = IndexWriter(url)
    writer.create_or_migrate()
    writer.close()
    assert described() == new
    assert version_of(url) == VERSION
    assert sorted(MIGRATIONS) == list(range(2, VERSION + 1))


@pytest.mark.parametrize("servers", [("mariadb", "utf8mb4_bin"), ("postgresql", "C")])
def test_texts_are_compared_exactly(servers: tuple[str, str], request: pytest.FixtureRequest) -> None:
    name, collation = servers
    url = request.getfixturevalue(name).new_database()
    writer = IndexWriter(url)
    writer.create_or_migrate()
    writer.close()
    schema = "'public'" if name == "postgresql" else "DATABASE()"
    columns = f"information_schema.columns WHERE table_schema = {schema} AND collation_name IS NOT NULL"
    with engine_of(url) as engine, engine.connect() as connection:
        assert connection.scalars(text(f"SELECT DISTINCT collation_name FROM {columns}")).all() == [collation]  # noqa: S608
        assert set(inspect(connection).get_table_names()) == set(metadata.tables)
