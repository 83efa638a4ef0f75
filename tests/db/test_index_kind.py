"""The kind of the tables is found once, before the first statement, and again while there are none."""

from collections.abc import Callable

from sqlalchemy import literal, select

from db.engine import Database
from db.index_kind import IndexKind, by_kind
from db.schema import metadata
from index.writing.writer import IndexWriter
from tests.servers import OpenDatabase, engine_of


def compiled_for(database: Database) -> str:
    """The kind that statements are compiled for."""
    chosen = by_kind(legacy=literal("legacy"), own=literal("own"))
    return str(database.rows(select(chosen))[0][0])


def test_statements_fit_the_tables(
    new_tables: Callable[[], str], tables: IndexKind, open_database: OpenDatabase
) -> None:
    database = open_database(new_tables())
    assert compiled_for(database) == tables.name.lower()
    assert database.index_kind is tables


def test_tables_that_are_made_later_are_noticed(new_database: Callable[[], str], open_database: OpenDatabase) -> None:
    url = new_database()
    database = open_database(url)
    assert (compiled_for(database), database.index_kind) == ("legacy", IndexKind.LEGACY)
    writer = IndexWriter(url)
    writer.create_or_migrate()
    writer.close()
    assert (compiled_for(database), database.index_kind) == ("own", IndexKind.OWN)


def test_what_was_found_is_not_looked_for_again(new_database: Callable[[], str], open_database: OpenDatabase) -> None:
    url = new_database()
    with engine_of(url) as engine:
        metadata.create_all(engine)
    database = open_database(url)
    assert database.index_kind is IndexKind.LEGACY
    with engine_of(url) as engine:
        metadata.drop_all(engine)
    assert (compiled_for(database), database.index_kind) == ("legacy", IndexKind.LEGACY)
