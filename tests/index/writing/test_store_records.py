"""Leases and digests of store requests on every database: one forwarder at a time, and nothing remembered in vain."""

import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime, timezone

import pytest
from sqlalchemy import inspect, text

from db import schema
from db.index_schema import VERSION
from db.migrations import migrate
from index.writing.store_records import StoreRecords
from index.writing.writer import IndexWriter
from tests.servers import engine_of

STORE, OTHER_STORE, SERIES = "d" * 32, "e" * 32, "1.2.3.1"
LONG = 3600.0


@pytest.fixture
def url(new_index: Callable[[], str]) -> str:
    """An empty database."""
    url = new_index()
    with engine_of(url) as engine:
        schema.metadata.drop_all(engine)
    return url


@pytest.fixture
def writer(url: str) -> Iterator[IndexWriter]:
    opened = IndexWriter(url, pool_size=8)
    opened.create_or_migrate()
    yield opened
    opened.close()


def put(writer: IndexWriter, *sop_instance_uids: str, image_set_id: str = "a" * 32, version: int = 1) -> None:
    instances = {uid: {"DICOM": {"SOPInstanceUID": uid, "SOPClassUID": "1.1"}} for uid in sop_instance_uids}
    series = {SERIES: {"DICOM": {"SeriesInstanceUID": SERIES}, "Instances": instances}}
    study = {"DICOM": {"StudyInstanceUID": "1.2.3"}, "Series": series}
    metadata = {"ImageSetID": image_set_id, "DatastoreID": STORE, "Patient": {"DICOM": {"PatientID": "P"}}}
    writer.put(STORE, metadata | {"Study": study}, version, True, datetime.now(timezone.utc))


def test_one_forwarder_at_a_time_has_a_series(writer: IndexWriter) -> None:
    one, other = StoreRecords(writer.session, "one"), StoreRecords(writer.session, "other")
    assert one.take(STORE, SERIES, LONG) and one.take(STORE, SERIES, LONG)
    assert not other.take(STORE, SERIES, LONG)
    assert other.take(OTHER_STORE, SERIES, LONG) and other.take(STORE, SERIES + ".1", LONG)
    other.release(STORE, SERIES)
    assert not other.take(STORE, SERIES, LONG), "it was not its lease"
    one.release(STORE, SERIES)
    assert other.take(STORE, SERIES, LONG)


def test_a_lease_ends_by_itself_and_can_be_renewed(writer: IndexWriter) -> None:
    one, other = StoreRecords(writer.session, "one"), StoreRecords(writer.session, "other")
    assert one.take(STORE, SERIES, 0.05)
    time.sleep(0.1)
    assert other.take(STORE, SERIES, LONG)
    assert not one.take(STORE, SERIES, LONG)


def test_of_many_that_take_a_lease_at_once_one_gets_it(writer: IndexWriter) -> None:
    for number in range(5):
        many = [StoreRecords(writer.session, f"holder {at}") for at in range(8)]
        with ThreadPoolExecutor(8) as pool:
            taken = list(pool.map(lambda one, uid=f"1.{number}": one.take(STORE, uid, LONG), many))
        assert taken.count(True) == 1


def test_digests_are_known_while_the_index_has_the_instances(writer: IndexWriter) -> None:
    records = StoreRecords(writer.session, "one")
    put(writer, "1.1", "1.2")
    records.note(STORE, {"1.1": "a", "1.2": "b", "1.3": "c"})
    assert records.digests(STORE, ["1.1", "1.2", "1.3", "1.4"]) == {"1.1": "a", "1.2": "b"}
    assert records.digests(OTHER_STORE, ["1.1"]) == {}
    records.note(STORE, {"1.1": "z"})
    assert records.digests(STORE, ["1.1"]) == {"1.1": "z"}
    writer.remove(STORE, "a" * 32)
    assert records.digests(STORE, ["1.1", "1.2"]) == {}


def test_many_digests_and_uids_of_any_length(writer: IndexWriter) -> None:
    uids = [f"1.{number}" for number in range(1200)] + ["9" * 300]
    put(writer, *uids)
    records = StoreRecords(writer.session, "one")
    records.note(STORE, dict.fromkeys(uids, "a"))
    assert records.digests(STORE, uids) == dict.fromkeys(uids, "a")


def test_an_index_of_the_version_before_gets_the_tables(url: str) -> None:
    writer = IndexWriter(url)
    writer.create_or_migrate()
    with engine_of(url) as engine, engine.begin() as connection:
        for statement in ("DROP TABLE series_lease", "DROP TABLE stored_instance", "DELETE FROM schema_version"):
            connection.execute(text(statement))
        connection.execute(text("INSERT INTO schema_version VALUES (1, '2026-11-30 12:00:00')"))
    writer.create_or_migrate()
    with engine_of(url) as engine, engine.connect() as connection:
        assert migrate.current_version(connection) == VERSION
        assert {"series_lease", "stored_instance"} <= set(inspect(engine).get_table_names())
    assert StoreRecords(writer.session, "one").take(STORE, SERIES, LONG)
    writer.close()
