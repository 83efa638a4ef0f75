"""SearchImageSets over real HTTP: its results, what is remembered, and the cost of its failures."""

import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from ahi.cache.cache import Cache
from ahi.client.calls import AhiClient
from ahi.client.searches import ImageSetSearches
from ahi.image_sets.image_set import ImageSetKey
from ahi.image_sets.version_cache import VersionCache
from ahi.workers.context import WorkerContext
from ahi.workers.query_jobs import search_study
from datastore.serving.faults import Faults, parse_faults
from dicomweb.errors import UpstreamBusy
from runtime.changes import Changes
from runtime.shared_metrics import Metric, ProcessMetrics
from tests.datastore.shelf import DATASTORE_ID, Shelf, identifier, image_set
from tests.datastore_server import served

STUDY = "1.2.3"
MANY = 120
FOUND = {ImageSetKey(DATASTORE_ID, identifier(number)) for number in range(1, MANY + 1)}
STRANGE = ("html", "empty", "list", "object", "wrong-types", "deep")


@pytest.fixture
def faults() -> Faults:
    return Faults()


@pytest.fixture
def context(faults: Faults, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[WorkerContext]:
    """A fetcher in this process, in front of a data store with a study of many image sets, and others."""
    tags = {"DICOMStudyInstanceUID": STUDY}
    others = [image_set(number) for number in range(MANY + 1, MANY + 20)]
    shelf = Shelf(*(image_set(number, tags=tags) for number in range(1, MANY + 1)), *others)
    with served(shelf, faults) as url:
        monkeypatch.setenv("AWS_ENDPOINT_URL_MEDICAL_IMAGING", url)
        monkeypatch.setenv("AWS_ACCESS_KEY_ID", "test")
        monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "test")
        process_metrics = ProcessMetrics.alone()
        client = AhiClient(region="us-east-1", deadline_seconds=3, process_metrics=process_metrics)
        yield WorkerContext(client, Cache(tmp_path, 2**20, process_metrics=process_metrics), VersionCache(60))
        client.close()


def calls(context: WorkerContext) -> int:
    return context.cache.process_metrics.get(Metric.AHI_SEARCH_IMAGE_SETS)


def test_all_image_sets_of_a_study_are_found_and_remembered(context: WorkerContext) -> None:
    assert set(search_study(context, DATASTORE_ID, STUDY)) == FOUND
    assert calls(context) == 3, "an answer has 50"
    assert set(search_study(context, DATASTORE_ID, STUDY)) == FOUND
    assert calls(context) == 3
    assert search_study(context, DATASTORE_ID, "9.9") == ()
    assert search_study(context, "e" * 32, STUDY) == (), "there is no such data store"


@pytest.mark.parametrize(
    "fault", ["429", "500", "503", "cut", "cut-body", "half", "latency=9s", *(f"body={name}" for name in STRANGE)]
)
@pytest.mark.slow
def test_what_fails_is_busy_and_nobody_waits_for_it_twice(context: WorkerContext, faults: Faults, fault: str) -> None:
    faults.replace(parse_faults(f"SearchImageSets:{fault}"))
    before = time.monotonic()
    with pytest.raises(UpstreamBusy):
        search_study(context, DATASTORE_ID, STUDY)
    assert time.monotonic() - before < 30
    asked = calls(context)
    for study in (STUDY, "9.9"):
        with pytest.raises(UpstreamBusy):
            search_study(context, DATASTORE_ID, study)
    assert calls(context) == asked, "it is asked again after a moment only"
    faults.replace(())
    context.searches._silent.clear()  # the 5 seconds are over
    assert set(search_study(context, DATASTORE_ID, STUDY)) == FOUND


def test_a_refusal_hides_for_a_moment_what_is_unknown_and_no_more(
    context: WorkerContext, faults: Faults, caplog: pytest.LogCaptureFixture
) -> None:
    search_study(context, DATASTORE_ID, STUDY)
    faults.replace(parse_faults("SearchImageSets:403"))
    assert [search_study(context, DATASTORE_ID, study) for study in ("9.8", "9.9")] == [(), ()]
    assert calls(context) == 3 + 1
    assert set(search_study(context, DATASTORE_ID, STUDY)) == FOUND, "it was found before"
    assert len([one for one in caplog.messages if "cannot be found" in one]) == 1
    faults.replace(())
    context.searches.note_refusal(DATASTORE_ID, "again")
    assert search_study(context, DATASTORE_ID, "1.121") == ()
    context.searches._refused.clear()  # the 30 seconds are over
    assert search_study(context, DATASTORE_ID, "1.121") == (ImageSetKey(DATASTORE_ID, identifier(121)),)
    assert len([one for one in caplog.messages if "cannot be found" in one]) == 1, "it is told every ten minutes"


def test_calls_are_within_their_rate() -> None:
    searches = ImageSetSearches(calls_per_second=0.01)
    assert [searches.may_call(DATASTORE_ID) for _ in range(3)] == [True, False, False]
    searches = ImageSetSearches(calls_per_second=10)
    assert sum(searches.may_call(DATASTORE_ID) for _ in range(1000)) < 40
    searches = ImageSetSearches(calls_per_second=0.01)
    searches.count(40)
    assert not searches.may_call(DATASTORE_ID), "pages count, too"


def test_what_is_remembered_has_a_bound() -> None:
    searches = ImageSetSearches(max_remembered=1000)
    for number in range(5000):
        for size in (0, number % 90):
            keys = [ImageSetKey(DATASTORE_ID, identifier(at)) for at in range(size)]
            searches.put(DATASTORE_ID, f"1.{number % 700}", keys)
            assert searches.remembered <= 1000
    assert searches.remembered == sum(1 + len(found) for found, _ in searches._found.values())
    assert len(searches.get(DATASTORE_ID, f"1.{4999 % 700}") or ()) == 4999 % 90, "the last one is there"


def test_image_sets_of_a_study_that_changed_since_are_not_remembered() -> None:
    changes = Changes()
    searches = ImageSetSearches(changes=changes)
    key = ImageSetKey(DATASTORE_ID, "a" * 32)
    searches.put(DATASTORE_ID, "1.2", [key])
    assert searches.get(DATASTORE_ID, "1.2") == (key,)
    asked_at = time.monotonic()
    changes.note("1.2")
    assert searches.get(DATASTORE_ID, "1.2") is None
    searches.put(DATASTORE_ID, "1.2", [key], asked_at)  # the search had begun before
    assert searches.get(DATASTORE_ID, "1.2") is None
