import gzip
import json
import signal
import subprocess
import sys
import zlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from pydicom import Dataset

from datastore.findings import FindingKind
from datastore.importing.importer import ImportReport, import_files, index_pending
from datastore.storage.records import ImageSetVersion
from datastore.storage.storage import Storage
from tests.datastore.made import encapsulated, made, with_pixels, written

ROOT = Path(__file__).parents[3]


class Told:
    """An index that remembers what it was told."""

    def __init__(self) -> None:
        self.image_sets: list[Mapping[str, Any]] = []

    def put(self, datastore_id: str, image_set: Mapping[str, Any]) -> None:
        assert image_set["DatastoreID"] == datastore_id
        self.image_sets.append(json.loads(json.dumps(image_set, allow_nan=False)))


@pytest.fixture
def storage(tmp_path: Path) -> Storage:
    return Storage.open(tmp_path / "store", lossless_storage_format="JPEG_2000_LOSSLESS")


def slice_of_series(number: int, **elements: Any) -> Dataset:
    pixels = np.full((1, 8, 9), number, np.uint16)
    return with_pixels(pixels, **{"SOPInstanceUID": f"1.2.3.1.1.{number}", "InstanceNumber": str(number), **elements})


def import_data_sets(storage: Storage, folder: Path, *data_sets: Dataset, **options: Any) -> ImportReport:
    for number, data_set in enumerate(data_sets):
        written(data_set, folder / f"{number:02}")
    return import_files([folder], storage, Told(), **options)


def metadata(storage: Storage, version: ImageSetVersion) -> dict[str, Any]:
    document: dict[str, Any] = json.loads(gzip.decompress(storage.metadata(version.image_set_id, version.version)))
    return document


def instances(storage: Storage, version: ImageSetVersion) -> dict[str, Any]:
    (series,) = metadata(storage, version)["Study"]["Series"].values()
    instances: dict[str, Any] = series["Instances"]
    return instances


def assert_whole(storage: Storage, version: ImageSetVersion) -> None:
    """All frames of all instances are there."""
    for instance in instances(storage, version).values():
        for frame in instance["ImageFrames"]:
            assert storage.frame(version.image_set_id, frame["ID"]).path.stat().st_size == frame["FrameSizeInBytes"]


def test_a_series_becomes_one_primary_image_set(storage: Storage, tmp_path: Path) -> None:
    report = import_data_sets(storage, tmp_path / "in", *(slice_of_series(number) for number in range(1, 6)))
    assert (report.imported, report.replaced, report.refused, report.found) == (5, 0, [], [])
    assert report.is_whole
    (version,) = storage.image_sets()
    assert report.image_sets == [version]
    assert (version.version, version.is_primary) == (1, True)
    assert version.tags["DICOMNumberOfStudyRelatedInstances"] == 5
    assert version.tags["DICOMPatientName"] == "Doe^Jane"
    found = instances(storage, version)
    assert list(found) == [f"1.2.3.1.1.{number}" for number in range(1, 6)]
    assert_whole(storage, version)


def test_an_instance_is_described(storage: Storage, tmp_path: Path) -> None:
    import_data_sets(storage, tmp_path / "in", slice_of_series(3))
    (version,) = storage.image_sets()
    (instance,) = instances(storage, version).values()
    (frame,) = instance["ImageFrames"]
    native = np.full((8, 9), 3, "<u2").tobytes()
    assert instance["StoredTransferSyntaxUID"] == "1.2.840.10008.1.2.4.90"
    assert instance["ChecksumType"] == "DECOMPRESSED"
    assert instance["DICOMVRs"] == {}
    assert instance["DICOM"]["Rows"] == 8
    assert frame["PixelDataChecksumFromBaseToFullResolution"] == [
        {"Width": 9, "Height": 8, "Checksum": zlib.crc32(native)}
    ]
    assert (frame["MinPixelValue"], frame["MaxPixelValue"]) == (3, 3)
    assert frame["FrameSizeInBytes"] == storage.frame(version.image_set_id, frame["ID"]).path.stat().st_size


