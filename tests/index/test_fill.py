"""Back-fill, comparison and repair against a data store over a socket that fails, throttles and changes meanwhile."""

import random
import threading
from collections import Counter
from collections.abc import Iterator
from dataclasses import replace
from itertools import count
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import select

from ahi.client.calls import AhiClient
from ahi.client.rates import CallRates
from ahi.image_sets.image_set import metadata_document
from datastore.serving.faults import parse_faults
from db.index_schema import study
from dicomweb.errors import ProxyError, UpstreamRefused
from index.compare import Kind
from index.fill import Filler
from index.follow.attempts import DatastoreUnreadable
from index.follow.changed import Outcome
from index.follow.holds import FAILURES
from index.reconcile import Applied, Reconciliation
from index.writing.writer import IndexWriter
from tests.datastore.shelf import DATASTORE_ID, Shelf, identifier
from tests.datastore_server import served
from tests.index.follow.live import LiveStore, Parts, parse
from tests.index.follow.live import parts as live_parts
from tests.servers import MariaDb

MANY = 120
_NUMBERS = count(1)


@pytest.fixture(params=["sqlite", "mariadb"])
def parts(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Parts]:
    """A data store of 120 image sets, and an empty index."""
    if request.param == "sqlite":
        url = f"sqlite:///{tmp_path / 'index.sqlite'}"
    else:
        server: MariaDb = request.getfixturevalue("mariadb")
        name = f"filled{next(_NUMBERS)}"
        server.execute(f"CREATE DATABASE {name}")
        url = server.url(name)
    with live_parts(url, monkeypatch) as made:
        made.client.close()
        fast = CallRates({"SearchImageSets": 1000.0, "GetImageSetMetadata": 1000.0, "GetImageSet": 1000.0})
        made.client = AhiClient(region="us-east-1", deadline_seconds=30, conflict_seconds=0.2, rates=fast)
        for number in range(1, MANY + 1):
            made.store.put(number)
        yield made


def run_of(parts: Parts, stop: threading.Event | None = None) -> Reconciliation:
    return Reconciliation(parts.client, parts.writer, parse, [DATASTORE_ID], stop or threading.Event())


def fill(parts: Parts) -> Applied:
    with run_of(parts) as run:
        run.list_all()
        return run.apply([Kind.MISSING, Kind.BEHIND], MANY)


def compared(parts: Parts, *, repair: bool = False) -> dict[Kind, int]:
    with run_of(parts) as run:
        run.list_all()
        (found,) = run.compare()
        if repair:
            run.apply(Kind, found.total, with_aside=True)
        return dict(found.counts)


def indexed(writer: IndexWriter) -> set[str]:
    """The study descriptions in the index."""
    with writer.session.connection() as connection:
        return set(connection.scalars(select(study.c.studydescription)))


def test_a_first_fill_reads_everything_once_and_a_second_one_nothing(parts: Parts) -> None:
    with run_of(parts) as run:
        assert run.is_first()
    assert fill(parts).outcomes == Counter({Outcome.WRITTEN: MANY})
    assert indexed(parts.writer) == parts.store.expected()
    assert Counter(parts.store.metadata_read).most_common(1)[0][1] == 1
    before = len(parts.store.metadata_read)
    assert fill(parts).outcomes == Counter()
    assert len(parts.store.metadata_read) == before
    assert compared(parts) == {}
    with run_of(parts) as run:
        assert not run.is_first()


def test_only_what_is_new_is_read(parts: Parts) -> None:
    fill(parts)
    parts.store.metadata_read.clear()
    for number in (3, 7):
        parts.store.put(number)
    parts.store.put(MANY + 1)
    assert fill(parts).outcomes == Counter({Outcome.WRITTEN: 3})
    assert sorted(parts.store.metadata_read) == [(identifier(3), 2), (identifier(7), 2), (identifier(MANY + 1), 1)]
    assert indexed(parts.writer) == parts.store.expected()


