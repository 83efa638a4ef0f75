"""Versions are noticed in time, what stays is not sent again, what is deleted is gone."""

import gzip
import json
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import requests

from ahi.image_sets.prepared_writer import BULK_BYTES
from datastore.embedded import Embedded
from datastore.storage.storage import Storage
from tests.datastore.made import with_pixels, written
from tests.service.process import Service

STUDY = "1.2.3.4"
CHANGED, KEPT, DELETED, REDUCED = "1.2.3.4.1", "1.2.3.4.1", "1.2.3.4.2", "1.2.3.4.3"
FRESH_SECONDS = 1.0
OLD_SECONDS = 30
NATIVE = {"Accept": "application/octet-stream"}


@dataclass
class Archive:
    """A data store, and files to import into it."""

    folder: Path
    root: Path

    def put(self, series: str, number: int, value: int, frames: int = 1) -> None:
        """Import an image all of one value; in the place of the one with that number, if there is one."""
        data_set = with_pixels(
            np.full((frames, 8, 4), value, "<u2"),
            StudyInstanceUID=STUDY,
            SeriesInstanceUID=series,
            SOPInstanceUID=f"{series}.{number}",
            InstanceNumber=number,
            ContentDescription=f"value {value}",
            ICCProfile=bytes([value]) * (BULK_BYTES + 2),
        )
        Embedded(self.root).fill([written(data_set, self.folder / f"{series}.{number}.{value}.dcm")])

    def change(self, series: str, change: Callable[[dict[str, Any]], object]) -> None:
        """Make a new version of the image set of a series; `change` takes its instances by their UIDs."""
        storage = Storage.open(self.root / "store")
        (before,) = storage.image_sets_of(STUDY, series)
        document = json.loads(gzip.decompress(storage.metadata(before.image_set_id)))
        change(document["Study"]["Series"][series]["Instances"])
        with storage.importing(), storage.stage(before.image_set_id) as staging:
            storage.publish(staging, json.dumps(document).encode(), is_primary=True, tags=before.tags)

    def delete(self, series: str) -> None:
        """Delete the image sets of a series, and leave the index as it is, as AWS does."""
        storage = Storage.open(self.root / "store")
        for version in storage.image_sets_of(STUDY, series):
            storage.delete(version.image_set_id)


@pytest.fixture(scope="module")
def archive(tmp_path_factory: pytest.TempPathFactory) -> Archive:
    archive = Archive(tmp_path_factory.mktemp("versions-files"), tmp_path_factory.mktemp("versions-store"))
    for series, number in ((CHANGED, 1), (KEPT, 2), (DELETED, 1)):
        archive.put(series, number, 100 + number)
    return archive


