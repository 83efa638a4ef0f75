import gzip
import multiprocessing
import os
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from datastore.storage.records import ImageSetVersion, UnknownFrame, UnknownImageSet
from datastore.storage.storage import Storage

TAGS: dict[str, str | int | None] = {
    "DICOMStudyInstanceUID": "1.2",
    "DICOMSeriesInstanceUID": "1.2.3",
    "DICOMSeriesNumber": 4,
    "DICOMStudyId": None,
}
FRAMES = {"a" * 32: b"first", "b" * 32: b"second"}


@pytest.fixture
def storage(tmp_path: Path) -> Storage:
    return Storage.open(tmp_path / "store")


def publish(
    storage: Storage, image_set_id: str | None = None, frames: dict[str, bytes] = FRAMES, metadata: bytes = b"{}"
) -> ImageSetVersion:
    with storage.importing(), storage.stage(image_set_id) as staging:
        for frame_id, content in frames.items():
            staging.add_frame(frame_id, content, "image/jph")
        return storage.publish(staging, metadata, is_primary=True, tags=TAGS)


def files(storage: Storage) -> list[str]:
    """All that belongs to image sets."""
    folders = [storage.root / "image_sets", storage.root / "staging"]
    return sorted(path.name for folder in folders for path in folder.rglob("*") if path.is_file())


def test_what_is_published_can_be_read(storage: Storage) -> None:
    published = publish(storage, metadata=b'{"a":1}')
    assert (published.version, published.state, published.workflow_status) == (1, "ACTIVE", "CREATED")
    assert published.is_primary
    assert published.tags == TAGS
    assert published.created_at == published.updated_at
    assert len(published.image_set_id) == len(storage.datastore.datastore_id) == 32
    assert storage.image_set(published.image_set_id) == published
    assert gzip.decompress(storage.metadata(published.image_set_id)) == b'{"a":1}'
    frame = storage.frame(published.image_set_id, "a" * 32)
    assert (frame.path.read_bytes(), frame.content_type) == (b"first", "image/jph")


def test_it_is_the_same_when_opened_again(storage: Storage) -> None:
    published = publish(storage)
    again = Storage.open(storage.root)
    assert again.datastore == storage.datastore
    assert again.image_sets() == [published]
    assert files(again) == sorted([*FRAMES, "metadata.json.gz"])


def test_versions_are_kept_newest_first_and_frames_of_all(storage: Storage) -> None:
    first = publish(storage, metadata=b"1")
    second = publish(storage, first.image_set_id, {"a" * 32: b"never written", "c" * 32: b"third"}, b"2")
    image_set_id = first.image_set_id
    assert (second.version, second.workflow_status, second.created_at) == (2, "UPDATED", first.created_at)
    assert storage.versions(image_set_id) == [second, first]
    assert storage.image_sets() == [second]
    assert storage.image_set(image_set_id, 1) == first
    assert [gzip.decompress(storage.metadata(image_set_id, version)) for version in (1, 2, None)] == [b"1", b"2", b"2"]
    content = {frame_id: storage.frame(image_set_id, frame_id).path.read_bytes() for frame_id in ("a" * 32, "c" * 32)}
    assert content == {"a" * 32: b"first", "c" * 32: b"third"}, "what is behind a frame ID never changes"


def test_image_sets_are_found_by_study_and_series(storage: Storage) -> None:
    published = publish(storage)
    assert storage.image_sets_of("1.2") == storage.image_sets_of("1.2", "1.2.3") == [published]
    assert storage.image_sets_of("1.2", "1.2.4") == storage.image_sets_of("1.2.3") == []


def test_what_is_unknown_is_told_apart(storage: Storage) -> None:
    image_set_id = publish(storage).image_set_id
    for unknown in (
        lambda: storage.image_set("0" * 32),
        lambda: storage.image_set(image_set_id, 2),
        lambda: storage.versions("0" * 32),
        lambda: storage.metadata(image_set_id, 7),
        lambda: storage.frame("0" * 32, "a" * 32),
        lambda: storage.delete("0" * 32),
        lambda: storage.lock("0" * 32, True),
        lambda: storage.mark_indexed("0" * 32, 1),
    ):
        with pytest.raises(UnknownImageSet):
            unknown()
    with pytest.raises(UnknownFrame):
        storage.frame(image_set_id, "f" * 32)


def test_a_deleted_image_set_is_gone(storage: Storage) -> None:
    image_set_id = publish(storage).image_set_id
    storage.delete(image_set_id)
    assert storage.image_sets() == storage.unindexed() == []
    assert files(storage) == []
    with pytest.raises(UnknownImageSet):
        storage.frame(image_set_id, "a" * 32)


def test_locking_shows_in_the_state(storage: Storage) -> None:
    image_set_id = publish(storage).image_set_id
    storage.lock(image_set_id, True)
    assert storage.image_set(image_set_id).state == "LOCKED"
    storage.lock(image_set_id, False)
    assert storage.image_set(image_set_id).state == "ACTIVE"


def test_the_index_is_behind_until_it_is_said_otherwise(storage: Storage) -> None:
    first = publish(storage)
    assert storage.unindexed() == [first]
    storage.mark_indexed(first.image_set_id, 1)
    assert storage.unindexed() == []
    second = publish(storage, first.image_set_id)
    assert storage.unindexed() == [second]


