"""A located image set is the one of now: an answer that began before a change is not taken for it."""

import threading
from pathlib import Path

import pytest

from ahi.image_sets.image_set import ImageSetKey
from ahi.retrieval.located_image_sets import ImageSets
from datastore.importing.importer import import_files
from datastore.serving.faults import Faults, parse_faults
from datastore.storage.storage import Storage
from runtime.changes import Changes
from tests.datastore.made import made, written
from tests.datastore_server import served
from tests.fetcher import fetching
from tests.waiting import wait_for


def test_a_change_while_ahi_is_asked_has_it_asked_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.setenv(name, "test")
    storage, faults, changes = Storage.open(tmp_path / "store"), Faults(), Changes()
    import_files([written(made(SOPInstanceUID="1.2.3.1.1.1"), tmp_path / "one.dcm")], storage, None)
    key = ImageSetKey(storage.datastore.datastore_id, storage.image_sets()[0].image_set_id)
    with served(storage, faults) as url:
        monkeypatch.setenv("AWS_ENDPOINT_URL_MEDICAL_IMAGING", url)
        with fetching(tmp_path / "cache", fresh_seconds=0, deadline_seconds=60) as (fetchers, cache):
            image_sets = ImageSets(fetchers, cache, fresh_seconds=60, changes=changes)
            faults.replace(parse_faults("GetImageSet:latency=3s:x1"))
            found: list[str] = []

            def locate() -> None:
                found.extend(one.properties.version for one in image_sets.locate([key]))

            asking = threading.Thread(target=locate)
            asking.start()
            wait_for(lambda: faults.calls().get("GetImageSet") == 1)
            changes.note(key.image_set_id)
            asking.join()
            assert found == ["1"] and faults.calls()["GetImageSet"] == 2
            assert [one.properties.version for one in image_sets.locate([key])] == ["1"]
            assert faults.calls()["GetImageSet"] == 2, "it is current now"
