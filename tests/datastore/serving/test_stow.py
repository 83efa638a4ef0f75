"""StoreDICOM and StoreDICOMStudy on the wire: bodies, statuses and answers as AHI has them."""

import gzip
import json
from collections.abc import Iterator
from functools import partial
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import pydicom
import pytest
import requests
from pydicom import Dataset
from pydicom.uid import DeflatedExplicitVRLittleEndian

from datastore.importing import deflated, scan
from datastore.importing.importer import import_files
from datastore.serving import stow
from datastore.storage.storage import Storage
from tests.datastore.made import made, with_pixels, written
from tests.datastore_server import served

STUDY = "1.2.3.1"


def instance(number: int) -> bytes:
    file = BytesIO()
    made(SOPInstanceUID=f"1.2.3.1.1.{number}").save_as(file, enforce_file_format=True)
    return file.getvalue()


@pytest.fixture
def storage(tmp_path: Path) -> Storage:
    return Storage.open(tmp_path / "store")


@pytest.fixture
def url(storage: Storage) -> Iterator[str]:
    with served(storage) as root:
        yield f"{root}/datastore/{storage.datastore.datastore_id}/studies"


def post(url: str, body: bytes, kind: str = "application/dicom") -> requests.Response:
    return requests.post(url, body, headers={"Content-Type": kind}, timeout=30)


def test_a_single_instance_is_stored_into_the_study_that_the_path_names(url: str, storage: Storage) -> None:
    assert post(f"{url}/{STUDY}", instance(1)).status_code == 200
    assert len(storage.image_sets()) == 1


def test_an_instance_of_another_study_is_refused(url: str, storage: Storage) -> None:
    answer = post(f"{url}/1.2.9", instance(1))
    assert answer.status_code == 409 and answer.headers["Content-Type"] == "application/dicom+json"
    (failed,) = answer.json()["00081198"]["Value"]
    assert failed["00081155"]["Value"] == ["1.2.3.1.1.1"] and failed["00081197"]["Value"] == [0xA900]
    assert storage.image_sets() == []


@pytest.mark.parametrize("boundary", ["x", "a-boundary-of-73-characters".ljust(73, "z"), '"quoted"'])
def test_parts_of_a_body_with_a_preamble_and_an_epilogue_are_stored(url: str, boundary: str) -> None:
    line = b"--" + boundary.strip('"').encode()
    part = line + b"\r\nContent-Type: application/dicom\r\n\r\n" + instance(1) + b"\r\n"
    body = b"preamble\r\n" + part + part.replace(b"1.2.3.1.1.1", b"1.2.3.1.1.2") + line + b"--\r\nepilogue"
    answer = post(url, body, f'multipart/related; type="application/dicom"; boundary={boundary}')
    assert answer.status_code == 200, answer.text
    uids = [item["00081155"]["Value"][0] for item in answer.json()["00081199"]["Value"]]
    assert uids == ["1.2.3.1.1.1", "1.2.3.1.1.2"]


@pytest.mark.parametrize(
    ("body", "kind"),
    [
        (b"", "application/dicom"),
        (b"--x\r\n\r\nhalf", "multipart/related; boundary=x"),
        (b"none of it", "multipart/related; boundary=x"),
        (b"--x--\r\n", "multipart/related"),
        (b"{}", "application/json"),
    ],
)
def test_a_body_that_is_none_is_a_validation_exception(url: str, storage: Storage, body: bytes, kind: str) -> None:
    answer = post(url, body, kind)
    assert (answer.status_code, answer.headers["x-amzn-errortype"]) == (400, "ValidationException")
    assert storage.image_sets() == []


def test_an_image_set_that_is_being_written_is_a_conflict(url: str, storage: Storage) -> None:
    post(url, instance(1))
    storage.lock(storage.image_sets()[0].image_set_id, True)
    answer = post(url, instance(2))
    assert (answer.status_code, answer.headers["x-amzn-errortype"]) == (409, "ConflictException")


