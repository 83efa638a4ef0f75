"""Instances are sent to the STOW-RS service of the embedded data store, which answers, and fails, as AHI does."""

import hashlib
import threading
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from functools import cached_property
from io import BytesIO
from pathlib import Path

import pytest
from pydicom import Dataset

from ahi.client.stow import MAX_BODY_BYTES, STREAMING, OutcomeUnknown, StowAnswer, StowClient, default_endpoint
from datastore.serving.faults import Faults, parse_faults
from datastore.storage.storage import Storage
from dicomweb.errors import UpstreamBusy, UpstreamFailed
from tests.datastore.made import made
from tests.datastore_server import served

CANNOT_UNDERSTAND = 0xC000


def file_of(data_set: Dataset) -> bytes:
    file = BytesIO()
    data_set.save_as(file, enforce_file_format=True)
    return file.getvalue()


def instance(number: int, **elements: str) -> bytes:
    return file_of(made(SOPInstanceUID=f"1.2.3.1.1.{number}", **elements))


@dataclass
class Body:
    """A body of these parts."""

    parts: Iterable[bytes]
    content_type: str = 'multipart/related; type="application/dicom"; boundary=xyz'
    reads: list[int] = field(default_factory=list)

    @cached_property
    def whole(self) -> bytes:
        head = b"--xyz\r\nContent-Type: application/dicom\r\n\r\n"
        return b"".join(head + part + b"\r\n" for part in self.parts) + b"--xyz--\r\n"

    @property
    def length_bytes(self) -> int:
        return len(self.whole)

    @property
    def sha256(self) -> str:
        return hashlib.sha256(self.whole).hexdigest()

    def chunks(self) -> Iterator[bytes]:
        self.reads.append(len(self.whole))
        yield from (self.whole[:100], self.whole[100:])