def test_the_older_dialect_tells_no_syntax_and_decoded_sizes(tmp_path: Path) -> None:
    storage = Storage.open(tmp_path / "store", lossless_storage_format="HTJ2K")
    import_data_sets(storage, tmp_path / "in", slice_of_series(3), dialect="2023")
    (instance,) = instances(storage, storage.image_sets()[0]).values()
    assert not {"StoredTransferSyntaxUID", "ChecksumType"} & instance.keys()
    (frame,) = instance["ImageFrames"]
    assert frame["FrameSizeInBytes"] == 144
    assert len(frame["PixelDataChecksumFromBaseToFullResolution"]) > 1


def test_later_files_join_and_raise_the_version(storage: Storage, tmp_path: Path) -> None:
    import_data_sets(storage, tmp_path / "1", slice_of_series(1))
    import_data_sets(storage, tmp_path / "2", slice_of_series(2), slice_of_series(3))
    (version,) = storage.image_sets()
    assert (version.version, version.workflow_status) == (2, "UPDATED")
    assert len(instances(storage, version)) == 3
    assert len(instances(storage, storage.image_set(version.image_set_id, 1))) == 1
    assert_whole(storage, version)


def test_the_same_instance_again_replaces_the_stored_one(storage: Storage, tmp_path: Path) -> None:
    import_data_sets(storage, tmp_path / "1", slice_of_series(1), slice_of_series(2))
    again = slice_of_series(9, SOPInstanceUID="1.2.3.1.1.1")
    report = import_data_sets(storage, tmp_path / "2", again)
    (version,) = storage.image_sets()
    assert (report.imported, report.replaced, version.version) == (1, 1, 2)
    old, new = (instances(storage, storage.image_set(version.image_set_id, number))["1.2.3.1.1.1"] for number in (1, 2))
    assert old["ImageFrames"][0]["MaxPixelValue"] == 1
    assert new["ImageFrames"][0]["MaxPixelValue"] == 9
    assert_whole(storage, version)


def test_a_frame_that_is_the_same_keeps_its_id_in_a_new_version(storage: Storage, tmp_path: Path) -> None:
    for _ in range(2):
        import_data_sets(storage, tmp_path / "in", slice_of_series(1), slice_of_series(2))
    (version,) = storage.image_sets()
    assert version.version == 2
    assert instances(storage, version) == instances(storage, storage.image_set(version.image_set_id, 1))
    assert len({path.name for path in (storage.root / "image_sets").rglob("*") if len(path.name) == 32}) == 3


def test_of_two_files_with_one_instance_the_later_counts(storage: Storage, tmp_path: Path) -> None:
    report = import_data_sets(
        storage, tmp_path / "in", slice_of_series(1), slice_of_series(2, SOPInstanceUID="1.2.3.1.1.1")
    )
    (version,) = storage.image_sets()
    (instance,) = instances(storage, version).values()
    assert (report.imported, report.replaced, version.version) == (2, 1, 1)
    assert instance["ImageFrames"][0]["MaxPixelValue"] == 2
    frames = [path for path in (storage.root / "image_sets").rglob("*") if path.is_file() and len(path.name) == 32]
    assert [path.name for path in frames] == [instance["ImageFrames"][0]["ID"]]


def test_conflicts_make_non_primary_image_sets_that_later_files_join(storage: Storage, tmp_path: Path) -> None:
    other = {"PatientName": "Doe^John"}
    import_data_sets(storage, tmp_path / "1", slice_of_series(1), slice_of_series(1, **other))
    import_data_sets(storage, tmp_path / "2", slice_of_series(2, **other), slice_of_series(2, PatientID="P2"))
    found = {
        (version.is_primary, version.version, str(version.tags["DICOMPatientName"]), len(instances(storage, version)))
        for version in storage.image_sets()
    }
    assert found == {(True, 1, "Doe^Jane", 1), (False, 2, "Doe^John", 2), (False, 1, "Doe^Jane", 1)}


