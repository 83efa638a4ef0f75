"""The time from the arrival of an event in the queue until a search of the index finds the image set.

python -m bench.following [--events 200] [--per-second 10]

Queue (moto), AHI (the embedded data store) and MariaDB run beside the follower on the same cores.
"""

import argparse
import math
import os
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from sqlalchemy import select

from bench.opening import Figure
from bench.table import markdown
from datastore.serving.faults import Faults
from db.index_schema import study
from tests.aws_server import AwsServer
from tests.datastore.shelf import DATASTORE_ID
from tests.datastore_server import served
from tests.index.follow.events import text
from tests.index.follow.live import LiveStore, Sqs
from tests.index.follow.process import FollowerProcess
from tests.servers import engine_of, mysql_server

AIM_SECONDS = 2.0
_DATABASE = "dicomindex"
_GIVE_UP_SECONDS = 120.0


@contextmanager
def running_queue() -> Iterator[Sqs]:
    """A server of SQS."""
    server = AwsServer()
    server.start()
    endpoint = "http://{}:{}".format(*server.get_host_and_port())
    os.environ["AWS_ENDPOINT_URL_SQS"] = endpoint
    try:
        yield Sqs(endpoint)
    finally:
        server.stop()


def measure(events: int, per_second: float) -> list[float]:
    """The seconds from each event until its study is in the index."""
    database, store = mysql_server(), LiveStore()
    try:
        with running_queue() as sqs, served(store, Faults()) as ahi, tempfile.TemporaryDirectory() as folder:
            database.execute(f"CREATE DATABASE {_DATABASE}")
            url, queue_url = database.url(_DATABASE), sqs.new_queue()
            environment = {
                "INDEX_WRITE_URL": url,
                "INDEX_EVENTS_QUEUE_URL": queue_url,
                "AHI_DATASTORE_IDS": DATASTORE_ID,
                "AWS_ENDPOINT_URL_MEDICAL_IMAGING": ahi,
                "AWS_ENDPOINT_URL_SQS": os.environ["AWS_ENDPOINT_URL_SQS"],
            }
            follower = FollowerProcess(Path(folder), environment)
            try:
                return _times(url, store, sqs, queue_url, events, per_second)
            finally:
                follower.stop()
    finally:
        database.close()


def _times(url: str, store: LiveStore, sqs: Sqs, queue_url: str, events: int, per_second: float) -> list[float]:
    sent: dict[str, float] = {}
    found: dict[str, float] = {}
    begun = time.monotonic()
    with engine_of(url) as engine, engine.connect() as connection:
        while len(found) < events and time.monotonic() - begun < _GIVE_UP_SECONDS + events / per_second:
            while len(sent) < events and len(sent) <= (time.monotonic() - begun) * per_second:
                number = len(sent) + 1
                sqs.send(queue_url, text(store.put(number)))
                sent[f"1.{number}"] = time.monotonic()
            there = set(connection.scalars(select(study.c.studyinstanceuid)))
            connection.rollback()
            now = time.monotonic()
            found |= {uid: now - sent[uid] for uid in there - found.keys()}
            time.sleep(0.02)
    return [*found.values(), *[math.inf] * (events - len(found))]


def figures(seconds: Sequence[float]) -> list[Figure]:
    """The median and the 95th percentile; only the latter has an aim."""
    ordered = sorted(seconds)
    p95 = ordered[max(0, math.ceil(0.95 * len(ordered)) - 1)]
    return [
        Figure("event to searchable, median", ordered[len(ordered) // 2], "s"),
        Figure("event to searchable, 95th percentile", p95, "s", at_most=AIM_SECONDS),
    ]


def main(arguments: Sequence[str] | None = None) -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--events", type=int, default=200)
    parser.add_argument("--per-second", type=float, default=10)
    options = parser.parse_args(arguments)
    found = figures(measure(options.events, options.per_second))
    meaning = {True: "met", False: "missed", None: "-"}
    rows = [(one.line, one.value, one.unit, one.at_most or "-", meaning[one.met]) for one in found]
    print(markdown(("line", "found", "unit", "aim", ""), rows))


if __name__ == "__main__":
    main()