def test_what_is_staged_and_not_published_leaves_nothing(storage: Storage) -> None:
    with storage.importing(), storage.stage() as staging:
        staging.add_frame("a" * 32, b"first", "image/jph")
    assert storage.image_sets() == []
    assert files(storage) == []


def test_frames_that_are_not_needed_are_given_up(storage: Storage) -> None:
    with storage.importing(), storage.stage() as staging:
        for frame_id, content in FRAMES.items():
            staging.add_frame(frame_id, content, "image/jph")
        staging.keep_only(frozenset({"a" * 32}))
        published = storage.publish(staging, b"{}", is_primary=True, tags=TAGS)
    assert files(storage) == ["a" * 32, "metadata.json.gz"]
    with pytest.raises(UnknownFrame):
        storage.frame(published.image_set_id, "b" * 32)


def test_an_image_set_deleted_while_it_is_staged_stays_deleted(storage: Storage) -> None:
    first = publish(storage)
    with storage.importing(), storage.stage(first.image_set_id) as staging:
        storage.delete(first.image_set_id)
        with pytest.raises(UnknownImageSet):
            storage.publish(staging, b"{}", is_primary=True, tags=TAGS)
    assert Storage.open(storage.root).image_sets() == []
    assert files(storage) == []


def test_opening_takes_away_what_no_row_speaks_of(storage: Storage) -> None:
    published = publish(storage)
    left = storage.root / "image_sets" / published.image_set_id[:2] / published.image_set_id / "2"
    unpublished = storage.root / "staging" / ("0" * 32 + ".1")
    for folder in (left, unpublished):
        folder.mkdir()
        (folder / ("d" * 32)).write_bytes(b"half")
    Storage.open(storage.root)
    assert files(storage) == sorted([*FRAMES, "metadata.json.gz"])


def test_files_and_folders_are_on_disk_before_a_version_exists(
    storage: Storage, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each fsync is noted with the image sets on disk and in the catalogue at that time."""
    synced: list[tuple[str, int, int]] = []
    real = os.fsync

    def note(descriptor: int) -> None:
        path = Path(f"/proc/self/fd/{descriptor}").readlink()
        on_disk = len(list((storage.root / "image_sets").glob("*/*/*")))
        synced.append((path.name, on_disk, len(storage.image_sets())))
        real(descriptor)

    monkeypatch.setattr(os, "fsync", note)
    first = publish(storage)
    image_set_id = first.image_set_id
    before = {*FRAMES, "metadata.json.gz", f"{image_set_id}.1"}
    assert {name for name, on_disk, _ in synced if not on_disk} == before
    assert [one for one in synced if one[1]] == [
        (name, 1, 0) for name in (image_set_id, image_set_id[:2], "image_sets")
    ]
    synced.clear()
    publish(storage, image_set_id, {"c" * 32: b"third"})
    assert {name for name, on_disk, _ in synced if on_disk == 1} == {
        "c" * 32, "metadata.json.gz", f"{image_set_id}.2"
    }  # fmt: skip
    assert [name for name, on_disk, _ in synced if on_disk == 2] == [image_set_id]
    assert storage.image_set(image_set_id).version == 2


def test_an_import_takes_away_what_a_failed_one_left_and_looks_for_it_only_then(storage: Storage) -> None:
    image_set_id = publish(storage).image_set_id
    left = storage.root / "image_sets" / image_set_id[:2] / image_set_id / "2"
    with pytest.raises(RuntimeError), storage.importing():
        left.mkdir()
        raise RuntimeError
    assert publish(storage, image_set_id, {}).version == 2, "what was left is not in its way"
    stray = left.with_name("9")
    stray.mkdir()
    publish(storage)
    assert stray.exists(), "a store request does not go through all image sets"
    Storage.open(storage.root)
    assert not stray.exists()


def test_opening_leaves_alone_what_another_is_importing(storage: Storage) -> None:
    with storage.importing(), storage.stage() as staging:
        staging.add_frame("a" * 32, b"first", "image/jph")
        Storage.open(storage.root)
        assert storage.publish(staging, b"{}", is_primary=True, tags=TAGS).version == 1
    assert files(storage) == ["a" * 32, "metadata.json.gz"]


def test_the_lossless_storage_format_is_settled_once(tmp_path: Path) -> None:
    storage = Storage.open(tmp_path, lossless_storage_format="JPEG_2000_LOSSLESS")
    assert storage.datastore.lossless_storage_format == "JPEG_2000_LOSSLESS"
    assert Storage.open(tmp_path).datastore == storage.datastore
    with pytest.raises(ValueError, match="JPEG_2000_LOSSLESS"):
        Storage.open(tmp_path, lossless_storage_format="HTJ2K")
    with pytest.raises(ValueError, match="not one of"):
        Storage.open(tmp_path / "other", lossless_storage_format="PNG")


def test_a_folder_of_another_format_is_refused(storage: Storage) -> None:
    with closing(sqlite3.connect(storage.root / "catalogue.sqlite")) as connection:
        connection.execute("PRAGMA user_version = 99")
    with pytest.raises(ValueError, match="format 99"):
        Storage.open(storage.root)


def _open(root: str) -> tuple[int, str]:
    return os.getpid(), Storage.open(Path(root)).datastore.datastore_id


def test_processes_that_open_it_at_the_same_time_agree(tmp_path: Path) -> None:
    with multiprocessing.get_context("spawn").Pool(3) as pool:
        found = pool.map(_open, [str(tmp_path)] * 6, chunksize=1)
    assert len({datastore_id for _, datastore_id in found}) == 1
