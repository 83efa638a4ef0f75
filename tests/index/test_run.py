"""A run that is recorded: others see how far it is, and end it; an index that is away does not hold it up."""

import threading
from collections.abc import Iterator

import pytest

from db.index_jobs import IndexRun, find_runs
from dicomweb.errors import UpstreamBusy
from index.run import RecordedRun, RunKind
from index.writing.runs import cancel_run
from index.writing.writer import IndexWriter
from tests.servers import OpenDatabase, Sqlite, engine_of
from tests.waiting import wait_for

STORE = "d" * 32


@pytest.fixture
def url(sqlite: Sqlite) -> str:
    return sqlite.new_database()


@pytest.fixture
def writer(url: str) -> Iterator[IndexWriter]:
    opened = IndexWriter(url)
    opened.create_or_migrate()
    yield opened
    opened.close()


def run_of(writer: IndexWriter, stop: threading.Event) -> RecordedRun:
    return RecordedRun(writer.session, RunKind.FILL, [STORE], stop, note_seconds=0.05)


def test_progress_is_noted_and_the_end_with_its_result(
    writer: IndexWriter, url: str, open_database: OpenDatabase
) -> None:
    database = open_database(url)

    def told() -> IndexRun:
        (run,) = find_runs(database, 0, 10)
        return run

    with run_of(writer, threading.Event()) as run:
        assert told().phase == ""
        with run.new_progress("listing") as progress:
            progress.add(7)
            wait_for(lambda: (told().phase, told().done, told().total) == ("listing", 7, None))
        with run.new_progress("filling", 5) as progress:
            progress.add(2)
            wait_for(lambda: (told().phase, told().done, told().total) == ("filling", 2, 5))
            progress.add(3)
        run.result = "image sets: 5 written"
    ended = told()
    assert (ended.done, ended.result, ended.error) == (5, "image sets: 5 written", "") and ended.ended_at
    assert ended.cancelled_at is None and not run.is_cancelled


def test_an_operator_ends_it(writer: IndexWriter, url: str, open_database: OpenDatabase) -> None:
    database, stop = open_database(url), threading.Event()
    with run_of(writer, stop) as run:
        assert cancel_run(writer.session, find_runs(database, 0, 1)[0].run)
        assert stop.wait(60)
        assert run.is_cancelled
    (ended,) = find_runs(database, 0, 10)
    assert ended.cancelled_at and ended.ended_at and ended.error == ""


@pytest.mark.parametrize(
    ("error", "told"),
    [
        (UpstreamBusy("AWS HealthImaging does not answer"), "AWS HealthImaging does not answer"),
        (KeyError("Doe^Anna"), "KeyError"),
    ],
)
def test_an_error_is_told_without_values(
    writer: IndexWriter, url: str, open_database: OpenDatabase, error: Exception, told: str
) -> None:
    with pytest.raises(type(error)), run_of(writer, threading.Event()):
        raise error
    (ended,) = find_runs(open_database(url), 0, 10)
    assert ended.error == told


def test_a_signal_is_told(writer: IndexWriter, url: str, open_database: OpenDatabase) -> None:
    stop = threading.Event()
    with run_of(writer, stop):
        stop.set()
    assert find_runs(open_database(url), 0, 10)[0].error == "stopped by a signal"


def test_without_the_table_it_runs_all_the_same(writer: IndexWriter, url: str) -> None:
    with engine_of(url) as engine, engine.begin() as connection:
        connection.exec_driver_sql("DROP TABLE index_run")
    with run_of(writer, threading.Event()) as run, run.new_progress("listing") as progress:
        progress.add()
    assert not run.is_cancelled
