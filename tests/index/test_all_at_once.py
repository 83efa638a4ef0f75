"""Fills, repairs and followers at the same time, of a data store that changes meanwhile, end in what AHI has."""

import random
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import pytest
from sqlalchemy import select

from db.index_schema import instance, series, study
from index.compare import Kind
from index.follow.events import ImageSetHint, parse_event
from index.reconcile import Reconciliation
from tests.datastore.shelf import DATASTORE_ID, identifier
from tests.index.follow.events import text
from tests.index.follow.live import Parts, parse, parts

MANY = 30


def repair(made: Parts) -> None:
    with Reconciliation(made.client, made.writer, parse, [DATASTORE_ID]) as run:
        run.list_all()
        run.apply(Kind, MANY, with_aside=True)


def follow(made: Parts, chance: random.Random, changed: threading.Event) -> None:
    """Change the data store, and take the events of it: twice, late, in the wrong order, and of wrong deletions."""
    for _ in range(3):
        told = []
        for number in chance.sample(range(1, MANY + 1), 10):
            kind = chance.choice(["put", "put", "delete", "removed by mistake"])
            with made.store._lock:
                is_there = identifier(number) in made.store._live
            if kind == "delete" and is_there:
                told.append(made.store.delete(number))
            elif kind == "put":
                told.append(made.store.put(number))
            elif is_there:
                made.writer.remove(DATASTORE_ID, identifier(number))
        told *= 2
        chance.shuffle(told)
        for event in told:
            hint = parse_event(text(event))
            assert isinstance(hint, ImageSetHint)
            made.attempts.make(hint)
    changed.set()


def test_they_end_in_what_ahi_has(new_database: Callable[[], str], monkeypatch: pytest.MonkeyPatch) -> None:
    with parts(new_database(), monkeypatch) as made:
        for number in range(1, MANY + 1):
            made.store.put(number)
        changed = threading.Event()
        with ThreadPoolExecutor(3) as pool:
            follower = pool.submit(follow, made, random.Random(11), changed)  # noqa: S311 - a test's
            fills = [pool.submit(repair, made) for _ in range(2)]
            for future in (follower, *fills):
                future.result()
        repair(made)
        with made.writer.session.connection() as connection:
            assert set(connection.scalars(select(study.c.studydescription))) == made.store.expected()
            numbers = {f"1.{number}" for number in made.store.numbers()}
            assert {uid.removesuffix(".1") for uid in connection.scalars(select(series.c.seriesinstanceuid))} == numbers
            assert len(connection.scalars(select(instance.c.sopinstanceuid)).all()) == len(numbers)
        with Reconciliation(made.client, made.writer, parse, [DATASTORE_ID]) as run:
            run.list_all()
            (found,) = run.compare()
            assert found.total == 0
