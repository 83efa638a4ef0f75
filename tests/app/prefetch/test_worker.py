"""Orders to load studies: told about in pages, cancelled, tried again."""

import threading
from collections.abc import Iterator
from typing import Any

import pytest

from ahi.workers.pool import FetcherPool
from app.prefetch.tasks import ChangeQuestion, PageQuestion, PrefetchTask, TaskAction
from app.prefetch.worker import PrefetchWorker
from db.engine import Database
from dicomweb.errors import UpstreamBusy
from dicomweb.transfer_syntax import FrameEncoding
from tests.qido.archive import Series, Study, write
from tests.servers import Sqlite
from tests.waiting import wait_for


class Gate:
    """In the place of image sets and frames: the loading of a study waits until the test lets it go on."""

    def __init__(self) -> None:
        self.begun = threading.Semaphore(0)
        self.opened = threading.Semaphore(0)
        self.rounds = 0

    def locate_readable(self, keys: Any) -> tuple[list[Any], list[Any]]:
        self.begun.release()
        assert self.opened.acquire(timeout=60)
        self.rounds += 1
        return [], []


@pytest.fixture
def database(sqlite: Sqlite) -> Iterator[Database]:
    url = sqlite.new_index()
    series = tuple(Series(f"1.5.1.{number}", {}, (), ("d" * 32,)) for number in (1, 2))
    write(url, [Study("1.5.1", {"patientid": "P"}, {}, series)])
    opened = Database(url)
    yield opened
    opened.close()


def task(study: str) -> PrefetchTask:
    return PrefetchTask(study, None, FrameEncoding.STORED)


def page(worker: PrefetchWorker, first: int = 0, most: int = 50) -> Any:
    return worker.page(PageQuestion(first, first, most))


def test_what_waits_comes_in_pages_and_can_be_cancelled(database: Database) -> None:
    worker = PrefetchWorker(database, Gate(), FetcherPool([]))  # type: ignore[arg-type]
    worker.take([task(f"1.{number}") for number in range(25)])
    found = page(worker, 20, 20)
    assert [one.task for one in found.waiting] == [task(f"1.{number}") for number in range(20, 25)]
    assert (found.waiting_total, found.running) == (25, None)
    name = found.waiting[0].name
    assert "1.20" not in name and len({one.name for one in page(worker).waiting}) == 25
    change = ChangeQuestion(TaskAction.CANCEL, frozenset([name]))
    assert (worker.change(change), worker.change(change)) == (1, 0), "twice is once"
    assert task("1.20") not in [one.task for one in page(worker).waiting]
    other = PrefetchWorker(database, Gate(), FetcherPool([]))  # type: ignore[arg-type]
    other.take([task("1.21")])
    assert other.change(ChangeQuestion(TaskAction.CANCEL, frozenset([found.waiting[1].name]))) == 0, "another process"
    assert worker.change(ChangeQuestion(TaskAction.CANCEL, None)) == 24
    assert page(worker).waiting_total == 0


def test_one_that_fails_is_told_and_tried_again(database: Database) -> None:
    worker = PrefetchWorker(database, Gate(), FetcherPool([]))  # type: ignore[arg-type]
    worker.take([task("9.9.9")])
    threading.Thread(target=worker.work, daemon=True).start()
    wait_for(lambda: page(worker).failed_total == 1)
    (failed,) = page(worker).failed
    assert (failed.task, failed.reason) == (task("9.9.9"), "the index does not have it") and failed.at > 0
    assert worker.change(ChangeQuestion(TaskAction.RETRY, frozenset(["0" * 32]))) == 0
    assert worker.change(ChangeQuestion(TaskAction.RETRY, frozenset([failed.name]))) == 1
    wait_for(lambda: worker.status.failed == 2)
    assert page(worker).failed_total == 1, "the same study is told once"


def test_one_that_runs_ends_before_its_next_image_sets(database: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("app.prefetch.worker._AT_ONCE", 1)
    study, gate = "1.5.1", Gate()
    worker = PrefetchWorker(database, gate, FetcherPool([]))  # type: ignore[arg-type]
    worker.take([task(study)])
    threading.Thread(target=worker.work, daemon=True).start()
    assert gate.begun.acquire(timeout=60)
    found = page(worker)
    assert found.running and found.running.task == task(study) and found.waiting == ()
    assert worker.change(ChangeQuestion(TaskAction.CANCEL, frozenset([found.running.name]))) == 1
    for _ in range(10):
        gate.opened.release()
    wait_for(lambda: page(worker).running is None)
    assert gate.rounds == 1
    assert (worker.status.done, worker.status.failed) == (0, 0)


def test_too_many_are_refused_and_nothing_is_lost(database: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    worker = PrefetchWorker(database, Gate(), FetcherPool([]))  # type: ignore[arg-type]
    worker.take([task("9.9.9")])
    threading.Thread(target=worker.work, daemon=True).start()
    wait_for(lambda: page(worker).failed_total == 1)
    monkeypatch.setattr("app.prefetch.worker.MOST_WAITING", 0)
    with pytest.raises(UpstreamBusy):
        worker.change(ChangeQuestion(TaskAction.RETRY, None))
    assert page(worker).failed_total == 1
