"""Following by a queue: SQS (moto) and AHI (the embedded data store) over sockets, the index in a real database."""

import json
import random
import time
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import replace
from threading import Event
from typing import Any

import pytest
from sqlalchemy import select

from datastore.serving.faults import parse_faults
from db.index_schema import index_follower, indexed_image_set, study
from index.follow.changed import Outcome
from index.follow.holds import FAILURES, TOLERATED, DatastoreHolds
from index.follow.queue import EventQueue, QueueDepth
from tests.datastore.shelf import identifier
from tests.index.follow.events import image_set_event, job_event, text
from tests.index.follow.live import Parts, Sqs, parts, running
from tests.servers import engine_of
from tests.waiting import wait_for

EMPTY = QueueDepth(0, 0, 0)


class Followed:
    """The parts, with the queue and what the index holds."""

    def __init__(self, made: Parts, sqs: Sqs, queue_url: str, url: str) -> None:
        self.parts, self.store, self.url = made, made.store, url
        self._sqs, self._queue_url = sqs, queue_url

    def send(self, *bodies: Any) -> None:
        """Put events, or texts, into the queue."""
        for body in bodies:
            self._sqs.send(self._queue_url, body if isinstance(body, str) else text(body))

    def depth(self) -> QueueDepth:
        assert self.parts.queue
        time.sleep(0.05)  # it is asked again and again
        return self.parts.queue.depth()

    def studies(self) -> set[str]:
        """The study descriptions of the index."""
        return {str(one) for one in self._scalars(select(study.c.studydescription))}

    def ledger(self, number: int) -> Any:
        with engine_of(self.url) as engine, engine.connect() as connection:
            where = indexed_image_set.c.imagesetid == identifier(number)
            return connection.execute(select(indexed_image_set).where(where)).first()

    def is_done(self) -> bool:
        """Whether the queue is empty and the index has what the data store has."""
        return self.depth() == EMPTY and self.studies() == self.store.expected()

    def _scalars(self, statement: Any) -> list[Any]:
        with engine_of(self.url) as engine, engine.connect() as connection:
            return list(connection.scalars(statement))


@pytest.fixture
def followed(empty_url: str, sqs: Sqs, monkeypatch: pytest.MonkeyPatch) -> Iterator[Followed]:
    queue_url = sqs.new_queue()
    queue = EventQueue(queue_url, "us-east-1", wait_seconds=1)
    with parts(empty_url, monkeypatch, queue) as made:
        yield Followed(made, sqs, queue_url, empty_url)
    queue.close()


def test_what_changes_is_in_the_index_and_the_queue_is_empty(followed: Followed) -> None:
    with running(followed.parts.queue_follower()):
        followed.send(*(followed.store.put(number) for number in range(1, 21)))
        wait_for(followed.is_done)
        followed.send(followed.store.put(3), followed.store.put(4), followed.store.delete(5))
        wait_for(followed.is_done)
    assert "3.2" in followed.studies() and "5.1" not in followed.studies()
    with engine_of(followed.url) as engine, engine.connect() as connection:
        (row,) = connection.execute(select(index_follower)).all()
    assert row.source == "" and row.askedat and row.eventat


def test_events_twice_and_in_the_wrong_order_read_each_version_once(followed: Followed) -> None:
    store = followed.store
    events = [store.put(1), store.put(1), store.put(2), store.put(1)]
    shuffled = random.Random(7).sample(events * 5, len(events) * 5)  # noqa: S311 - a test's
    followed.send(*shuffled)
    with running(followed.parts.queue_follower(threads=1)):
        wait_for(followed.is_done)
    assert sorted(store.metadata_read) == [(identifier(1), 3), (identifier(2), 1)]


def test_an_image_set_that_was_deleted_does_not_come_back(followed: Followed) -> None:
    created, deleted = followed.store.put(1), followed.store.delete(1)
    followed.store.put(2)
    with running(followed.parts.queue_follower()):
        followed.send(deleted)
        wait_for(lambda: followed.depth() == EMPTY and followed.ledger(1) is not None)
        followed.send(created, deleted, created)
        wait_for(lambda: followed.depth() == EMPTY)
    assert followed.ledger(1).deletedat
    assert followed.studies() == set()


def test_one_that_neither_ahi_nor_the_index_has_leaves_no_trace(followed: Followed) -> None:
    """AHI may show a new image set later than it tells of it, so there is no mark that it is gone for ever."""
    followed.send(image_set_event("Created", identifier(9)))
    with running(followed.parts.queue_follower()):
        wait_for(lambda: followed.depth() == EMPTY)
        assert followed.ledger(9) is None
        followed.send(followed.store.put(9))
        wait_for(followed.is_done)
    assert followed.parts.tally.outcomes[Outcome.ABSENT] >= 3


