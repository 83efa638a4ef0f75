"""What the writer says of a call, and what the ledger keeps of it."""

from collections.abc import Callable, Iterator
from datetime import datetime, timedelta, timezone
from typing import Any

import pytest
from sqlalchemy import delete, select

from db import index_schema as tables
from dicomweb.errors import UpstreamBusy, UpstreamFailed
from index.writing import ledger
from index.writing.ledger import Revision
from index.writing.writer import IndexWriter, Outcome
from tests.index.writing.made import Held, Index, held, metadata, moment
from tests.servers import MariaDb, Sqlite, engine_of

STORE, ONE, OTHER = "1" * 32, "a" * 32, "b" * 32


@pytest.fixture(scope="module")
def shared(new_database: Callable[[], str]) -> Iterator[Index]:
    found = Index(new_database())
    yield found
    found.writer.close()


@pytest.fixture
def url(shared: Index) -> str:
    """The URL of an empty index."""
    shared.fill([])
    return shared.url


@pytest.fixture
def writer(shared: Index, url: str) -> IndexWriter:
    return shared.writer


def put(writer: IndexWriter, version: int, primary: bool = True, updated: int = 1, **more: Any) -> Outcome:
    return writer.put(STORE, metadata(ONE), version, primary, moment(updated), **more)


def recorded(writer: IndexWriter) -> Revision | None:
    return writer.recorded(STORE, [ONE])[ONE].revision


def test_the_newest_revision_stays(writer: IndexWriter) -> None:
    assert put(writer, 2, updated=5) is Outcome.WRITTEN
    assert put(writer, 2, updated=5) is Outcome.UNCHANGED
    assert put(writer, 1, updated=9) is Outcome.OUTDATED
    assert put(writer, 2, updated=4) is Outcome.OUTDATED
    assert put(writer, 2, updated=6) is Outcome.WRITTEN
    assert put(writer, 2, False, updated=7) is Outcome.WRITTEN
    assert put(writer, 3, False, updated=7) is Outcome.WRITTEN
    assert recorded(writer) == Revision(3, moment(7).replace(tzinfo=None), False)


def test_a_time_is_the_same_in_every_time_zone(writer: IndexWriter) -> None:
    there = moment(1).astimezone(timezone(timedelta(hours=9)))
    assert writer.put(STORE, metadata(ONE), 1, True, there) is Outcome.WRITTEN
    assert put(writer, 1) is Outcome.UNCHANGED


def test_a_deleted_image_set_never_comes_back(writer: IndexWriter, url: str) -> None:
    assert writer.remove(STORE, ONE) is Outcome.WRITTEN  # the event of its deletion came first
    assert put(writer, 1) is Outcome.DELETED
    assert put(writer, 9, again=True) is Outcome.DELETED
    assert writer.remove(STORE, ONE) is Outcome.UNCHANGED
    assert held(url) == Held()
    assert writer.recorded(STORE, [ONE])[ONE].is_deleted


def test_one_that_is_back_is_written_if_no_other_deletion_was_recorded(writer: IndexWriter, url: str) -> None:
    """The time of the deletion is compared, so that whoever looked before another one changes nothing."""
    put(writer, 2)
    writer.remove(STORE, ONE)
    first = writer.recorded(STORE, [ONE])[ONE].deleted_at
    assert first
    writer.remove(STORE, ONE)
    second = writer.recorded(STORE, [ONE])[ONE].deleted_at
    assert second and second > first
    assert put(writer, 3, returned_after=first) is Outcome.DELETED
    assert held(url) == Held()
    assert put(writer, 1, returned_after=second) is Outcome.WRITTEN  # its versions may begin again
    assert recorded(writer) == Revision(1, moment(1).replace(tzinfo=None), True)
    assert not writer.recorded(STORE, [ONE])[ONE].is_deleted
    assert put(writer, 2, returned_after=second) is Outcome.WRITTEN  # it is an image set as any other
    assert len(held(url).image_sets) == 1


def test_a_deletion_is_later_than_one_by_a_clock_that_is_ahead(writer: IndexWriter) -> None:
    writer.remove(STORE, ONE)
    ahead = ledger.now() + timedelta(hours=1)
    key = ledger.LedgerKey(STORE, ONE)
    writer.session.run(lambda connection: ledger.change(connection, key, {"deletedat": ahead}))
    writer.remove(STORE, ONE)
    assert put(writer, 1, returned_after=ahead) is Outcome.DELETED