def test_a_stored_file_is_read_twice_and_the_metadata_of_its_image_set_once(
    url: str, storage: Storage, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A viewer that sends single files makes many versions of an image set, whose metadata grow."""
    post(url, instance(1))
    read: list[str] = []
    files, blobs = pydicom.dcmread, Storage.metadata

    def dcmread(path: Path, **options: Any) -> Dataset:
        read.append("file")
        return files(path, **options)

    def metadata(of: Storage, image_set_id: str, version: int | None = None) -> bytes:
        read.append("metadata")
        return blobs(of, image_set_id, version)

    monkeypatch.setattr(scan, "dcmread", dcmread)
    monkeypatch.setattr(stow, "dcmread", dcmread)
    monkeypatch.setattr(Storage, "metadata", metadata)
    assert post(url, instance(2)).status_code == 200
    assert sorted(read) == ["file", "file", "metadata"]
    assert [found.version for found in storage.image_sets()] == [2]


def test_a_file_that_would_be_too_long_inflated_is_never_inflated(
    url: str, storage: Storage, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    data_set = made()
    data_set.file_meta.TransferSyntaxUID = DeflatedExplicitVRLittleEndian
    file = written(data_set, tmp_path / "deflated.dcm")
    refuse = partial(deflated.inflates_too_far, most_bytes=10)
    monkeypatch.setattr(scan, "inflates_too_far", refuse)
    monkeypatch.setattr(stow, "inflates_too_far", refuse)
    monkeypatch.setattr(scan, "dcmread", None)
    monkeypatch.setattr(stow, "dcmread", None)
    answer = post(url, file.read_bytes())
    assert (answer.status_code, answer.json()["00081198"]["Value"][0]["00081197"]["Value"]) == (409, [0xC000])


def test_what_a_killed_process_received_is_deleted(storage: Storage) -> None:
    left = storage.root / "stow" / "left"
    left.mkdir(parents=True)
    with served(storage) as root:
        post(f"{root}/datastore/{storage.datastore.datastore_id}/studies", instance(1))
    assert list((storage.root / "stow").iterdir()) == []


def test_a_frame_that_was_stored_is_the_frame_that_an_import_stores(url: str, storage: Storage, tmp_path: Path) -> None:
    pixels = np.random.default_rng(1).integers(-2000, 3000, (2, 96, 80), np.int16)
    file = written(with_pixels(pixels), tmp_path / "one.dcm")
    imported = Storage.open(tmp_path / "imported")
    import_files([file], imported, None)
    assert post(url, file.read_bytes()).status_code == 200
    found, like = frames_of(storage), frames_of(imported)
    assert [frame["FrameSizeInBytes"] for frame in found] == [96 * 80 * 2] * 2, "it is not encoded yet"
    for frame, other in zip(found, like, strict=True):
        for name in ("PixelDataChecksumFromBaseToFullResolution", "MinPixelValue", "MaxPixelValue"):
            assert frame[name] == other[name]
        (image_set,), (imported_one,) = storage.image_sets(), imported.image_sets()
        as_imported = imported.frame(imported_one.image_set_id, other["ID"])
        for _ in range(2):  # encoded now, and encoded before
            answer = requests.post(
                f"{url.removesuffix('/studies')}/imageSet/{image_set.image_set_id}/getImageFrame",
                json={"imageFrameId": frame["ID"]},
                timeout=30,
            )
            assert answer.headers["Content-Type"] == as_imported.content_type
            assert answer.content == as_imported.path.read_bytes()
    import_files([file], storage, None)
    assert [frame["ID"] for frame in frames_of(storage)] == [frame["ID"] for frame in found], "its ID stays"


def frames_of(storage: Storage) -> list[dict[str, Any]]:
    """The frames in the metadata of the only instance."""
    (image_set,) = storage.image_sets()
    document = json.loads(gzip.decompress(storage.metadata(image_set.image_set_id)))
    (series,) = document["Study"]["Series"].values()
    (node,) = series["Instances"].values()
    return list(node["ImageFrames"])