def test_a_series_that_contradicts_its_study_is_not_primary(storage: Storage, tmp_path: Path) -> None:
    import_data_sets(
        storage,
        tmp_path / "in",
        made(SeriesInstanceUID="1.2.3.1.1"),
        made(SeriesInstanceUID="1.2.3.1.2", SOPInstanceUID="1.2.3.1.2.1", PatientName="Doe^John"),
        made(SeriesInstanceUID="1.2.3.1.3", SOPInstanceUID="1.2.3.1.3.1", PatientSex="F"),
        made(SeriesInstanceUID="1.2.3.1.4", SOPInstanceUID="1.2.3.1.4.1", PatientSex="M"),
    )
    primary = {version.tags["DICOMSeriesInstanceUID"]: version.is_primary for version in storage.image_sets()}
    assert primary == {"1.2.3.1.1": True, "1.2.3.1.2": False, "1.2.3.1.3": True, "1.2.3.1.4": False}


def test_broken_and_other_files_are_named_and_the_rest_is_imported(storage: Storage, tmp_path: Path) -> None:
    folder = tmp_path / "in"
    truncated = written(slice_of_series(1), folder / "00 truncated")
    truncated.write_bytes(truncated.read_bytes()[:-20])
    written(made(SOPClassUID=None, SOPInstanceUID="1.2.3.1.1.9"), folder / "no class")
    short = slice_of_series(2)
    short.Rows = 100
    written(short, folder / "short")
    (folder / "text").write_text("hello")
    seen: list[str] = []
    report = import_data_sets(
        storage,
        folder,
        slice_of_series(3),
        encapsulated("1.2.840.10008.1.2.4.90", [b"no codestream."], SOPInstanceUID="1.2.3.1.1.4"),
        on_progress=lambda path: seen.append(path.name),
    )
    assert {refused.path.name: refused.reason for refused in report.refused} == {
        "00 truncated": "breaks off before its end",
        "short": "ends before its pixel data does",
    }
    assert (report.imported, report.skipped_non_dicom, report.is_whole) == (3, 1, False)
    assert [(found.path.name, found.finding.kind, str(found.finding)) for found in report.found] == [
        ("01", FindingKind.NO_FRAMES, "the pixel data cannot be decoded (RuntimeError)"),
        ("no class", FindingKind.UID_GIVEN, "SOPClassUID: it was missing"),
    ]
    (version,) = storage.image_sets()
    assert [len(node["ImageFrames"]) for node in instances(storage, version).values()] == [1, 0, 0]
    assert sorted(seen) == sorted(path.name for path in folder.iterdir())


def test_what_is_refused_leaves_no_image_set(storage: Storage, tmp_path: Path) -> None:
    short = slice_of_series(2)
    short.Rows = 100
    report = import_data_sets(storage, tmp_path / "in", short)
    assert report.imported == 0
    assert storage.image_sets() == []
    assert list((storage.root / "staging").iterdir()) == []


def test_the_index_is_told_of_each_new_version_and_catches_up(storage: Storage, tmp_path: Path) -> None:
    written(slice_of_series(1), tmp_path / "in/1")
    index = Told()
    import_files([tmp_path / "in"], storage, index)
    (version,) = storage.image_sets()
    assert index.image_sets == [metadata(storage, version)]
    assert storage.unindexed() == []

    class Broken(Told):
        def put(self, datastore_id: str, image_set: Mapping[str, Any]) -> None:
            raise ConnectionError

    written(slice_of_series(2), tmp_path / "in/2")
    with pytest.raises(ConnectionError):
        import_files([tmp_path / "in"], storage, Broken())
    assert storage.image_sets() == storage.unindexed() != [version]
    assert index_pending(storage, index) == 1
    assert len(index.image_sets) == 2
    assert index.image_sets[1] == metadata(storage, storage.image_sets()[0])
    assert index_pending(storage, index) == 0


def test_import_is_the_same_every_time(tmp_path: Path) -> None:
    """Except for the identifiers of image sets, and of frames, which derive from them."""
    for number in range(6):
        written(slice_of_series(number, SeriesInstanceUID=f"1.2.3.1.{number % 2}"), tmp_path / f"in/{number}")
    blobs = []
    for name in ("one", "other"):
        storage, index = Storage.open(tmp_path / name), Told()
        import_files([tmp_path / "in"], storage, index)
        blobs.append([_without_ids(image_set) for image_set in index.image_sets])
    assert blobs[0] == blobs[1]