def test_a_comparison_reads_no_metadata_and_a_repair_leaves_no_difference(parts: Parts) -> None:
    fill(parts)
    parts.store.metadata_read.clear()
    for number in (1, 2, 3):
        parts.store.delete(number)
    for number in (4, 5):
        parts.store.put(number)
    parts.store.put(MANY + 1)
    expected = {Kind.GONE: 3, Kind.BEHIND: 2, Kind.MISSING: 1}
    assert compared(parts) == expected
    assert parts.store.metadata_read == []
    assert compared(parts, repair=True) == expected
    assert indexed(parts.writer) == parts.store.expected()
    assert compared(parts) == {}


def test_what_a_listing_lacks_is_not_gone_while_ahi_has_it(parts: Parts) -> None:
    """It was created, and followed, after the listing."""
    fill(parts)
    with run_of(parts) as run:
        run.list_all()
        parts.store.put(MANY + 1)
        other = run_of(parts)
        with other:
            other.list_all()
            other.apply([Kind.MISSING], 1)
        (found,) = run.compare()
        assert found.total == 0
        run.apply(Kind, 1)
    assert indexed(parts.writer) == parts.store.expected()


@pytest.mark.parametrize(
    "fault",
    [
        pytest.param("GetImageSetMetadata:429:0.3", id="throttled"),
        pytest.param("GetImageSetMetadata:500:0.2,GetImageSetMetadata:503:0.1", id="errors"),
        pytest.param("GetImageSetMetadata:cut:0.1,GetImageSetMetadata:cut-body:0.1", id="cut"),
        pytest.param("GetImageSetMetadata:409:x40", id="locked for a while"),
        pytest.param("*:latency=50ms", id="slow"),
        pytest.param("GetImageSetMetadata:rate=60/20", id="a lower quota"),
    ],
)
def test_faults_that_pass_leave_nothing_out(parts: Parts, fault: str) -> None:
    parts.faults.replace(parse_faults(fault))
    applied = fill(parts)
    assert applied.left == 0
    assert indexed(parts.writer) == parts.store.expected()


def test_an_image_set_that_stays_locked_is_left_for_a_later_run(parts: Parts) -> None:
    parts.faults.replace(parse_faults(f"GetImageSetMetadata/{identifier(5)}:409"))
    with run_of(parts) as run:
        run.list_all()
        filler = Filler(parts.client, parts.writer, parse, run.stop, locked_pauses_seconds=[0.1, 0.1])
        filler.run(run.differences())
    assert filler.locked == 1
    assert parts.writer.recorded(DATASTORE_ID, [identifier(5)]) == {}  # that is no failure
    parts.faults.replace(())
    assert fill(parts).outcomes == Counter({Outcome.WRITTEN: 1})


def test_one_that_always_fails_is_put_aside_after_ten_attempts_and_repaired_when_it_can_be(parts: Parts) -> None:
    parts.faults.replace(parse_faults(f"GetImageSetMetadata/{identifier(9)}:body=html"))
    parts.client.close()
    parts.client = AhiClient(region="us-east-1", deadline_seconds=0.3, conflict_seconds=0.1)
    assert fill(parts).outcomes == Counter({Outcome.WRITTEN: MANY - 1, Outcome.FAILED: 1})
    for attempt in range(2, FAILURES + 1):
        outcome = Outcome.FAILED if attempt < FAILURES else Outcome.ASIDE
        assert fill(parts).outcomes == Counter({outcome: 1})
    assert fill(parts).outcomes == Counter()  # it is not read again
    assert compared(parts) == {Kind.MISSING: 1}
    parts.faults.replace(())
    assert compared(parts, repair=True) == {Kind.MISSING: 1}
    assert indexed(parts.writer) == parts.store.expected()


def test_one_that_was_put_aside_is_tried_again_as_soon_as_ahi_has_a_newer_version(parts: Parts) -> None:
    """A newer version is new work, with ten attempts of its own; the same version is for a repair."""
    parts.faults.replace(parse_faults(f"GetImageSetMetadata/{identifier(9)}:body=list"))
    for _ in range(FAILURES):
        fill(parts)
    with run_of(parts) as run:
        run.list_all()
        assert [one.is_aside for one in run.differences()] == [True]
    parts.store.put(9)
    with run_of(parts) as run:
        run.list_all()
        assert [one.is_aside for one in run.differences()] == [False]
    assert fill(parts).outcomes == Counter({Outcome.FAILED: 1})
    assert parts.writer.recorded(DATASTORE_ID, [identifier(9)])[identifier(9)].attempts == 1
    parts.faults.replace(())
    assert fill(parts).outcomes == Counter({Outcome.WRITTEN: 1})
    assert indexed(parts.writer) == parts.store.expected()


