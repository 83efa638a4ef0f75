"""Patterns, queries and orders of a client cost no more than their length, or that of what they are held against."""

import sqlite3

import pytest

from app.prefetch.routes import parse_tasks
from db.comparison import _glob
from db.fuzzy import search_in_sqlite, word_pattern
from dicomweb.errors import BadRequest
from dicomweb.parameters import parse_parameters
from tests.growth import grows_linearly


@pytest.mark.parametrize("folded", [True, False])
@pytest.mark.parametrize("pattern", ["*a" * 90 + "*b", "*a?" * 60 + "b", "*?" * 90 + "b", "*ab" * 60 + "c"])
@pytest.mark.parametrize("unit", ["a", "ab", "aab"])
def test_wildcards_in_sqlite(pattern: str, unit: str, folded: bool) -> None:
    connection, glob = sqlite3.connect(":memory:"), _glob(pattern, folded)
    grows_linearly(lambda n: lambda: connection.execute("SELECT ? GLOB ?", (unit * n, glob)).fetchone(), 2**13)
    connection.close()


@pytest.mark.parametrize("word", ["anna", "h" * 60, "schmidt" * 20])
@pytest.mark.parametrize("unit", ["a", "h", "an^", "schm", "= "])
def test_sounds_in_sqlite(word: str, unit: str) -> None:
    pattern = word_pattern(word)
    grows_linearly(lambda n: lambda: search_in_sqlite(pattern, unit * n), 2**13)


@pytest.mark.parametrize("unit", [b"&", b"a&", b"a=b&", b"=", b"%41", b"%", b"+", b";"])
def test_queries(unit: bytes) -> None:
    grows_linearly(lambda n: lambda: parse_parameters(unit * (n // len(unit))), 2**15)


@pytest.mark.parametrize(
    "body", [b"[" * 200_000, b'{"studies":' * 20_000, b"9" * 200_000, b'{"studies": [' + b"9" * 200_000]
)
def test_orders_that_are_none(body: bytes) -> None:
    with pytest.raises(BadRequest):
        parse_tasks(body)
