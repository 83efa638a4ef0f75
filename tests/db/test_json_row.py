"""What is selected as one column has the values and the types that its columns have by themselves."""

from collections.abc import Callable
from datetime import date, datetime, time
from typing import Any

import pytest
from sqlalchemy import BigInteger, Column, Date, DateTime, MetaData, String, Table, Text, Time, null, select, text

from db.json_row import json_row
from tests.servers import MariaDb, engine_of

kinds = Table(
    "kinds",
    MetaData(),
    Column("number", BigInteger, primary_key=True, autoincrement=False),
    Column("name", String(64)),
    Column("comments", Text),
    Column("day", Date),
    Column("clock", Time),
    Column("moment", DateTime),
)
ROWS: list[tuple[Any, ...]] = [
    (1, "Müller^Jörg", "a\nb\tc\\d'e\"f/g", date(2024, 2, 29), time(10, 30, 15), datetime(2024, 2, 29, 23, 59, 59)),
    (2, None, None, None, None, None),
    (2**62, "", "\U0001f600 \u5c71 \x1b\x01\u2028", date(1, 1, 1), time(0), datetime(1900, 1, 1)),
    (-1, "None", "[1, null]", date(9999, 12, 31), time(23, 59, 59), datetime(2024, 1, 1, 12)),
    (0, "0", "true", date(1999, 9, 9), time(9, 9, 9), datetime(1999, 9, 9, 9, 9, 9)),
]


def test_values_and_types_are_kept(index_url: str) -> None:
    with engine_of(index_url) as engine:
        kinds.create(engine)
        with engine.begin() as connection:
            connection.execute(kinds.insert(), [dict(zip(kinds.c.keys(), row, strict=True)) for row in ROWS])
            columns = [*kinds.c, null(), kinds.c.number + 1]
            rows = connection.execute(select(json_row(columns)).order_by(kinds.c.comments)).scalars().all()
            assert sorted(rows) == sorted([*row, None, row[0] + 1] for row in ROWS)
            assert [list(map(type, row[:6])) for row in rows] == [
                list(map(type, row)) for row in connection.execute(select(kinds).order_by(kinds.c.comments))
            ]


@pytest.mark.parametrize("server", ["sqlite", "postgresql"])
def test_a_time_may_have_a_fraction(server: str, request: pytest.FixtureRequest) -> None:
    new_index: Callable[[], str] = request.getfixturevalue(server).new_index
    with engine_of(new_index()) as engine:
        kinds.create(engine)
        with engine.begin() as connection:
            connection.execute(kinds.insert(), {"number": 1, "clock": time(10, 30, 15, 250000)})
            assert connection.scalar(select(json_row([kinds.c.clock]))) == [time(10, 30, 15, 250000)]


def test_what_mysql_takes_for_a_date_and_a_time_and_is_none_is_unknown(mariadb: MariaDb) -> None:
    with engine_of(mariadb.new_index()) as engine:
        kinds.create(engine)
        with engine.begin() as connection:
            connection.execute(text("SET SESSION sql_mode = ''"))
            connection.execute(text("INSERT INTO kinds (number, day, clock) VALUES (1, '0000-00-00', '25:00:00')"))
            assert connection.scalar(select(json_row([kinds.c.number, kinds.c.day, kinds.c.clock]))) == [1, None, None]