NOT_FOR_US = [
    "hello",
    "[" * 60_000,
    "x" * 200_000,
    "{}",
    json.dumps(image_set_event("Created") | {"source": "aws.s3"}),
    text(image_set_event("Created", datastore_id="e" * 32)),
    text(job_event("Completed", "e" * 32)),
    text(image_set_event("Invented")),
    text(image_set_event("Updating")),
    text(image_set_event("Created", "../../etc/passwd")),
]


def test_what_is_not_for_us_harms_nothing(followed: Followed) -> None:
    followed.send(*NOT_FOR_US, followed.store.put(1), *NOT_FOR_US)
    with running(followed.parts.queue_follower()):
        wait_for(followed.is_done)
    assert sum(followed.parts.tally.ignored.values()) == 2 * len(NOT_FOR_US)
    assert len(followed.store.metadata_read) == 1


def test_an_import_job_has_the_data_store_asked_for_all_that_is_new(followed: Followed) -> None:
    """Its image sets are found even if none of their own events arrives."""
    followed.parts.poller.catch_up(followed.store.datastore.datastore_id, Event())
    for number in range(1, 5):
        followed.store.put(number, updated_at=4e9)
    followed.send(job_event("Completed"))
    with running(followed.parts.queue_follower()):
        wait_for(lambda: followed.depth() == EMPTY)
    assert followed.studies() == set()  # AHI says that they will change in 2096
    followed.store.put(5, updated_at=time.time())
    followed.send(job_event("Failed"))
    with running(followed.parts.queue_follower()):
        wait_for(lambda: followed.depth() == EMPTY)
    assert followed.studies() == {"5.1"}


def test_an_image_set_that_fails_ten_times_is_put_aside_and_told(
    followed: Followed, caplog: pytest.LogCaptureFixture
) -> None:
    bad = identifier(1)
    followed.parts.faults.replace(parse_faults(f"GetImageSetMetadata/{bad}:body=list"))
    followed.send(followed.store.put(1), followed.store.put(2))
    with running(followed.parts.queue_follower()):
        wait_for(lambda: followed.depth() == EMPTY and followed.studies() == {"2.1"})
    assert (followed.ledger(1).attempts, followed.ledger(1).version) == (FAILURES, None)
    assert followed.ledger(1).error
    assert followed.parts.tally.outcomes[Outcome.ASIDE] == 1
    assert sum("put aside" in line for line in caplog.messages) == 1
    followed.parts.faults.replace(())
    with running(followed.parts.queue_follower()):
        followed.send(followed.store.put(1))
        wait_for(followed.is_done)
    assert followed.ledger(1).attempts == 0


