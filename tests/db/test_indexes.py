"""The indexes that we want are in one table: of the code, of the document, and of the database."""

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from sqlalchemy import Connection, select, text

from datastore.index.filler import IndexFiller
from db.comparison import newest_first
from db.engine import Database
from db.indexes import WANTED, IndexWanted, create_statements, missing_indexes
from db.schema import metadata, study
from tests.servers import PostgreSql, engine_of

DOCUMENT = (Path(__file__).parents[2] / "doc" / "indexes.md").read_text()


@pytest.fixture
def url(new_index: Callable[[], str]) -> str:
    return new_index()


@pytest.fixture
def database(url: str) -> Iterator[Database]:
    database = Database(url)
    yield database
    database.close()


def execute(url: str, *statements: str) -> None:
    with engine_of(url) as engine, engine.begin() as connection:
        for statement in statements:
            connection.execute(text(statement))


def dialect(url: str) -> str:
    with engine_of(url) as engine:
        return engine.dialect.name


def test_the_index_project_creates_none_of_them(database: Database) -> None:
    assert missing_indexes(database) == list(WANTED)


def test_what_is_created_is_not_missing(url: str, database: Database) -> None:
    execute(url, *create_statements(dialect(url)))
    assert missing_indexes(database) == []


@pytest.mark.parametrize("wanted", WANTED, ids=lambda of: of.name)
def test_what_is_not_created_is_missing(url: str, database: Database, wanted: IndexWanted) -> None:
    execute(url, *create_statements(dialect(url), [other for other in WANTED if other is not wanted]))
    assert missing_indexes(database) == [wanted]


def test_an_index_counts_under_any_name_and_with_more_columns(url: str, database: Database) -> None:
    execute(url, "CREATE INDEX theirs ON series (modality, study_pkey, laterality)")
    assert "series_modality" not in [wanted.name for wanted in missing_indexes(database)]


def test_an_index_that_begins_otherwise_does_not_count(url: str, database: Database) -> None:
    execute(url, "CREATE INDEX theirs ON series (laterality, modality, study_pkey)")
    assert "series_modality" in [wanted.name for wanted in missing_indexes(database)]


@pytest.mark.parametrize("wanted", WANTED, ids=lambda of: of.name)
def test_columns_are_those_of_the_table(wanted: IndexWanted) -> None:
    assert set(wanted.columns) <= set(metadata.tables[wanted.table].c.keys())


@pytest.mark.parametrize("wanted", WANTED, ids=lambda of: of.name)
def test_an_index_is_documented_as_it_is_created(wanted: IndexWanted) -> None:
    columns = ", ".join(wanted.columns)
    assert f"| `{wanted.name}` | {wanted.table} | {columns} | {wanted.buys} |" in DOCUMENT
    mysql, postgresql = DOCUMENT.split("\nPostgreSQL:\n")
    assert f"{wanted.create('mysql')};\n" in mysql
    assert f"{wanted.create('postgresql')};\n" in postgresql


def test_the_document_has_no_other_index() -> None:
    assert DOCUMENT.count("CREATE INDEX") == 2 * len(WANTED)


def test_the_embedded_index_has_them_from_the_start_and_an_older_one_gets_them(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path / 'index.sqlite'}"
    with engine_of(url) as engine:
        metadata.create_all(engine)  # as earlier versions made it
    database = Database(url)
    for _ in range(2):  # a second start changes nothing
        filler = IndexFiller(url)
        filler.create_schema()
        filler.close()
        assert missing_indexes(database) == []
    database.close()


def plan_of(connection: Connection) -> str:
    """How the first page is found, newest first."""
    page = select(study.c.study_pkey).order_by(
        newest_first(study.c.studydate), newest_first(study.c.studytime), newest_first(study.c.study_pkey)
    )
    sql = str(page.limit(25).compile(connection, compile_kwargs={"literal_binds": True}))
    return "\n".join(row[0] for row in connection.execute(text(f"EXPLAIN {sql}")))


def test_postgresql_reads_the_newest_studies_from_the_index(postgresql: PostgreSql) -> None:
    """There, unlike elsewhere, the order of the unknown is part of the index."""
    url = postgresql.new_index()
    execute(url, *create_statements("postgresql"), "SET enable_seqscan = off")
    with engine_of(url) as engine, engine.connect() as connection:
        connection.execute(text("SET enable_seqscan = off"))
        connection.execute(text("SET enable_bitmapscan = off"))
        plan = plan_of(connection)
    assert "study_newest_first" in plan and "Sort" not in plan
