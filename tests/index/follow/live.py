"""A data store that changes while it is followed, served over a socket, and a queue of Amazon SQS with its events."""

import gzip
import json
import threading
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

import boto3

from ahi.client.calls import AhiClient
from datastore.serving.faults import Faults
from datastore.storage.records import ImageSetVersion, UnknownImageSet
from index.follow.attempts import Attempts
from index.follow.changed import ChangedImageSets
from index.follow.follower import Follower
from index.follow.poller import Poller
from index.follow.progress import FollowerProgress
from index.follow.queue import EventQueue
from index.follow.queue_follower import QueueFollower
from index.follow.tally import Tally
from index.writing.writer import IndexWriter
from tests.datastore.shelf import DATASTORE_ID, Shelf, identifier, image_set
from tests.datastore_server import served
from tests.index.follow.events import image_set_event

CT = "1.2.840.10008.5.1.4.1.1.2"


def document(image_set_id: str, number: int, text: str) -> dict[str, Any]:
    """Metadata of an image set of a study of its own, with a text that shows its version."""
    study, series, sop = f"1.{number}", f"1.{number}.1", f"1.{number}.1.1"
    instance = {"DICOM": {"SOPInstanceUID": sop, "SOPClassUID": CT}, "ImageFrames": []}
    of_series = {"DICOM": {"SeriesInstanceUID": series, "Modality": "CT"}, "Instances": {sop: instance}}
    return {
        "SchemaVersion": "1.1",
        "DatastoreID": DATASTORE_ID,
        "ImageSetID": image_set_id,
        "Patient": {"DICOM": {"PatientID": f"P{number}"}},
        "Study": {"DICOM": {"StudyInstanceUID": study, "StudyDescription": text}, "Series": {series: of_series}},
    }


class LiveStore(Shelf):
    """Image sets by number, each with a study of its own. The study description is `<number>.<version>`."""

    def __init__(self) -> None:
        super().__init__()
        self._lock = threading.Lock()
        self._live: dict[str, ImageSetVersion] = {}
        self._numbers: dict[str, int] = {}
        self._moment = 0
        self.deleted: set[int] = set()
        self.metadata_read: list[tuple[str, int]] = []

    def put(self, number: int, *, is_primary: bool = True, updated_at: float | None = None) -> dict[str, Any]:
        """Create an image set, or update it; the event that AHI sends."""
        with self._lock:
            self._moment += 1
            at = 1_767_225_600.25 + self._moment if updated_at is None else updated_at
            known = self._live.get(identifier(number))
            version = known.version + 1 if known else 1
            made = replace(image_set(number), created_at=at, updated_at=at, version=version, is_primary=is_primary)
            self._live[made.image_set_id] = made
            self._numbers[made.image_set_id] = number
        return image_set_event("Updated" if known else "Created", identifier(number), version=version)

    def delete(self, number: int) -> dict[str, Any]:
        """Delete an image set; the event that AHI sends."""
        with self._lock:
            del self._live[identifier(number)]
            self.deleted.add(number)
        return image_set_event("Deleted", identifier(number))

    def numbers(self) -> set[int]:
        """The image sets that are there."""
        return {self._numbers[one.image_set_id] for one in self.image_sets()}

    def clear(self) -> None:
        """Forget all image sets."""
        with self._lock:
            self._live.clear()
            self.deleted.clear()

    def image_sets(self) -> list[ImageSetVersion]:
        with self._lock:
            return list(self._live.values())

    def image_set(self, image_set_id: str, version: int | None = None) -> ImageSetVersion:
        with self._lock:
            found = self._live.get(image_set_id)
        if found is None or version not in (None, found.version):
            raise UnknownImageSet(image_set_id)
        return found

    def metadata(self, image_set_id: str, version: int | None = None) -> bytes:
        found = self.image_set(image_set_id, version)
        self.metadata_read.append((image_set_id, found.version))
        number = self._numbers[image_set_id]
        text = document(image_set_id, number, f"{number}.{found.version}")
        return gzip.compress(json.dumps(text).encode())

    def expected(self) -> set[str]:
        """The study descriptions that an index of what is there has."""
        return {f"{self._numbers[one.image_set_id]}.{one.version}" for one in self.image_sets()}