@pytest.fixture(scope="module")
def service(archive: Archive, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    environment = {
        "DATASTORE_ROOT": str(archive.root),
        "IMAGE_SET_FRESH_SECONDS": str(FRESH_SECONDS),
        "IMAGE_SET_OLD_SECONDS": str(OLD_SECONDS),
    }
    service = Service(tmp_path_factory.mktemp("versions-service"), environment)
    yield service
    service.stop()


def _url(service: Service, series: str, number: int) -> str:
    return f"{service.root}/studies/{STUDY}/series/{series}/instances/{series}.{number}"


def _get(url: str, **headers: str) -> requests.Response:
    return requests.get(
        url, headers={**NATIVE, **{name.replace("_", "-"): text for name, text in headers.items()}}, timeout=60
    )


def test_a_new_version_is_noticed_and_what_it_shares_with_the_old_is_not_sent_again(
    service: Service, archive: Archive
) -> None:
    changed, kept = _url(service, CHANGED, 1), _url(service, KEPT, 2)
    metadata = requests.get(f"{changed}/metadata", timeout=60)
    old, other = _get(f"{changed}/frames/1"), _get(f"{kept}/frames/1")
    assert set(np.frombuffer(old.content, "<u2")) == {101}
    archive.put(CHANGED, 1, 200)
    time.sleep(FRESH_SECONDS + 0.1)
    again = requests.get(f"{changed}/metadata", headers={"If-None-Match": metadata.headers["ETag"]}, timeout=60)
    assert (again.status_code, again.json()[0]["00700081"]["Value"]) == (200, ["value 200"])
    new = _get(f"{changed}/frames/1", If_None_Match=old.headers["ETag"])
    assert new.status_code == 200
    assert set(np.frombuffer(new.content, "<u2")) == {200}
    assert _get(f"{kept}/frames/1", If_None_Match=other.headers["ETag"]).status_code == 304


def test_what_was_deleted_is_gone_in_the_same_time_and_the_rest_stays(service: Service, archive: Archive) -> None:
    """AHI's index writer leaves deleted image sets in the index."""
    deleted, kept = _url(service, DELETED, 1), _url(service, KEPT, 2)
    assert _get(f"{deleted}/frames/1").status_code == 200
    assert _listed(service) == {KEPT, DELETED}
    archive.delete(DELETED)
    time.sleep(FRESH_SECONDS + 0.1)
    for path in ("/frames/1", "/metadata", "", "/pixeldata", "/rendered"):
        answer = requests.get(deleted + path, timeout=60)
        assert (path, answer.status_code) == (path, 404)
        assert answer.headers["Content-Type"] == "application/problem+json"
    assert _get(f"{kept}/frames/1").status_code == 200
    study = requests.get(f"{service.root}/studies/{STUDY}/metadata", timeout=60).json()
    assert {element["0020000E"]["Value"][0] for element in study} == {KEPT}
    assert _listed(service) == {KEPT}
    (found,) = requests.get(f"{service.root}/studies", timeout=60).json()
    assert (found["00201206"]["Value"], found["00201208"]["Value"]) == ([1], [2])


def _listed(service: Service) -> set[str]:
    answer = requests.get(f"{service.root}/studies/{STUDY}/series", timeout=60)
    return {element["0020000E"]["Value"][0] for element in answer.json()}


def test_frames_that_are_no_more_are_still_sent_for_a_while_to_who_holds_the_metadata(
    service: Service, archive: Archive
) -> None:
    """And nothing else of them: their instance is gone."""
    for number, frames in ((1, 1), (2, 3), (3, 1)):
        archive.put(REDUCED, number, 100 + number, frames)
    gone, shorter, kept = (_url(service, REDUCED, number) for number in (1, 2, 3))
    held = requests.get(f"{gone}/metadata", timeout=60).json()[0]
    old = _get(f"{kept}/frames/1")
    archive.change(REDUCED, lambda instances: instances.pop(f"{REDUCED}.1"))
    archive.change(REDUCED, lambda instances: instances[f"{REDUCED}.2"].update(ImageFrames=[]))
    archive.change(REDUCED, lambda instances: instances[f"{REDUCED}.3"]["DICOM"].pop("ICCProfile"))
    replaced = time.monotonic()
    time.sleep(FRESH_SECONDS + 0.1)

    def asked() -> list[int]:
        urls = [f"{gone}/frames/1", held["7FE00010"]["BulkDataURI"], f"{gone}/frames/1/rendered"]
        urls += (held["00282000"]["BulkDataURI"], f"{shorter}/frames/2,3", f"{kept}/bulkdata/00282000")
        return [requests.get(url, timeout=60).status_code for url in urls]

    assert asked() == [200] * 6
    assert set(np.frombuffer(_get(f"{gone}/frames/1").content, "<u2")) == {101}
    assert set(_get(held["00282000"]["BulkDataURI"]).content) == {101}
    assert _get(f"{kept}/frames/1", If_None_Match=old.headers["ETag"]).status_code == 304
    for url in (gone, f"{gone}/metadata", f"{gone}/rendered", f"{gone}/bulkdata", f"{gone}/frames/2"):
        assert (url, requests.get(url, timeout=60).status_code) == (url, 404)
    assert _get(f"{shorter}/frames/4").status_code == 404
    series = requests.get(f"{service.root}/studies/{STUDY}/series/{REDUCED}/metadata", timeout=60).json()
    assert [element["00200013"]["Value"] for element in series] == [[2], [3]]
    time.sleep(max(0.0, replaced + OLD_SECONDS + 0.1 - time.monotonic()))
    assert asked() == [404] * 6