@pytest.mark.parametrize("fault", ["503", "cut", "cut-body", "body=empty", "half", "corrupt"])
def test_an_outage_that_ends_while_ahi_is_asked_is_no_failure_of_an_image_set(
    parts: Parts, fault: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The last call of an image set fails, and the question whether AHI is away comes when it is back.

    The same holds for metadata that are broken on their way.
    """
    monkeypatch.setattr("ahi.client.retries._DELAYS_SECONDS", (1000.0,))  # no call is made again
    parts.faults.replace(parse_faults(f"GetImageSetMetadata/{identifier(5)}:{fault}:x1"))
    with Reconciliation(parts.client, parts.writer, metadata_document, [DATASTORE_ID]) as run:
        run.list_all()
        assert run.apply([Kind.MISSING], MANY).outcomes == Counter({Outcome.WRITTEN: MANY})
    assert indexed(parts.writer) == parts.store.expected()


def test_a_data_store_that_denies_everything_ends_the_run_and_not_that_of_another(parts: Parts) -> None:
    parts.faults.replace(parse_faults("GetImageSetMetadata:403"))
    with run_of(parts) as run:
        run.list_all()
        with pytest.raises(DatastoreUnreadable, match="AccessDenied"):
            run.apply([Kind.MISSING], MANY)
    noted = sum(parts.writer.recorded(DATASTORE_ID, [identifier(n)]) != {} for n in range(1, MANY + 1))
    assert noted < MANY
    parts.faults.replace(())
    assert fill(parts).outcomes == Counter({Outcome.WRITTEN: MANY})


def test_some_that_are_denied_hold_up_no_others(parts: Parts) -> None:
    parts.faults.replace(
        parse_faults(f"GetImageSetMetadata/{identifier(5)}:403,GetImageSetMetadata/{identifier(6)}:403")
    )
    assert fill(parts).outcomes == Counter({Outcome.WRITTEN: MANY - 2, Outcome.FAILED: 2})


def test_image_sets_that_change_during_the_fill_end_as_they_are(parts: Parts) -> None:
    """Some are updated, deleted and created between listing and reading; a second run finds nothing stale."""
    chance = random.Random(3)  # noqa: S311 - a test's
    with run_of(parts) as run:
        run.list_all()
        for number in chance.sample(range(1, MANY + 1), 30):
            parts.store.delete(number)
        for number in chance.sample(range(MANY + 1, MANY + 50), 10):
            parts.store.put(number)
        run.apply([Kind.MISSING, Kind.BEHIND], MANY)
    assert indexed(parts.writer) <= parts.store.expected()
    fill(parts)
    assert indexed(parts.writer) == parts.store.expected()


def test_two_runs_at_once_write_the_same_and_read_little_twice(parts: Parts) -> None:
    """No lease is taken: row locks and a look into the ledger before each reading are enough."""
    errors: list[BaseException] = []

    def one() -> None:
        try:
            fill(parts)
        except BaseException as error:  # noqa: BLE001 - told below
            errors.append(error)

    threads = [threading.Thread(target=one) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert errors == []
    assert indexed(parts.writer) == parts.store.expected()
    assert len(parts.store.metadata_read) < 1.7 * MANY
    assert compared(parts) == {}


def test_refused_credentials_end_the_run_at_once(parts: Parts, monkeypatch: pytest.MonkeyPatch) -> None:
    with run_of(parts) as run:
        run.list_all()

        def refuse(*_: object) -> bytes:
            raise UpstreamRefused("AWS HealthImaging refused GetImageSetMetadata: ExpiredTokenException")

        monkeypatch.setattr(parts.client, "image_set_metadata", refuse)
        with pytest.raises(UpstreamRefused):
            run.apply([Kind.MISSING], MANY)
    assert indexed(parts.writer) == set()


def test_an_outage_is_waited_out(parts: Parts, monkeypatch: pytest.MonkeyPatch) -> None:
    """AHI is away for longer than any call waits."""
    monkeypatch.setattr("index.fill.PAUSE_SECONDS", 0.2)
    parts.client.close()
    parts.client = AhiClient(region="us-east-1", deadline_seconds=0.2)
    with run_of(parts) as run:
        run.list_all()
        parts.faults.replace(parse_faults("*:503:3s"))
        assert run.apply([Kind.MISSING], MANY).outcomes == Counter({Outcome.WRITTEN: MANY})
    assert indexed(parts.writer) == parts.store.expected()


def test_an_outage_that_does_not_end_ends_the_run(parts: Parts, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("index.fill.PAUSE_SECONDS", 0.05)
    parts.client.close()
    parts.client = AhiClient(region="us-east-1", deadline_seconds=0.2)
    with run_of(parts) as run:
        run.list_all()
        parts.faults.replace(parse_faults("*:503"))
        filler = Filler(parts.client, parts.writer, parse, run.stop, outage_seconds=1)
        with pytest.raises(ProxyError):
            filler.run(run.differences())


@pytest.mark.parametrize("when", [1, 40])
def test_a_run_that_is_stopped_goes_on_where_it_was(parts: Parts, when: int) -> None:
    stop, done = threading.Event(), list[int]()

    def on_done() -> None:
        done.append(1)
        if len(done) == when:
            stop.set()

    with run_of(parts, stop) as run:
        run.list_all()
        Filler(parts.client, parts.writer, parse, stop, threads=4, on_done=on_done).run(run.differences())
    written = len(indexed(parts.writer))
    assert when <= written < MANY
    assert fill(parts).outcomes == Counter({Outcome.WRITTEN: MANY - written})
    assert Counter(parts.store.metadata_read).most_common(1)[0][1] == 1
    assert indexed(parts.writer) == parts.store.expected()


def test_memory_is_bounded_by_the_threads(parts: Parts) -> None:
    """However many image sets differ, few are taken before earlier ones are done."""
    taken, done, most = [0], [0], [0]

    def counted(found: Iterator[Any]) -> Iterator[Any]:
        for one in found:
            taken[0] += 1
            most[0] = max(most[0], taken[0] - done[0])
            yield one

    def on_done() -> None:
        done[0] += 1

    with run_of(parts) as run:
        run.list_all()
        filler = Filler(parts.client, parts.writer, parse, run.stop, threads=3, on_done=on_done)
        _in_blocks_of_one(filler, counted(run.differences()))
    assert done[0] == MANY
    assert most[0] <= 3 * 3 + 2


def _in_blocks_of_one(filler: Filler, found: Iterator[Any]) -> None:
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr("index.fill._BLOCK", 1)
        filler.run(found)


class OtherStore(LiveStore):
    """A data store with another ID, and with image sets of the same IDs and studies."""

    datastore = replace(Shelf.datastore, datastore_id="e" * 32)


def test_each_of_several_data_stores_is_filled(parts: Parts, monkeypatch: pytest.MonkeyPatch) -> None:
    """The image sets and studies of one have the same IDs as those of the other."""
    other = OtherStore()
    for number in range(1, 11):
        other.put(number)
        other.put(number)
    fill(parts)
    with served(other) as endpoint:
        monkeypatch.setenv("AWS_ENDPOINT_URL_MEDICAL_IMAGING", endpoint)
        there = AhiClient(region="us-east-1")
        assert there.listing.datastores() == ["e" * 32]
        with Reconciliation(there, parts.writer, parse, there.listing.datastores()) as run:
            run.list_all()
            (found,) = run.compare()
            assert (found.in_ahi, found.counts) == (10, Counter({Kind.MISSING: 10}))
            run.apply([Kind.MISSING], 10)
        there.close()
    assert indexed(parts.writer) == parts.store.expected() | other.expected()
    assert compared(parts) == {}