def _without_ids(value: Any) -> Any:
    if isinstance(value, dict):
        return [
            (name, _without_ids(each))
            for name, each in value.items()
            if name not in ("ID", "ImageSetID", "DatastoreID")
        ]
    return [_without_ids(each) for each in value] if isinstance(value, list) else value


KILLED = """
import os, signal, sys
from pathlib import Path
from datastore.findings import FindingKind
from datastore.importing.importer import import_files
from datastore.storage.storage import Storage

end, root, folder, log = int(sys.argv[1]), Path(sys.argv[2]), Path(sys.argv[3]), Path(sys.argv[4])
steps, fsync = 0, os.fsync

def step():
    global steps
    steps += 1
    if steps == end:
        os.kill(os.getpid(), signal.SIGKILL)

def dying_fsync(descriptor):
    step()
    fsync(descriptor)

class Index:
    def put(self, datastore_id, image_set):
        step()
        with log.open("a") as file:
            file.write(image_set["ImageSetID"] + "\\n")
        step()

storage = Storage.open(root)
os.fsync = dying_fsync
import_files([folder], storage, Index())
"""


@pytest.mark.slow
def test_whoever_kills_an_import_finds_all_or_nothing_of_each_version(tmp_path: Path) -> None:
    """At each point where something reaches the disk: frames, metadata, folders, before and after the index."""
    folder, log = tmp_path / "in", tmp_path / "indexed"
    for number in range(4):
        written(slice_of_series(number, SeriesInstanceUID=f"1.2.3.1.{number % 2}"), folder / f"{number}")
    states, step, ended = set(), 0, False
    while not ended:
        step += 1
        root = tmp_path / f"store{step}"
        log.write_text("")
        command = [sys.executable, "-W", "ignore", "-c", KILLED, str(step), str(root), str(folder), str(log)]
        returned = subprocess.run(command, cwd=ROOT, check=False).returncode
        assert returned in (0, -signal.SIGKILL)
        ended = returned == 0
        states.add(_state_after(root, log, folder))
    assert step > 15
    assert states == {(0, 0), (1, 0), (1, 1), (2, 1), (2, 2)}


def _state_after(root: Path, log: Path, folder: Path) -> tuple[int, int]:
    """How many image sets there are and how many are indexed; a further import brings all up to date."""
    storage, index = Storage.open(root), Told()
    found, pending = storage.image_sets(), storage.unindexed()
    for version in found:
        assert len(instances(storage, version)) == 2
        assert_whole(storage, version)
    on_disk = {path.name for path in (root / "image_sets").glob("*/*")}
    assert on_disk == {version.image_set_id for version in found}
    assert list((root / "staging").iterdir()) == []
    told = set(log.read_text().split())
    assert {version.image_set_id for version in found if version not in pending} <= told <= on_disk
    index_pending(storage, index)
    assert {each["ImageSetID"] for each in index.image_sets} | told == on_disk
    import_files([folder], storage, index)
    assert [len(instances(storage, version)) for version in storage.image_sets()] == [2, 2]
    return len(found), len(found) - len(pending)


@pytest.mark.parametrize(("frame_bytes", "frames"), [(2 * 8 * 9, 1), (2 * 8 * 9 - 1, 0)])
def test_the_bound_of_decoded_frames_can_be_chosen(
    storage: Storage, tmp_path: Path, frame_bytes: int, frames: int
) -> None:
    report = import_data_sets(storage, tmp_path / "in", slice_of_series(1), frame_bytes=frame_bytes)
    (instance,) = instances(storage, report.image_sets[0]).values()
    assert len(instance["ImageFrames"]) == frames
    assert report.is_whole == bool(frames)
    assert ["FRAME_MAX_BYTES" in found.finding.reason for found in report.found] == [True] * (1 - frames)
