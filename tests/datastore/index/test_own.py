"""The index of a data store folder follows from its image sets, whatever was there before."""

import gzip
import json
import sqlite3
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from datastore.importing.importer import import_files
from datastore.index.filler import IndexFiller
from datastore.index.own import OwnIndex
from datastore.storage.storage import Storage
from dicomweb.errors import ProxyError
from tests.datastore.made import made, written
from tests.index.writing.made import Held, held


class Nowhere:
    """An index that keeps nothing."""

    def put(self, _datastore_id: str, _metadata: Any) -> None:
        """Nothing."""


def instance(study: str, number: int, **elements: Any) -> Any:
    return made(
        **{
            "PatientID": "P1",
            "PatientName": "DOE^JANE",
            "StudyInstanceUID": study,
            "SeriesInstanceUID": f"{study}.1",
            "SOPInstanceUID": f"{study}.1.{number}",
            "SOPClassUID": "1.2.840.10008.5.1.4.1.1.88.11",
            "Modality": "SR",
            **elements,
        }
    )


@pytest.fixture
def storage(tmp_path: Path) -> Storage:
    """Three studies, of which one has two image sets, in a storage without an index."""
    storage = Storage.open(tmp_path / "store")
    found = [instance("1.2.1", 1), instance("1.2.1", 2, SeriesNumber="7"), instance("1.2.2", 1), instance("1.2.3", 1)]
    paths = [written(one, tmp_path / "files" / f"{number}.dcm") for number, one in enumerate(found)]
    assert import_files(paths, storage, Nowhere()).imported == len(found)
    return storage


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "index.sqlite"


def opened(path: Path, storage: Storage) -> Held:
    """What the index has after it was opened and has caught up."""
    index = OwnIndex(path, storage)
    try:
        index.catch_up()
    finally:
        index.close()
    return held(f"sqlite:///{path}")


@pytest.fixture
def fresh(tmp_path: Path, storage: Storage) -> Held:
    found = opened(tmp_path / "fresh.sqlite", storage)
    assert len(found.studies) == 3 and len(found.image_sets) == len(storage.image_sets()) == 4
    return found


def all_metadata(storage: Storage) -> Iterator[dict[str, Any]]:
    for one in storage.image_sets():
        yield json.loads(gzip.decompress(storage.metadata(one.image_set_id)))


def fill_as_before(path: Path, storage: Storage) -> None:
    """An index as earlier versions made it."""
    filler = IndexFiller(f"sqlite:///{path}")
    filler.create_schema()
    for one in all_metadata(storage):
        filler.put(storage.datastore.datastore_id, one)
    filler.close()


def test_tables_of_before_are_replaced(path: Path, storage: Storage, fresh: Held) -> None:
    fill_as_before(path, storage)
    assert opened(path, storage) == fresh


def test_a_log_of_before_is_not_read_into_the_new_tables(path: Path, storage: Storage, fresh: Held) -> None:
    with closing(sqlite3.connect(path)) as open_still:  # so that its log stays
        open_still.execute("PRAGMA journal_mode = WAL")
        fill_as_before(path, storage)
        open_still.execute("SELECT count(*) FROM study").fetchall()
        assert path.with_name("index.sqlite-wal").exists()
        assert opened(path, storage) == fresh


def test_two_that_open_a_folder_of_before_at_once_do_not_harm_each_other(
    path: Path, storage: Storage, fresh: Held
) -> None:
    fill_as_before(path, storage)
    with ThreadPoolExecutor(4) as pool:
        assert {one == fresh for one in pool.map(lambda _: opened(path, storage), range(4))} == {True}


@pytest.mark.parametrize("done", range(5))
def test_an_index_that_was_not_finished_goes_on(path: Path, storage: Storage, fresh: Held, done: int) -> None:
    index = OwnIndex(path, storage)
    for one in [*all_metadata(storage)][:done]:
        index.put(storage.datastore.datastore_id, one)
    index.close()
    assert opened(path, storage) == fresh


def test_only_what_is_missing_is_indexed(path: Path, storage: Storage, fresh: Held) -> None:
    assert opened(path, storage) == fresh
    storage.delete(storage.image_sets()[-1].image_set_id)
    index = OwnIndex(path, storage)
    told: list[tuple[int, int]] = []
    assert index.catch_up(lambda done, of: told.append((done, of))) == 1
    assert told == [(1, 1)]
    assert index.catch_up() == 0
    index.close()
    found = held(f"sqlite:///{path}")
    assert len(found.image_sets) == 3 and found.image_sets < fresh.image_sets


def test_an_import_is_indexed_as_it_goes(path: Path, storage: Storage, tmp_path: Path) -> None:
    index = OwnIndex(path, storage)
    index.catch_up()
    new = written(instance("1.2.4", 1, PatientName="ROE^RICHARD"), tmp_path / "new.dcm")
    import_files([new], storage, index)
    assert index.catch_up() == 0
    index.close()
    found = held(f"sqlite:///{path}")
    assert {study[1] for study in found.studies} == {"1.2.1", "1.2.2", "1.2.3", "1.2.4"}
    assert {patient[-1] for patient in found.patients} == {"ROE^RICHARD"}  # the patient of them all, as updated last


@pytest.mark.parametrize("content", [b"something else " * 999, b"SQLite format 3\0 and no more"])
def test_a_file_that_is_something_else_is_refused_and_kept(path: Path, storage: Storage, content: bytes) -> None:
    path.write_bytes(content)
    with pytest.raises(ProxyError):
        OwnIndex(path, storage)
    assert path.read_bytes() == content
