"""Following without a queue: AHI is asked for what was updated, over a socket; the index is a real database."""

import time
from collections.abc import Iterator
from threading import Event
from typing import Any

import pytest
from sqlalchemy import select

from datastore.serving.faults import parse_faults
from db.index_schema import indexed_image_set, study
from dicomweb.errors import UpstreamBusy
from index.follow.changed import Outcome
from index.follow.holds import FAILURES
from tests.datastore.shelf import DATASTORE_ID, identifier
from tests.index.follow.live import Parts, parts, running
from tests.servers import engine_of
from tests.waiting import wait_for


class Polled:
    """The parts, and what the index holds."""

    def __init__(self, made: Parts, url: str) -> None:
        self.parts, self.store, self.url = made, made.store, url

    def put(self, number: int) -> None:
        """Create or update an image set now."""
        self.store.put(number, updated_at=time.time())

    def catch_up(self) -> None:
        self.parts.poller.catch_up(DATASTORE_ID, Event())

    def studies(self) -> set[str]:
        with engine_of(self.url) as engine, engine.connect() as connection:
            return set(map(str, connection.scalars(select(study.c.studydescription))))

    def attempts(self, number: int) -> Any:
        with engine_of(self.url) as engine, engine.connect() as connection:
            where = indexed_image_set.c.imagesetid == identifier(number)
            return connection.scalar(select(indexed_image_set.c.attempts).where(where))


@pytest.fixture
def polled(empty_url: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[Polled]:
    with parts(empty_url, monkeypatch) as made:
        yield Polled(made, empty_url)


def test_what_was_updated_since_the_last_time_is_read_once(polled: Polled) -> None:
    for number in range(1, 121):  # more than two pages
        polled.put(number)
    polled.catch_up()
    assert polled.studies() == polled.store.expected()
    polled.put(7)
    polled.catch_up()
    polled.catch_up()
    assert polled.studies() == polled.store.expected()
    assert len(polled.store.metadata_read) == 121


def test_what_was_there_before_is_for_the_fill(polled: Polled) -> None:
    polled.store.put(1, updated_at=time.time() - 86_400)
    polled.catch_up()
    assert polled.studies() == set()


def test_another_follower_goes_on_where_one_was(polled: Polled, monkeypatch: pytest.MonkeyPatch) -> None:
    """The time up to which all was seen is in the index."""
    polled.put(1)
    polled.catch_up()
    seen_at = polled.parts.progress.seen_at(DATASTORE_ID)
    assert seen_at
    polled.store.put(2, updated_at=seen_at.timestamp() + 1)
    with parts(polled.url, monkeypatch) as other:
        other.store.put(1, updated_at=seen_at.timestamp() - 30)
        other.store.put(2, updated_at=seen_at.timestamp() - 3600)  # before the overlap
        other.store.put(3, updated_at=seen_at.timestamp() + 5)
        other.poller.catch_up(DATASTORE_ID, Event())
    assert polled.studies() == {"1.1", "3.1"}


def test_what_is_listed_late_is_found_within_the_overlap(polled: Polled) -> None:
    polled.put(1)
    polled.catch_up()
    polled.store.put(2, updated_at=time.time() - 30)
    polled.catch_up()
    assert polled.studies() == polled.store.expected()


def test_an_outage_loses_nothing(polled: Polled) -> None:
    polled.catch_up()
    polled.put(1)
    for fault in ("SearchImageSets:503", "GetImageSet:503,GetDatastore:503", "GetImageSetMetadata:429"):
        polled.parts.faults.replace(parse_faults(fault))
        with pytest.raises(UpstreamBusy):
            polled.catch_up()
    polled.parts.faults.replace(())
    polled.catch_up()
    assert polled.studies() == polled.store.expected()


def test_what_fails_is_tried_again_and_then_put_aside(polled: Polled) -> None:
    polled.parts.faults.replace(parse_faults(f"GetImageSetMetadata/{identifier(1)}:body=list"))
    polled.put(1)
    polled.put(2)
    polled.catch_up()
    polled.catch_up()
    assert (polled.attempts(1), polled.studies()) == (1, {"2.1"})
    for _ in range(20):
        polled.parts.poller.try_again(Event())
    assert polled.attempts(1) == FAILURES
    polled.parts.faults.replace(())
    polled.put(1)
    polled.catch_up()
    assert (polled.attempts(1), polled.studies()) == (0, polled.store.expected())


def test_one_that_was_put_aside_is_tried_once_for_each_update(polled: Polled) -> None:
    polled.parts.faults.replace(parse_faults(f"GetImageSetMetadata/{identifier(1)}:body=list"))
    polled.put(1)
    polled.catch_up()
    for _ in range(FAILURES):
        polled.parts.poller.try_again(Event())
    for _ in range(3):
        polled.catch_up()
    assert polled.attempts(1) == FAILURES + 1
    assert polled.parts.tally.outcomes[Outcome.ASIDE] == 2


def test_the_command_follows_all_data_stores_that_may_be_listed(
    polled: Polled, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("index.follow.poller.ROUND_SECONDS", 0.05)
    follower = polled.parts.follower([])
    with running(follower):
        wait_for(lambda: polled.parts.progress.seen_at(DATASTORE_ID))
        polled.put(1)
        wait_for(lambda: polled.studies() == {"1.1"})
        polled.put(1)
        wait_for(lambda: polled.studies() == {"1.2"})