def parse(blob: bytes) -> Any:
    """Decode an answer of GetImageSetMetadata."""
    return json.loads(gzip.decompress(blob))


class Parts:
    """A data store, an index, and all that follows the one with the other."""

    def __init__(self, url: str, store: LiveStore, faults: Faults, queue: EventQueue | None = None) -> None:
        self.store, self.faults, self.queue = store, faults, queue
        self.client = AhiClient(region="us-east-1", deadline_seconds=0.5, conflict_seconds=0.1)
        self.writer = IndexWriter(url, pool_size=12)
        self.writer.create_or_migrate()
        self.tally = Tally()
        self.progress = FollowerProgress(self.writer.session)
        update = ChangedImageSets(self.client, self.writer, parse).update
        self.attempts = Attempts(update, self.client.ping, self.writer, self.tally)
        self.poller = Poller(self.client.listing, self.writer, self.attempts, self.progress, self.tally)

    def queue_follower(self, **options: Any) -> QueueFollower:
        """A follower that tries again at once."""
        assert self.queue
        known = {"datastore_ids": frozenset({DATASTORE_ID}), "first_delay_seconds": 0}
        poller = replace(self.poller, attempts=self.attempts)
        parts = (self.queue, self.attempts, poller.catch_up, self.progress, self.tally)
        return QueueFollower(*parts, **{**known, **options})

    def follower(self, datastore_ids: Iterable[str] = (DATASTORE_ID,)) -> Follower:
        """All of it, as the command runs it."""
        return Follower(self.client, self.writer, parse, datastore_ids=datastore_ids, queue=self.queue)

    def close(self) -> None:
        """Close all connections."""
        self.client.close()
        self.writer.close()


@contextmanager
def parts(url: str, monkeypatch: Any, queue: EventQueue | None = None) -> Iterator[Parts]:
    """A data store over a socket and an empty index; `url` is that of a database without tables."""
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.setenv(name, "test")
    store, faults = LiveStore(), Faults()
    with served(store, faults) as endpoint:
        monkeypatch.setenv("AWS_ENDPOINT_URL_MEDICAL_IMAGING", endpoint)
        made = Parts(url, store, faults, queue)
        try:
            yield made
        finally:
            made.close()


@contextmanager
def running(follower: Any, *arguments: Any) -> Iterator[threading.Event]:
    """A follower that runs in a thread; it is stopped and awaited at the end."""
    stop = threading.Event()
    thread = threading.Thread(target=follower.run, args=(*arguments, stop, lambda: None), daemon=True)
    thread.start()
    try:
        yield stop
    finally:
        stop.set()
        thread.join(60)
        assert not thread.is_alive()


class Sqs:
    """Queues of a server of moto."""

    def __init__(self, endpoint: str) -> None:
        self._client: Any = boto3.client(
            "sqs",
            region_name="us-east-1",
            endpoint_url=endpoint,
            aws_access_key_id="test",
            aws_secret_access_key="test",  # noqa: S106
        )
        self._number = 0

    def new_queue(self, most_tries: int = 10) -> str:
        """The URL of a new queue, with a dead-letter queue of its own."""
        self._number += 1
        dead = self._client.create_queue(QueueName=f"dead{self._number}")["QueueUrl"]
        arn = self._client.get_queue_attributes(QueueUrl=dead, AttributeNames=["QueueArn"])["Attributes"]["QueueArn"]
        redrive = json.dumps({"deadLetterTargetArn": arn, "maxReceiveCount": str(most_tries)})
        created = self._client.create_queue(QueueName=f"events{self._number}", Attributes={"RedrivePolicy": redrive})
        return str(created["QueueUrl"])

    def send(self, url: str, body: str) -> None:
        """Put a message into a queue."""
        self._client.send_message(QueueUrl=url, MessageBody=body)
