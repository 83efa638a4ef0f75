"""Runs of the index command on every database: noted, cancelled by an operator, forgotten after a month."""

from collections.abc import Callable, Iterator
from datetime import timedelta

import pytest
from sqlalchemy import text, update

from db.index_jobs import find_failed, find_run, find_runs, has_runs
from db.index_schema import index_run, metadata
from db.migrations import migrate
from index.follow.holds import FAILURES
from index.follow.progress import FollowerProgress
from index.writing.ledger import now
from index.writing.runs import KEPT_DAYS, cancel_run, note_begin, note_end, note_progress
from index.writing.writer import IndexWriter, try_again
from tests.servers import OpenDatabase, engine_of

RUN, OTHER, STORE = "a" * 32, "b" * 32, "d" * 32


@pytest.fixture
def url(new_database: Callable[[], str]) -> str:
    return new_database()


@pytest.fixture
def writer(url: str) -> Iterator[IndexWriter]:
    opened = IndexWriter(url)
    opened.create_or_migrate()
    yield opened
    opened.close()


def test_a_run_tells_how_far_it_is_until_it_ends(writer: IndexWriter, url: str, open_database: OpenDatabase) -> None:
    database, session = open_database(url), writer.session
    note_begin(session, RUN, "fill", "host", [STORE, "e" * 32])
    assert not note_progress(session, RUN, "filling", 0, 2**40, begins=True)
    assert not note_progress(session, RUN, "filling", 2**33, 2**40, begins=False)
    (run,) = find_runs(database, 0, 10)
    assert (run.kind, run.host, run.datastore_ids) == ("fill", "host", (STORE, "e" * 32))
    assert (run.phase, run.done, run.total, run.ended_at, run.cancelled_at) == ("filling", 2**33, 2**40, None, None)
    assert run.phase_at is not None and run.started_at <= run.phase_at <= run.seen_at
    note_end(session, RUN, 5, "x" * 5000, "")
    (run,) = find_runs(database, 0, 10)
    assert run.ended_at is not None and run.result == "x" * 1024 and run.error == ""
    assert not cancel_run(session, RUN), "it has ended"


def test_a_run_hears_that_it_is_cancelled(writer: IndexWriter, url: str, open_database: OpenDatabase) -> None:
    for name in (RUN, OTHER):
        note_begin(writer.session, name, "repair", "host", [STORE])
    assert cancel_run(writer.session, RUN) and cancel_run(writer.session, RUN), "twice is once"
    assert not cancel_run(writer.session, "c" * 32)
    assert note_progress(writer.session, RUN, "", 0, None, begins=False)
    assert not note_progress(writer.session, OTHER, "", 0, None, begins=False)
    assert find_run(open_database(url), RUN) == (STORE,) and find_run(open_database(url), "c" * 32) is None


def test_old_runs_are_forgotten_and_pages_have_the_newest_first(
    writer: IndexWriter, url: str, open_database: OpenDatabase
) -> None:
    for number in range(5):
        note_begin(writer.session, f"{number}", "fill", "host", [STORE])
        at = now() - timedelta(days=KEPT_DAYS - 1 + number)
        change = update(index_run).where(index_run.c.run == f"{number}").values(startedat=at)
        writer.session.run(lambda connection, change=change: connection.execute(change))  # type: ignore[misc]
    note_begin(writer.session, RUN, "fill", "host", [STORE])
    database = open_database(url)
    assert [run.run for run in find_runs(database, 0, 10)] == [RUN, "0"]
    assert [run.run for run in find_runs(database, 1, 10)] == ["0"]


def test_what_was_put_aside_is_tried_again(writer: IndexWriter, url: str, open_database: OpenDatabase) -> None:
    database, follower = open_database(url), FollowerProgress(writer.session)
    for image_set, attempts in (("1", FAILURES), ("2", 1), ("3", FAILURES)):
        writer.note_failure(STORE, image_set, "the metadata cannot be indexed: <KeyError>", at_least=attempts)
    failed = find_failed(database, 0, 10)
    assert [(one.image_set_id, one.attempts) for one in failed] == [("1", FAILURES), ("3", FAILURES), ("2", 1)]
    assert [hint.image_set_id for hint in follower.failed_before()] == ["2"]
    assert try_again(writer.session, STORE, "1") and try_again(writer.session, STORE, "1"), "twice is once"
    assert not try_again(writer.session, STORE, "4") and not try_again(writer.session, "e" * 32, "1")
    assert sorted(hint.image_set_id for hint in follower.failed_before()) == ["1", "2"]
    assert find_failed(database, 0, 10)[0].image_set_id == "3"
    with pytest.raises(ValueError, match="not the ID"):
        try_again(writer.session, STORE, "../1")


def test_an_index_of_an_earlier_release_has_no_runs(url: str, open_database: OpenDatabase) -> None:
    with engine_of(url) as engine:
        metadata.create_all(engine)
        with engine.begin() as connection:
            index_run.drop(connection)
            connection.execute(text("INSERT INTO schema_version VALUES (4, '2026-01-01 00:00:00')"))
        assert not has_runs(open_database(url))
        with engine.connect() as connection:
            migrate.create_or_migrate(connection)
    assert has_runs(open_database(url))