def test_attempts_are_counted_by_the_revision_that_ahi_has(writer: IndexWriter) -> None:
    def fail(version: int | None, **more: Any) -> int:
        revision = Revision(version, moment(version).replace(tzinfo=None), True) if version else None
        return writer.note_failure(STORE, ONE, "AHI has a bad day", tried=revision, **more)

    assert [fail(None), fail(None), fail(1), fail(1), fail(None)] == [1, 2, 3, 4, 5]
    assert [fail(2), fail(1), fail(2)] == [1, 2, 3]
    assert fail(2, at_least=10) == 10
    assert writer.recorded(STORE, [ONE])[ONE].tried == (2, moment(2).replace(tzinfo=None))
    put(writer, 1)
    assert writer.recorded(STORE, [ONE])[ONE].tried is None
    assert fail(1) == 1


def test_rows_that_somebody_spoilt_are_written_again_if_asked_for(writer: IndexWriter, url: str) -> None:
    put(writer, 1)
    right = held(url)
    with writer.session.connection() as connection, connection.begin():
        connection.execute(delete(tables.study))  # what is below goes with it
    assert put(writer, 1) is Outcome.UNCHANGED
    assert held(url) != right
    assert put(writer, 1, again=True) is Outcome.WRITTEN
    assert held(url) == right


def test_failures_are_counted_until_the_next_success(writer: IndexWriter, url: str) -> None:
    assert writer.note_failure(STORE, ONE, "no metadata " * 999) == 1
    assert writer.note_failure(STORE, ONE, "no metadata") == 2
    assert recorded(writer) is None
    assert put(writer, 1) is Outcome.WRITTEN
    assert writer.recorded(STORE, [ONE])[ONE].attempts == 0
    assert writer.note_failure(STORE, ONE, "throttled") == 1
    assert recorded(writer) is not None
    assert put(writer, 1) is Outcome.UNCHANGED
    with engine_of(url) as engine, engine.connect() as connection:
        kept = select(tables.indexed_image_set.c.error, tables.indexed_image_set.c.attempts)
        assert tuple(connection.execute(kept).one()) == (None, 0)


def test_image_sets_are_listed_page_by_page(writer: IndexWriter) -> None:
    ids = [f"{number:032x}" for number in range(7)]
    for image_set_id in ids:
        writer.put(STORE, metadata(image_set_id), 1, True, moment(1))
    writer.put("2" * 32, metadata(ONE), 1, True, moment(1))  # of another data store
    found: list[str] = []
    while page := writer.recorded_after(STORE, found[-1] if found else "", most=3):
        assert len(page) <= 3
        found += [one.image_set_id for one in page]
    assert found == ids
    assert writer.recorded(STORE, [*ids, OTHER]).keys() == set(ids)


def test_one_study_in_two_data_stores_is_two_rows(writer: IndexWriter, url: str) -> None:
    for store in (STORE, "2" * 32):
        writer.put(store, metadata(ONE), 1, True, moment(1))
    found = held(url)
    assert len(found.studies) == len(found.patients) == len(found.instances) == 2
    writer.remove("2" * 32, ONE)
    assert len(held(url).studies) == 1


def test_two_patients_without_id_are_two_rows(writer: IndexWriter, url: str) -> None:
    for image_set_id, study in ((ONE, "1"), (OTHER, "2")):
        document = metadata(image_set_id, patient={"PatientName": f"DOE{study}"}, study_uid=study)
        writer.put(STORE, document, 1, True, moment(1))
    assert {patient[-1] for patient in held(url).patients} == {"DOE1", "DOE2"}


def test_a_time_keeps_its_fraction(writer: IndexWriter, url: str) -> None:
    writer.put(STORE, metadata(ONE, study={"StudyTime": "235959.987654"}), 1, True, moment(1))
    with engine_of(url) as engine, engine.connect() as connection:
        found = connection.scalars(select(tables.study.c.studytime)).one()
    assert found.strftime("%H%M%S.%f") == "235959.987654"


def test_moments_of_the_ledger_are_in_utc(writer: IndexWriter, url: str) -> None:
    put(writer, 1)
    with engine_of(url) as engine, engine.connect() as connection:
        at = connection.scalars(select(tables.indexed_image_set.c.indexedat)).one()
    now = datetime.now(timezone.utc).replace(tzinfo=None)
    assert at is not None and abs(now - at) < timedelta(minutes=10)


def test_an_index_that_is_away_is_told_and_comes_back(mariadb: MariaDb) -> None:
    writer = IndexWriter(mariadb.new_database())
    writer.create_or_migrate()
    mariadb.stop()
    try:
        with pytest.raises(UpstreamBusy, match="does not answer"):
            put(writer, 1)
    finally:
        mariadb.start()
    assert put(writer, 1) is Outcome.WRITTEN
    writer.close()


def test_an_index_without_tables_is_told_without_values(sqlite: Sqlite) -> None:
    writer = IndexWriter(sqlite.new_database())
    with pytest.raises(UpstreamFailed) as failed:
        writer.put(STORE, metadata(ONE, patient={"PatientID": "ROE"}), 1, True, moment(1))
    assert "ROE" not in str(failed.value)
    assert failed.value.__cause__ is None
    writer.close()
