"""What hangs on image sets that AHI has no more is not found, and not counted, on any database."""

import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from flask.testing import FlaskClient

from ahi.cache.cache import Cache
from ahi.image_sets.deleted import DeletedImageSets
from ahi.image_sets.image_set import ImageSetKey
from app.deleted_image_sets import DeletedRowFilter
from db.deleted_image_sets import NOTHING, find_deleted_rows
from db.engine import Database
from db.image_sets import find_image_sets
from db.index_kind import IndexKind
from db.scope import EVERYTHING, Scope
from tests.qido.archive import Series, Study, client, image, write
from tests.servers import OpenDatabase

A, B = "a", "b"
PATIENT, OTHER = {"patientid": "P1"}, {"patientid": "P2"}


def _series(uid: str, *datastores: str) -> Series:
    return Series(
        uid, {"modality": "CT"}, tuple(image(f"{uid}.{of}", 1, datastore=of) for of in datastores), datastores
    )


STUDIES = (
    Study("1.1", PATIENT, series=(_series("1.1.1", A), _series("1.1.2", A, B))),
    Study("1.2", PATIENT, series=(_series("1.2.1", A),)),
    Study("1.3", OTHER, series=(_series("1.3.1", A),)),
)
KEYS = {"1.1.1": 1, "1.1.2": 2, "1.2.1": 3, "1.3.1": 4}


def _image_set(series: str, datastore: str = A) -> str:
    return f"{KEYS[series]}-{datastore}"


@pytest.fixture(scope="module")
def database(new_index: Callable[[], str]) -> Iterator[Database]:
    """Series 1.1.2 has one row for image sets of two data stores, as in AWS's tables."""
    url = new_index()
    write(url, STUDIES)
    database = Database(url)
    yield database
    database.close()


def _found(searched: FlaskClient, path: str, tag: str) -> list[str]:
    answer = searched.get(f"/aetitle{path}").get_json(force=True)
    return sorted(one[tag]["Value"][0] for one in answer)


@pytest.mark.parametrize(
    ("gone", "patients", "studies", "series"),
    [
        ([], ["P1", "P2"], ["1.1", "1.2", "1.3"], ["1.1.1", "1.1.2", "1.2.1", "1.3.1"]),
        ([_image_set("1.1.1")], ["P1", "P2"], ["1.1", "1.2", "1.3"], ["1.1.2", "1.2.1", "1.3.1"]),
        ([_image_set("1.1.2")], ["P1", "P2"], ["1.1", "1.2", "1.3"], ["1.1.1", "1.1.2", "1.2.1", "1.3.1"]),
        ([_image_set("1.2.1")], ["P1", "P2"], ["1.1", "1.3"], ["1.1.1", "1.1.2", "1.3.1"]),
        ([_image_set("1.3.1")], ["P1"], ["1.1", "1.2"], ["1.1.1", "1.1.2", "1.2.1"]),
        (["unknown"], ["P1", "P2"], ["1.1", "1.2", "1.3"], ["1.1.1", "1.1.2", "1.2.1", "1.3.1"]),
    ],
)
def test_what_is_gone_is_found_at_no_level(
    database: Database, gone: list[str], patients: list[str], studies: list[str], series: list[str]
) -> None:
    searched = client(database, scope=Scope(hidden=find_deleted_rows(database, gone)))
    assert _found(searched, "/patients", "00100020") == patients
    assert _found(searched, "/studies", "0020000D") == studies
    assert _found(searched, "/series", "0020000E") == series
    for path, found in (("patients", patients), ("studies", studies), ("series", series)):
        assert searched.get(f"/aetitle/{path}/count").get_json()["count"] == len(found)
    for study in ("1.1", "1.2", "1.3"):
        status = searched.get(f"/aetitle/studies/{study}/series").status_code
        assert status == (200 if study in studies else 404)


def test_instances_are_counted_without_those_that_are_gone(database: Database) -> None:
    gone = find_deleted_rows(database, [_image_set("1.1.2", B), _image_set("1.1.1")])
    searched = client(database, scope=Scope(hidden=gone))
    (study,) = searched.get("/aetitle/studies?StudyInstanceUID=1.1").get_json(force=True)
    assert (study["00201206"]["Value"], study["00201208"]["Value"]) == ([1], [1])
    assert _found(searched, "/studies/1.1/instances", "00080018") == [f"1.1.2.{A}"]


def test_what_is_gone_of_one_data_store_is_found_in_the_other(
    new_index: Callable[..., str], open_database: OpenDatabase
) -> None:
    """Own tables have a row for each data store."""
    url = new_index(IndexKind.OWN)
    write(url, STUDIES)
    database = open_database(url)
    named = {(one.series_instance_uid, one.datastore_id): one.image_set_id for study in STUDIES for one in
             find_image_sets(database, study.uid).image_sets}  # fmt: skip
    gone = [named["1.1.1", A], named["1.1.2", A], named["1.3.1", A]]
    searched = client(database, scope=Scope(hidden=find_deleted_rows(database, gone)))
    assert _found(searched, "/patients", "00100020") == ["P1", "P1"]  # each data store has its own
    assert _found(searched, "/studies", "0020000D") == ["1.1", "1.2"]
    assert _found(searched, "/series", "0020000E") == ["1.1.2", "1.2.1"]
    assert _found(searched, "/studies/1.1/instances", "00080018") == [f"1.1.2.{B}"]
    assert searched.get("/aetitle/studies/1.3/series").status_code == 404


def test_nothing_is_looked_up_while_nothing_is_gone(tmp_path: Path) -> None:
    assert (
        DeletedRowFilter(Database("sqlite:////nowhere/index"), DeletedImageSets(Cache(tmp_path, 2**20))).scope()
        == EVERYTHING
    )


def test_what_is_noted_is_known_to_all_processes_until_it_is_there_again(database: Database, tmp_path: Path) -> None:
    ours, theirs = (DeletedImageSets(Cache(tmp_path, 2**20)) for _ in range(2))
    hiding, key = DeletedRowFilter(database, theirs), ImageSetKey(A, "f" * 32)
    assert theirs.image_set_ids() == frozenset()
    ours.note(key)
    ours.note(key)
    assert theirs.image_set_ids() == {key.image_set_id}
    assert hiding.scope() == Scope(hidden=NOTHING)
    ours.forget(key)
    assert theirs.image_set_ids() == frozenset()
    assert hiding.scope() == EVERYTHING


class Slow(Database):
    """An index that answers when it is let."""

    def __init__(self) -> None:
        super().__init__("sqlite://")
        self.asked, self.go_on = threading.Event(), threading.Event()

    def rows(self, *_: Any) -> list[Any]:
        self.asked.set()
        self.go_on.wait(30)
        return []


def test_others_go_on_while_one_asks_the_index(tmp_path: Path) -> None:
    gone, slow = DeletedImageSets(Cache(tmp_path, 2**20)), Slow()
    gone.note(ImageSetKey(A, "f" * 32))
    hiding = DeletedRowFilter(slow, gone)
    with ThreadPoolExecutor(2) as threads:
        asking = threads.submit(hiding.scope)
        assert slow.asked.wait(30)
        assert threads.submit(hiding.scope).result(10) == EVERYTHING
        slow.go_on.set()
        assert asking.result(10) == Scope(hidden=NOTHING)
