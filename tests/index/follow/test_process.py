"""The command as a process of its own: killed at any moment it loses nothing, and it ends when it is asked to."""

import os
import random
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import requests
from sqlalchemy import inspect, select

from datastore.serving.faults import Faults
from db.index_schema import study
from index.follow.queue import EventQueue, QueueDepth
from tests.datastore.shelf import DATASTORE_ID
from tests.datastore_server import served
from tests.index.follow.events import text
from tests.index.follow.live import LiveStore, Sqs
from tests.index.follow.process import FollowerProcess
from tests.servers import engine_of, free_port
from tests.waiting import wait_for

pytestmark = pytest.mark.service

IMPATIENT = (sys.executable, str(Path(__file__).with_name("impatient_main.py")))


class Place:
    """A data store, a queue and a database, with the settings of a follower of them."""

    def __init__(self, store: LiveStore, ahi: str, sqs: Sqs, url: str) -> None:
        self.store, self.url, self._sqs = store, url, sqs
        self.queue_url = sqs.new_queue(most_tries=1000)
        self.queue = EventQueue(self.queue_url, "us-east-1", wait_seconds=0)
        self.environment = {
            "INDEX_WRITE_URL": url,
            "INDEX_EVENTS_QUEUE_URL": self.queue_url,
            "AHI_DATASTORE_IDS": DATASTORE_ID,
            "AWS_ENDPOINT_URL_MEDICAL_IMAGING": ahi,
            "AWS_ENDPOINT_URL_SQS": os.environ["AWS_ENDPOINT_URL_SQS"],
        }

    def send(self, event: dict[str, object]) -> None:
        self._sqs.send(self.queue_url, text(event))

    def is_done(self) -> bool:
        """Whether the queue is empty and the index has what the data store has."""
        time.sleep(0.1)  # it is asked again and again
        return self.queue.depth() == QueueDepth(0, 0, 0) and self.studies() == self.store.expected()

    def studies(self) -> set[str]:
        with engine_of(self.url) as engine, engine.connect() as connection:
            if not inspect(connection).has_table("study"):
                return set()
            return set(map(str, connection.scalars(select(study.c.studydescription))))


@pytest.fixture
def place(empty_url: str, sqs: Sqs) -> Iterator[Place]:
    store = LiveStore()
    with served(store, Faults()) as ahi:
        yield Place(store, ahi, sqs, empty_url)


def test_killed_again_and_again_it_loses_nothing(place: Place, tmp_path: Path) -> None:
    moments = random.Random(20)  # noqa: S311 - a test's
    number = 0
    for _ in range(4):
        follower = FollowerProcess(tmp_path, place.environment, IMPATIENT)
        for _ in range(15):
            number += 1
            place.send(place.store.put(number))
        place.send(place.store.delete(number - 3))
        time.sleep(moments.random())
        follower.kill()
    follower = FollowerProcess(tmp_path, place.environment, IMPATIENT)
    wait_for(place.is_done)
    assert len(place.studies()) == 56
    assert follower.stop() == 0


def test_it_tells_what_it_does_and_ends_when_it_is_asked_to(place: Place, tmp_path: Path) -> None:
    port = free_port()
    follower = FollowerProcess(tmp_path, {**place.environment, "METRICS_PORT": str(port)})
    place.send(place.store.put(1))
    place.send({"source": "aws.s3"})
    wait_for(place.is_done)
    metrics = requests.get(f"http://127.0.0.1:{port}/metrics", timeout=60).text
    for line in (
        "dicomweb_index_events_total 2.0",
        'dicomweb_index_image_sets_total{outcome="written"} 1.0',
        'dicomweb_index_events_ignored_total{reason="an event of another source"} 1.0',
        "dicomweb_index_queue_waiting 0.0",
        "dicomweb_index_queue_dead_letters 0.0",
    ):
        assert line in metrics.splitlines(), metrics
    assert follower.stop() == 0
    assert "following ended" in follower.log
    assert "Traceback" not in follower.log


def test_a_port_that_is_taken_stops_the_start_in_one_line(place: Place, tmp_path: Path) -> None:
    endpoint = place.environment["AWS_ENDPOINT_URL_SQS"]
    taken = {**place.environment, "METRICS_PORT": endpoint.rpartition(":")[2]}
    with pytest.raises(AssertionError, match="METRICS_HOST 127.0.0.1, METRICS_PORT"):
        FollowerProcess(tmp_path, taken)