@pytest.fixture(autouse=True)
def credentials(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.setenv(name, "test")
    monkeypatch.delenv("AWS_SESSION_TOKEN", raising=False)


@dataclass
class Served:
    """A data store that is served, and a client of it."""

    storage: Storage
    faults: Faults
    client: StowClient

    def store(self, *parts: bytes) -> StowAnswer:
        return self.client.store(self.storage.datastore.datastore_id, Body(parts))


@pytest.fixture
def served_store(tmp_path: Path) -> Iterator[Served]:
    storage, faults = Storage.open(tmp_path / "store"), Faults()
    with served(storage, faults, signature_needed=True) as url:
        yield Served(storage, faults, StowClient(region="us-east-1", endpoint=url, deadline_seconds=20))


def test_stored_instances_are_named_and_are_in_one_version_of_an_image_set(served_store: Served) -> None:
    answer = served_store.store(instance(1), instance(2))
    assert answer == StowAnswer({"1.2.3.1.1.1": 0, "1.2.3.1.1.2": 0}, {})
    (image_set,) = served_store.storage.image_sets()
    assert (image_set.version, image_set.is_primary) == (1, True)
    assert served_store.storage.unindexed() == []


def test_later_instances_make_another_version_of_the_same_image_set(served_store: Served) -> None:
    served_store.store(instance(1))
    served_store.store(instance(2))
    served_store.store(instance(2))
    (image_set,) = served_store.storage.image_sets()
    assert (image_set.version, image_set.tags["DICOMNumberOfStudyRelatedInstances"]) == (3, 2)


def test_conflicting_instances_make_an_image_set_that_is_not_primary(served_store: Served) -> None:
    served_store.store(instance(1))
    served_store.store(instance(2, PatientID="other"))
    assert [found.is_primary for found in served_store.storage.image_sets()] == [True, False]


def test_what_is_not_dicom_is_refused_and_the_rest_is_stored(served_store: Served) -> None:
    answer = served_store.store(instance(1), b"not DICOM")
    assert answer.stored == {"1.2.3.1.1.1": 0} and answer.failed == {"": CANNOT_UNDERSTAND}
    assert served_store.store(b"not DICOM") == StowAnswer({}, {"": CANNOT_UNDERSTAND})


def test_a_body_without_instances_is_not_taken(served_store: Served) -> None:
    assert served_store.store() == StowAnswer({}, {}, "ValidationException")


@pytest.mark.parametrize("fault", ["429", "503", "409"])
def test_a_call_that_stores_nothing_is_made_again(served_store: Served, fault: str) -> None:
    served_store.faults.replace(parse_faults(f"StoreDICOM:{fault}:x2"))
    assert served_store.store(instance(1)).stored == {"1.2.3.1.1.1": 0}
    (image_set,) = served_store.storage.image_sets()
    assert image_set.tags["DICOMNumberOfStudyRelatedInstances"] == 1
    assert served_store.faults.calls()["StoreDICOM"] == 3


@pytest.mark.parametrize("fault", ["500", "cut", "cut-body", "half", "body=html", "body=empty"])
def test_a_call_that_may_have_stored_something_is_not_made_again(served_store: Served, fault: str) -> None:
    """The same again would make another version of the image set: the forwarder looks for it first."""
    served_store.faults.replace(parse_faults(f"StoreDICOM:{fault}:x2"))
    with pytest.raises(OutcomeUnknown):
        served_store.store(instance(1))
    assert served_store.faults.calls()["StoreDICOM"] == 1


def test_an_image_set_that_is_being_written_is_waited_for(served_store: Served) -> None:
    served_store.store(instance(1))
    (image_set,) = served_store.storage.image_sets()
    served_store.storage.lock(image_set.image_set_id, True)
    unlock = threading.Timer(0.5, served_store.storage.lock, (image_set.image_set_id, False))
    unlock.start()
    assert served_store.store(instance(2)).stored == {"1.2.3.1.1.2": 0}
    assert served_store.faults.calls()["StoreDICOM"] > 2


def test_ahi_that_stays_away_is_busy(served_store: Served) -> None:
    served_store.faults.replace(parse_faults("StoreDICOM:503"))
    client = StowClient(region="us-east-1", endpoint="http://127.0.0.1:1", deadline_seconds=0.3)
    with pytest.raises(UpstreamBusy):
        client.store("0" * 32, Body([instance(1)]))


@pytest.mark.parametrize("fault", ["403", "402"])
def test_a_refusal_that_does_not_pass_is_not_repeated(served_store: Served, fault: str) -> None:
    served_store.faults.replace(parse_faults(f"StoreDICOM:{fault}"))
    with pytest.raises((UpstreamFailed, UpstreamBusy)):
        served_store.store(instance(1))
    assert served_store.faults.calls()["StoreDICOM"] == 1


def test_another_data_store_is_a_failure(served_store: Served) -> None:
    with pytest.raises(UpstreamFailed, match="does not have the data store"):
        served_store.client.store("0" * 32, Body([instance(1)]))


@pytest.mark.parametrize("signs_body", [True, False])
def test_the_digest_of_the_body_or_the_literal_value_is_signed(tmp_path: Path, signs_body: bool) -> None:
    body = Body([instance(1)])
    seen: dict[str, str] = {}

    def see(request: object, **_: object) -> None:
        seen.update(getattr(request, "headers", {}))

    storage = Storage.open(tmp_path / "store")
    with served(storage, signature_needed=True) as url:
        client = StowClient(region="us-east-1", endpoint=url, signs_body=signs_body, deadline_seconds=5)
        send = client._session.send
        client._session.send = lambda request: (see(request), send(request))[1]  # type: ignore[method-assign]
        client.store(storage.datastore.datastore_id, body)
    assert seen["X-Amz-Content-SHA256"] == (body.sha256 if signs_body else STREAMING)
    assert ("X-Amz-Decoded-Content-Length" in seen) is not signs_body
    assert "x-amz-content-sha256" in seen["Authorization"].lower()
    assert "/medical-imaging/aws4_request" in seen["Authorization"]
    assert seen["Content-Length"] == str(body.length_bytes)


def test_the_endpoint_is_that_of_the_dicomweb_services_of_the_region() -> None:
    assert default_endpoint("eu-west-2") == "https://dicom-medical-imaging.eu-west-2.amazonaws.com"
    assert MAX_BODY_BYTES == 10**9
