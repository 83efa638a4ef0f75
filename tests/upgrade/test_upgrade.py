"""An upgrade asks for nothing: a data store and a cache that commit 41907d3 made open, and show what they showed then.

`record.py` made `folder.tar.xz` and `answers.json` with the program of that commit.
"""

import json
import re
import sqlite3
import tarfile
from contextlib import closing
from pathlib import Path

import pytest
from pydicom.data import get_testdata_file

from db.index_schema import VERSION
from tests.service.process import Service
from tests.upgrade.reading import read_archive
from tests.upgrade.record import ANSWERS, FOLDER

pytestmark = pytest.mark.service

BEFORE = json.loads(ANSWERS.read_text())


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """The folder of the earlier version."""
    with tarfile.open(FOLDER) as archive:
        archive.extractall(tmp_path, filter="data")
    return tmp_path / "data"


def start(data: Path) -> Service:
    return Service(data.parent, {"DATASTORE_ROOT": str(data), "CACHE_ROOT": str(data / "cache")})


def cached(service: Service) -> dict[str, int]:
    """How many files of each kind the cache has, as its command says."""
    lines = service.command("cache").stdout.splitlines()[3:]
    return {kind: int(count) for kind, count, *_ in map(str.split, lines)}


def test_a_folder_of_before_shows_the_same_studies_and_frames(data: Path) -> None:
    for _ in range(2):  # the second start is not the first one again
        service = start(data)
        try:
            assert read_archive(service.root) == BEFORE
            assert re.findall(r" (?:ERROR|CRITICAL) .*|Traceback", service.log) == []
        finally:
            assert service.stop() == 0
    with closing(sqlite3.connect(data / "index.sqlite")) as index:  # of AWS's tables it has become one of ours
        assert index.execute("SELECT max(version) FROM schema_version").fetchall() == [(VERSION,)]


def test_a_folder_of_before_takes_more_files(data: Path) -> None:
    service = start(data)
    try:
        done = service.command("import", str(get_testdata_file("CT_small.dcm")), str(get_testdata_file("MR_small.dcm")))
        assert done.returncode == 0, done.stderr
        after = read_archive(service.root)
    finally:
        assert service.stop() == 0
    assert after["objects"].items() > BEFORE["objects"].items()
    assert len(after["objects"]) == len(BEFORE["objects"]) + 1
    assert [study for study in after["studies"] if study not in BEFORE["studies"]] == [
        study for study in after["studies"] if study["PatientID"] == ["1CT1"]
    ]


def test_files_of_the_earlier_cache_are_kept_aside_and_can_be_emptied(data: Path) -> None:
    files = sum(path.is_file() for path in (data / "cache").rglob("*"))
    service = start(data)
    try:
        read_archive(service.root)
        kinds = cached(service)
        assert kinds["old"] == files > 0
        assert kinds["frames"] > 0
        assert service.command("cache", "--empty").returncode == 0
        assert cached(service) == {"all": 0}
        assert read_archive(service.root) == BEFORE
    finally:
        assert service.stop() == 0