@pytest.mark.parametrize("fault", ["*:503", "*:429", "*:cut", "GetImageSet:503,GetDatastore:500,ListDatastores:500"])
def test_an_outage_of_ahi_is_waited_for(
    followed: Followed, fault: str, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr("index.follow.queue_follower._OUTAGE_SECONDS", 0.05)
    followed.parts.faults.replace(parse_faults(fault))
    followed.send(*(followed.store.put(number) for number in range(1, 4)))
    with running(followed.parts.queue_follower()):
        wait_for(lambda: followed.depth().in_hand == 3 and "AHI or index does not answer" in caplog.text)
        followed.parts.faults.replace(())
        wait_for(followed.is_done)
    assert not followed.parts.tally.outcomes[Outcome.FAILED]


def test_an_error_of_one_image_set_alone_holds_up_no_other(followed: Followed) -> None:
    followed.parts.faults.replace(parse_faults(f"GetImageSet/{identifier(1)}:500"))
    followed.send(followed.store.put(1), *(followed.store.put(number) for number in range(2, 30)))
    with running(followed.parts.queue_follower()):
        wait_for(lambda: len(followed.studies()) == 28)
        followed.parts.faults.replace(())
        wait_for(followed.is_done)


GONE = "e" * 32
"""A data store that AHI does not have, with more events than there are threads."""


def test_a_data_store_that_is_gone_holds_up_no_other_and_its_events_are_put_aside(
    followed: Followed, caplog: pytest.LogCaptureFixture
) -> None:
    followed.parts.attempts = replace(followed.parts.attempts, holds=DatastoreHolds(first_seconds=0.0001))
    followed.send(*[json.dumps(job_event("Completed", GONE) | {"id": str(number)}) for number in range(30)])
    with running(followed.parts.queue_follower(datastore_ids=None, threads=2)):
        wait_for(lambda: "data store cannot be read" in caplog.text)
        followed.send(followed.store.put(1))
        wait_for(lambda: followed.studies() == {"1.1"})
        wait_for(lambda: followed.depth() == EMPTY)
    assert f"put aside datastore={GONE}" in caplog.text


def test_a_data_store_without_rights_holds_up_no_other_and_its_image_sets_are_put_aside(
    followed: Followed, caplog: pytest.LogCaptureFixture
) -> None:
    """AHI denies all calls; what was put aside is in the ledger, so that a repair finds it."""
    followed.parts.faults.replace(parse_faults("GetImageSet:403,SearchImageSets:403"))
    followed.parts.attempts = replace(followed.parts.attempts, holds=DatastoreHolds(first_seconds=0.0001))
    followed.send(*(followed.store.put(number) for number in range(1, 6)))
    with running(followed.parts.queue_follower()):
        wait_for(lambda: followed.depth() == EMPTY)
    assert [followed.ledger(number).attempts for number in range(1, 6)] == [FAILURES] * 5
    assert "AccessDenied" in caplog.text
    assert followed.parts.tally.outcomes[Outcome.ASIDE] == 5


def test_events_of_a_data_store_that_is_held_cost_no_call(followed: Followed) -> None:
    followed.parts.faults.replace(parse_faults("GetImageSet:403"))
    followed.parts.attempts = replace(followed.parts.attempts, holds=DatastoreHolds(first_seconds=3600))
    followed.send(*(followed.store.put(number) for number in range(1, 31)))
    with running(followed.parts.queue_follower(threads=1)):
        wait_for(lambda: followed.depth() == QueueDepth(0, 30, 0))
    assert followed.parts.faults.calls()["GetImageSet"] == TOLERATED


def test_a_deletion_of_which_ahi_tells_before_it_shows_it_is_looked_at_again(followed: Followed) -> None:
    followed.send(followed.store.put(1), followed.store.put(2))
    with running(followed.parts.queue_follower()):
        wait_for(followed.is_done)
    with running(followed.parts.queue_follower(first_delay_seconds=1)):
        followed.send(image_set_event("Deleted", identifier(1)))
        wait_for(lambda: followed.parts.tally.outcomes[Outcome.UNCHANGED])
        followed.store.delete(1)
        wait_for(followed.is_done)


def test_a_locked_image_set_is_tried_again(followed: Followed) -> None:
    followed.parts.faults.replace(parse_faults(f"GetImageSetMetadata/{identifier(1)}:409"))
    followed.send(followed.store.put(1), followed.store.put(2))
    with running(followed.parts.queue_follower(first_delay_seconds=1)):
        wait_for(lambda: followed.parts.tally.outcomes[Outcome.FAILED] >= 1)
        followed.parts.faults.replace(())
        wait_for(followed.is_done)


def test_a_stop_during_an_outage_gives_everything_back(followed: Followed) -> None:
    followed.parts.faults.replace(parse_faults("*:503"))
    followed.send(*(followed.store.put(number) for number in range(1, 6)))
    with running(followed.parts.queue_follower()):
        wait_for(lambda: followed.depth().in_hand == 5)
    assert (followed.depth().waiting, followed.depth().in_hand) == (5, 0)


def test_several_followers_at_once_end_in_the_same_rows(followed: Followed) -> None:
    store = followed.store
    with ExitStack() as stack:
        for _ in range(3):
            stack.enter_context(running(followed.parts.queue_follower()))
        for number in range(1, 31):
            event = store.put(number)
            followed.send(event, event)
        for number in range(1, 31, 3):
            followed.send(store.put(number), store.delete(number + 1))
        wait_for(followed.is_done)
    assert len(followed.studies()) == 20


def test_the_index_may_be_away(mariadb: Any, sqs: Sqs, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("index.follow.queue_follower._OUTAGE_SECONDS", 0.1)
    mariadb.execute("CREATE DATABASE IF NOT EXISTS away")
    queue_url = sqs.new_queue()
    queue = EventQueue(queue_url, "us-east-1", wait_seconds=1)
    with parts(mariadb.url("away"), monkeypatch, queue) as made:
        followed = Followed(made, sqs, queue_url, mariadb.url("away"))
        with running(made.queue_follower()):
            followed.send(made.store.put(1))
            wait_for(followed.is_done)
            mariadb.stop()
            followed.send(made.store.put(2), made.store.put(1))
            wait_for(lambda: followed.depth().in_hand == 2)
            mariadb.start()
            wait_for(followed.is_done)
        assert not made.tally.outcomes[Outcome.FAILED]
    queue.close()
