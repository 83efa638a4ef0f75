"""Compiled statements are kept where they are small, and few of them; whatever is asked, a process does not grow."""

import pytest
from sqlalchemy import or_, select

from db.engine import Database
from db.schema import series
from db.statement_cache import MOST
from tests.servers import Sqlite


@pytest.fixture
def database(sqlite: Sqlite) -> Database:
    return Database(sqlite.new_index())


def kept(database: Database) -> int:
    return len(database._engine.get_execution_options()["compiled_cache"])


def test_a_statement_is_compiled_once(database: Database) -> None:
    for text in ("1", "2", "3"):
        database.rows(select(series.c.series_pkey).where(series.c.modality == text))
    assert kept(database) == 1


def test_there_are_few(database: Database) -> None:
    columns = list(series.c)
    for number in range(4 * MOST):
        chosen = [column for at, column in enumerate(columns) if number + 1 >> at & 1]
        database.rows(select(*chosen))
    assert MOST // 2 <= kept(database) <= MOST * 3 // 2


def test_a_large_statement_is_not_kept(database: Database) -> None:
    database.rows(select(series.c.series_pkey).where(or_(*(series.c.modality.like(f"{n}%") for n in range(900)))))
    assert kept(database) == 0


def test_nor_is_one_with_a_long_list(database: Database) -> None:
    database.rows(select(series.c.series_pkey).where(series.c.modality.in_([str(n) for n in range(900)])))
    assert kept(database) == 0
