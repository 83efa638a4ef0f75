"""What is accepted into the spool ends in the data store and in the index, once, whatever fails in between."""

import resource
import shutil
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import pytest
from sqlalchemy import create_engine, text

from datastore.serving.faults import parse_faults
from dicomweb.errors import NotFound, UpstreamBusy, UpstreamFailed
from index.writing.store_records import StoreRecords
from index.writing.writer import IndexWriter
from runtime.shared_metrics import Metric
from store.forward.waiting import Cancelled, WaitingEntry
from store.outcome import FailureReason, Sender, WarningReason
from store.spool.entry_file import append_manifest
from store.spool.manifest import Manifest
from store.spool.spool import OLD_SECONDS, Entry
from tests.store.forward.live import Way, instance, truncated, uids, way
from tests.waiting import wait_for

ALICE = Sender("alice", "aetitle", "d" * 32)


@contextmanager
def lowered(limit: int, most: int) -> Iterator[None]:
    """A context with a lower limit for this process."""
    before = resource.getrlimit(limit)
    resource.setrlimit(limit, (most, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(limit, before)


@pytest.fixture(autouse=True)
def aws(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.setenv(name, "test")
    monkeypatch.delenv("AWS_SESSION_TOKEN", raising=False)


@pytest.fixture
def live(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Way]:
    with way(tmp_path, monkeypatch) as opened:
        yield opened


def test_a_request_is_stored_and_indexed_before_it_is_answered(live: Way) -> None:
    outcomes = live.store(instance(1), instance(2), instance(3, series=2))
    assert uids(outcomes) == ["1.2.3.1.1.1", "1.2.3.1.1.2", "1.2.3.1.2.3"] == live.indexed()
    assert [(outcome.failure, outcome.warning) for outcome in outcomes] == [(None, None)] * 3
    assert live.versions() == [1, 1]
    assert live.spool.names() == []
    assert live.process_metrics.get(Metric.STORED_INSTANCES) == 3


def test_the_same_again_is_recognised_and_not_sent(live: Way) -> None:
    live.store(instance(1))
    assert uids(live.store(instance(1), instance(2))) == ["1.2.3.1.1.1", "1.2.3.1.1.2"]
    assert uids(live.store(instance(1))) == ["1.2.3.1.1.1"]
    assert live.versions() == [2] and live.faults.calls()["StoreDICOM"] == 2


def test_other_content_under_the_same_uid_is_refused_and_changes_nothing(live: Way) -> None:
    live.store(instance(1))
    (outcome,) = live.store(instance(1, SeriesDescription="other"))
    assert (outcome.failure, outcome.again) == (FailureReason.DUPLICATE_INSTANCE, False)
    assert live.versions() == [1] and live.spool.names() == [] and live.spool.refused() == []


def test_an_instance_twice_in_a_request_is_stored_once(live: Way) -> None:
    assert uids(live.store(instance(1), instance(1))) == ["1.2.3.1.1.1"] * 2
    first, second = live.store(instance(2), instance(2, SeriesDescription="other"))
    assert first.is_stored and second.failure == FailureReason.DUPLICATE_INSTANCE
    assert live.indexed() == ["1.2.3.1.1.1", "1.2.3.1.1.2"]


def test_what_contradicts_its_series_is_stored_with_a_warning(live: Way) -> None:
    live.store(instance(1))
    (outcome,) = live.store(instance(2, PatientID="other"))
    assert outcome.is_stored and outcome.warning == WarningReason.COERCED and "image set of its own" in outcome.detail


def test_what_ahi_refuses_does_not_keep_the_rest_from_being_stored(live: Way) -> None:
    good, bad = live.store(instance(1), truncated(2))
    assert good.is_stored and bad.failure == FailureReason.CANNOT_UNDERSTAND
    assert live.spool.names() == [] and live.spool.refused() == []  # the client knows


def test_a_refusal_that_nobody_waited_for_stays_aside_with_its_reason(
    live: Way, caplog: pytest.LogCaptureFixture
) -> None:
    entry = live.accept(truncated(1))
    live.forwarder.notify(entry)
    wait_for(lambda: live.spool.refused())
    wait_for(lambda: f"store request set aside, instances of it were refused entry={entry.name}" in caplog.messages)
    assert any(line.startswith("instances refused series=1.2.3.1.1 number=1 reason=AWS") for line in caplog.messages)
    (aside,) = live.spool.refused()
    (outcome,) = live.spool.outcomes(aside)
    assert (outcome.failure, outcome.sop_instance_uid) == (FailureReason.CANNOT_UNDERSTAND, "1.2.3.1.1.1")
    live.spool.retry(aside)
    wait_for(lambda: live.spool.refused())


def test_a_damaged_file_of_the_spool_is_told_and_the_others_are_stored(live: Way) -> None:
    good, bad = instance(1), instance(2)
    entry = live.accept(good, bad)
    with entry.path.open("r+b") as body:
        body.seek(len(good) + 200)
        body.write(b"\xff")
    first, second = live.forwarder.store(entry)
    assert first.is_stored and second.failure == FailureReason.PROCESSING_FAILURE and "damaged" in second.detail
    assert live.indexed() == ["1.2.3.1.1.1"]


@pytest.mark.parametrize("fault", ["503", "409", "cut", "cut-body", "half"])
@pytest.mark.parametrize("operation", ["StoreDICOM", "SearchImageSets", "GetImageSetMetadata"])
def test_faults_that_pass_are_not_seen(live: Way, operation: str, fault: str) -> None:
    live.faults.replace(parse_faults(f"{operation}:{fault}:x2"))
    assert uids(live.store(instance(1), instance(2))) == ["1.2.3.1.1.1", "1.2.3.1.1.2"] == live.indexed()


NOT_READ = ["half", "cut-body", "body=html", "body=empty", "body=wrong-types", "longer=100"]


@pytest.mark.parametrize("fault", NOT_READ)
def test_what_ahi_has_stored_is_not_sent_again_where_its_answer_cannot_be_read(live: Way, fault: str) -> None:
    live.faults.replace(parse_faults(f"StoreDICOM:{fault}:x1"))
    assert uids(live.store(instance(1), instance(2))) == ["1.2.3.1.1.1", "1.2.3.1.1.2"] == live.indexed()
    assert live.faults.calls()["StoreDICOM"] == 1 and live.versions() == [1]
    live.faults.replace(parse_faults(f"StoreDICOM:{fault}:x1"))
    assert uids(live.store(instance(2), instance(3))) == ["1.2.3.1.1.2", "1.2.3.1.1.3"]
    assert live.faults.calls()["StoreDICOM"] == 2 and live.versions() == [2]


@pytest.mark.parametrize("fault", ["500", "cut"])
def test_what_ahi_has_not_stored_is_sent_again_where_it_does_not_answer(live: Way, fault: str) -> None:
    live.store(instance(1))
    live.faults.replace(parse_faults(f"StoreDICOM:{fault}:x2"))
    assert uids(live.store(instance(2))) == ["1.2.3.1.1.2"]
    assert live.faults.calls()["StoreDICOM"] == 4 and live.versions() == [2]


def test_an_answer_that_is_never_read_ends_well_with_a_retry(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with way(tmp_path, monkeypatch, patience_seconds=0.3) as live:
        live.faults.replace(parse_faults("StoreDICOM:half,SearchImageSets:503"))
        with pytest.raises(UpstreamBusy):
            live.store(instance(1))
        live.faults.replace(())
        assert uids(live.store(instance(1))) == ["1.2.3.1.1.1"] == live.indexed()
        assert live.faults.calls()["StoreDICOM"] == 1 and live.versions() == [1]


def test_what_a_forwarder_sent_before_it_died_is_not_sent_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It was killed when AHI had stored it, and before the rows were written."""
    with way(tmp_path, monkeypatch, patience_seconds=0.3) as first:
        first.faults.replace(parse_faults("SearchImageSets:503"))
        with pytest.raises(UpstreamBusy):
            first.store(instance(1))
        assert first.versions() == [1] and first.indexed() == []
    with way(tmp_path, monkeypatch) as second:
        wait_for(lambda: second.spool.names() == [])
        assert second.indexed() == ["1.2.3.1.1.1"] and second.versions() == [1]
        assert "StoreDICOM" not in second.faults.calls()


def test_what_was_there_before_with_other_content_is_no_answer(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It was imported in another way: only its UID is the same."""
    with way(tmp_path, monkeypatch) as live:
        live.store(instance(1))
        with create_engine(live.index_url).begin() as connection:
            connection.execute(text("DELETE FROM stored_instance"))
        live.faults.replace(parse_faults("StoreDICOM:cut:x1"))
        assert uids(live.store(instance(1, SeriesDescription="other"))) == ["1.2.3.1.1.1"]
        assert live.faults.calls()["StoreDICOM"] == 3 and live.versions()[0] == 1


STRANGE = ["body=wrong-types", "body=deep", "body=deep-gzip", "body=html", "body=list", "corrupt=17", "corrupt=40"]


@pytest.mark.parametrize("fault", STRANGE)
def test_metadata_that_cannot_be_read_are_asked_for_again(
    live: Way, fault: str, caplog: pytest.LogCaptureFixture
) -> None:
    live.faults.replace(parse_faults(f"GetImageSetMetadata:{fault}:x1"))
    assert uids(live.store(instance(1))) == ["1.2.3.1.1.1"] == live.indexed()
    assert not [record for record in caplog.records if record.exc_info]


def test_metadata_that_blow_up_are_not_unpacked(live: Way, caplog: pytest.LogCaptureFixture) -> None:
    """Some megabytes of gzip may hold gigabytes."""
    live.faults.replace(parse_faults("GetImageSetMetadata:body=bomb:x1"))
    with pytest.raises(UpstreamFailed, match="METADATA_MAX_BYTES"):
        live.store(instance(1))
    assert not [record for record in caplog.records if record.exc_info]
    wait_for(lambda: live.spool.names() == [] and live.indexed() == ["1.2.3.1.1.1"])


def test_ahi_that_is_away_is_busy_and_a_retry_ends_well(live: Way) -> None:
    live.faults.replace(parse_faults("StoreDICOM:503"))
    with pytest.raises(UpstreamBusy):
        live.store(instance(1))
    assert len(live.spool.names()) == 1
    live.faults.replace(())
    assert uids(live.store(instance(1))) == ["1.2.3.1.1.1"]
    wait_for(lambda: live.spool.names() == [])
    assert live.versions() == [1] and live.indexed() == ["1.2.3.1.1.1"]


def test_what_waits_is_shown_and_cancelled(live: Way) -> None:
    live.faults.replace(parse_faults("StoreDICOM:503"))
    entries = [live.accept(instance(number, number)) for number in (1, 2)]

    def waiting() -> dict[str, WaitingEntry]:
        return {one.name: one for one in live.forwarder.waiting(0, 10).entries}

    wait_for(lambda: len(waiting()) == 2 and all(one.attempts for one in waiting().values()))
    told = waiting()[entries[0].name]
    studies = tuple({one.study_instance_uid for one in entries[0].manifest.instances})
    assert (told.instances, told.left, told.studies, told.sender.user) == (1, 1, studies, "alice")
    assert told.error and told.received_at == pytest.approx(entries[0].manifest.received_at)
    first = live.forwarder.waiting(0, 1)
    assert (len(first.entries), first.total) == (1, 2)
    assert live.forwarder.cancel(entries[0].name) in Cancelled
    wait_for(lambda: live.spool.names() == [entries[1].name])
    with pytest.raises(NotFound):
        live.forwarder.cancel(entries[0].name)
    live.faults.replace(())
    wait_for(lambda: live.spool.names() == [])
    assert live.indexed() == ["1.2.3.1.2.2"] and live.forwarder.waiting(0, 10).total == 0
    assert live.forwarder.waiting(0, 10).instances_per_second > 0


def test_the_log_says_once_that_requests_wait_for_long(live: Way, caplog: pytest.LogCaptureFixture) -> None:
    live.faults.replace(parse_faults("StoreDICOM:503"))
    entry = live.accept(instance(1))
    with entry.path.open("r+b") as file:
        file.truncate(entry.size_bytes)
    old = replace(entry.manifest, received_at=time.time() - OLD_SECONDS - 100)
    append_manifest(entry.path, old.to_json(), sync=False)
    wait_for(lambda: any(line.startswith("store requests wait entries=1 ") for line in caplog.messages))
    live.faults.replace(())
    wait_for(lambda: live.spool.names() == [])
    assert sum(line.startswith("store requests wait ") for line in caplog.messages) == 1


def test_what_nobody_tells_of_is_found(live: Way) -> None:
    live.accept(instance(1))
    wait_for(lambda: live.indexed() == ["1.2.3.1.1.1"] and live.spool.names() == [])


def test_a_spool_that_cannot_be_read_is_told_once_and_stores_again_when_it_can(
    live: Way, caplog: pytest.LogCaptureFixture
) -> None:
    queue, aside = live.spool.layout.queue, live.spool.layout.root / "aside"
    live.accept(instance(1))
    queue.rename(aside)
    wait_for(lambda: live.process_metrics.get(Metric.SPOOL_UNREADABLE) == 1)
    with pytest.raises(UpstreamBusy):
        live.forwarder.store(Entry("1796060000000-0123456789abcdef", aside / "none", Manifest(ALICE, 0.0, ()), 0))
    aside.rename(queue)
    wait_for(lambda: live.indexed() == ["1.2.3.1.1.1"] and live.spool.names() == [])
    wait_for(lambda: live.process_metrics.get(Metric.SPOOL_UNREADABLE) == 0)
    assert sum("the disk of the spool does not answer: No such file" in line for line in caplog.messages) == 1
    assert not [record for record in caplog.records if record.exc_info]


def test_a_batch_of_many_requests_opens_one_file_at_a_time(live: Way) -> None:
    """With `spooled`, a series may be sent in thousands of requests, each with a file in the spool."""
    most = len(list(Path("/proc/self/fd").iterdir())) + 100
    with lowered(resource.RLIMIT_NOFILE, most):
        for number in range(200):
            live.accept(instance(number))
        wait_for(lambda: live.spool.names() == [])
    assert len(live.indexed()) == 200 and live.versions()[0] <= 2


def test_what_a_forwarder_leaves_the_next_one_stores(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with way(tmp_path, monkeypatch, patience_seconds=0.2) as first:
        first.faults.replace(parse_faults("StoreDICOM:503"))
        with pytest.raises(UpstreamBusy):
            first.store(instance(1), instance(2))
    with way(tmp_path, monkeypatch) as second:
        wait_for(lambda: second.spool.names() == [])
        assert second.indexed() == ["1.2.3.1.1.1", "1.2.3.1.1.2"] and second.versions() == [1]


def test_a_spool_that_was_restored_stores_nothing_twice(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It was copied while requests waited, one of which AHI has since stored."""
    with way(tmp_path, monkeypatch, patience_seconds=0.2) as first:
        first.faults.replace(parse_faults("StoreDICOM:503"))
        for number in (1, 2):
            with pytest.raises(UpstreamBusy):
                first.store(instance(number, series=number))
    shutil.copytree(tmp_path / "spool", tmp_path / "copy")
    max((tmp_path / "spool" / "queue").iterdir()).rename(tmp_path / "never sent")
    with way(tmp_path, monkeypatch) as second:
        wait_for(lambda: second.spool.names() == [])
        assert second.indexed() == ["1.2.3.1.1.1"]
    with way(tmp_path, monkeypatch, spool_name="copy") as restored:
        wait_for(lambda: restored.spool.names() == [])
        assert restored.indexed() == ["1.2.3.1.1.1", "1.2.3.1.2.2"] and restored.versions() == [1, 1]
        assert restored.faults.calls()["StoreDICOM"] == 1


def test_two_hundred_files_one_by_one_make_one_or_two_versions_if_nobody_waits(live: Way) -> None:
    for number in range(200):
        live.forwarder.notify(live.accept(instance(number)))
    wait_for(lambda: live.spool.names() == [])
    assert len(live.indexed()) == 200
    assert live.versions()[0] <= 2


def test_six_connections_of_a_viewer_share_their_batches(live: Way) -> None:
    """OHIF: a file in each request, six at a time. As many go together as the client lets wait at the same time."""
    with ThreadPoolExecutor(6) as pool:
        outcomes = list(pool.map(lambda number: live.store(instance(number))[0], range(60)))
    assert all(outcome.is_stored for outcome in outcomes) and len(live.indexed()) == 60
    assert live.versions()[0] <= 20  # 11 on a machine that does nothing else


def test_series_of_many_clients_at_once_are_all_stored(live: Way) -> None:
    with ThreadPoolExecutor(20) as pool:
        outcomes = list(pool.map(lambda n: live.store(instance(n, series=n % 7))[0], range(70)))
    assert all(outcome.is_stored for outcome in outcomes) and len(live.indexed()) == 70
    assert live.spool.names() == [] and list(live.spool.incoming.iterdir()) == []


def test_a_client_that_leaves_does_not_stop_what_is_accepted(live: Way) -> None:
    live.faults.replace(parse_faults("StoreDICOM:latency=500ms:x1"))
    entry = live.accept(instance(1))
    live.forwarder._connect(5).close()
    leaving = threading.Thread(target=lambda: live.forwarder.notify(entry))
    leaving.start()
    leaving.join()
    wait_for(lambda: live.indexed() == ["1.2.3.1.1.1"])


def test_the_same_sent_again_while_it_waits_takes_no_room(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with way(tmp_path, monkeypatch, patience_seconds=0.2) as live:
        live.faults.replace(parse_faults("StoreDICOM:503"))
        for _ in range(4):
            with pytest.raises(UpstreamBusy):
                live.store(instance(1))
        assert len(live.spool.names()) == 1
        live.faults.replace(())
        assert uids(live.store(instance(1))) == ["1.2.3.1.1.1"]


def test_tasks_that_share_a_series_take_turns_and_store_each_instance_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with way(tmp_path, monkeypatch, patience_seconds=20) as one:
        with (
            way(tmp_path, monkeypatch, patience_seconds=20, spool_name="other") as other,
            ThreadPoolExecutor(8) as pool,
        ):
            tasks = (one, other)
            outcomes = list(pool.map(lambda at: tasks[at % 2].store(instance(at // 2 % 10))[0], range(40)))
            assert all(outcome.is_stored for outcome in outcomes)
            counts = [task.faults.calls() for task in tasks]  # one may have found that all was stored
            calls = sum(count.get("StoreDICOM", 0) for count in counts)
        assert one.indexed() == sorted(f"1.2.3.1.1.{number}" for number in range(10))
        assert one.versions() == [calls], "each call made a version, and none was made in vain"
        assert calls <= 10 and [found.is_primary for found in one.storage.image_sets()] == [True]


def test_a_lease_of_a_forwarder_that_died_ends(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with way(tmp_path, monkeypatch, patience_seconds=20) as live:
        writer = IndexWriter(live.index_url)
        datastore_id = live.storage.datastore.datastore_id
        assert StoreRecords(writer.session, "died").take(datastore_id, "1.2.3.1.1", 3.0)
        assert uids(live.store(instance(1))) == ["1.2.3.1.1.1"]
        writer.close()
