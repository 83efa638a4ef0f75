"""A service that stores loses and doubles nothing that it acknowledged, whatever of it is killed, and whenever."""

import os
import signal
import subprocess
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path

import numpy as np
import pytest
import requests

from bench.processes import memory
from store.outcome import FailureReason
from tests.datastore.made import made, with_pixels
from tests.service.process import PROGRAM, Service
from tests.service.storing import Storing, stored_uids, storing
from tests.store.forward.live import file_of
from tests.waiting import wait_for


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Storing]:
    with storing(tmp_path_factory.mktemp("storing")) as running:
        yield running


def of(study: int, number: int, **elements: str) -> bytes:
    """An instance of a study of its own."""
    uids = {"StudyInstanceUID": f"1.2.9.{study}", "SOPInstanceUID": f"1.2.9.{study}.1.{number}"}
    return file_of(made(**{**uids, "SeriesInstanceUID": f"1.2.9.{study}.1", **elements}))


def test_what_is_acknowledged_can_be_searched_and_retrieved_at_once(shared: Storing) -> None:
    for number in range(3):
        answer = shared.post(of(1, number))
        assert answer.status_code == 200, answer.text
        assert stored_uids(answer) == [f"1.2.9.1.1.{number}"]
        assert len(shared.found(StudyInstanceUID="1.2.9.1")) == number + 1
        retrieved = shared.retrieved("1.2.9.1", "1.2.9.1.1", f"1.2.9.1.1.{number}")
        assert retrieved.status_code == 200, retrieved.text
    study = requests.get(f"{shared.service.root}/studies/1.2.9.1/metadata", timeout=60)
    assert len(study.json()) == 3


def test_the_same_again_and_other_content_under_its_uid(shared: Storing) -> None:
    assert shared.post(of(2, 1)).status_code == 200
    assert shared.post(of(2, 1)).status_code == 200
    answer = shared.post(of(2, 1, SeriesDescription="other"))
    assert answer.status_code == 409
    assert answer.json()["00081198"]["Value"][0]["00081197"]["Value"] == [FailureReason.DUPLICATE_INSTANCE]
    assert shared.found(StudyInstanceUID="1.2.9.2") == ["1.2.9.2.1.1"]


def test_ahi_that_is_away_is_503_and_a_retry_ends_well(shared: Storing) -> None:
    shared.datastore.faults("StoreDICOM:403")  # not retried, so the answer comes at once
    assert shared.post(of(3, 1)).status_code in (502, 503)
    assert len(shared.spool.names()) == 1
    shared.datastore.faults()
    assert shared.post(of(3, 1)).status_code == 200
    wait_for(lambda: shared.spool.names() == [])
    assert shared.found(StudyInstanceUID="1.2.9.3") == ["1.2.9.3.1.1"]


def test_the_embedded_default_on_loopback_stores(tmp_path: Path) -> None:
    """As a newcomer starts it: no setting of a data store, an index or a spool."""
    (tmp_path / "samples").mkdir()
    (tmp_path / "samples" / "one.dcm").write_bytes(of(8, 1))
    environment = {"DATASTORE_ROOT": str(tmp_path / "data")}
    fill = [*PROGRAM, "import", str(tmp_path / "samples")]
    subprocess.run(fill, env={**os.environ, **environment}, check=True, capture_output=True)
    service = Service(tmp_path / "service", environment)
    try:
        posted = requests.post(
            f"{service.root}/studies", of(8, 2), headers={"Content-Type": "application/dicom"}, timeout=120
        )
        assert posted.status_code == 200, posted.text
        found = requests.get(f"{service.root}/studies/1.2.9.8/instances", timeout=60).json()
        assert sorted(one["00080018"]["Value"][0] for one in found) == ["1.2.9.8.1.1", "1.2.9.8.1.2"]
    finally:
        service.stop()
    with_none = Service(tmp_path / "other", {**environment, "STORE": "false"})
    try:
        assert requests.post(f"{with_none.root}/studies", b"", timeout=60).status_code == 405
    finally:
        with_none.stop()


class Sender:
    """Sends files, each until it is acknowledged, as a gateway does."""

    def __init__(self, storing: Storing) -> None:
        self.storing = storing
        self.acknowledged: list[str] = []

    def send(self, study: int, number: int) -> None:
        """Send an instance until it is acknowledged."""
        content = of(study, number)
        give_up_at = time.monotonic() + 240
        while time.monotonic() < give_up_at:
            with suppress(requests.RequestException, ValueError):
                answer = self.storing.post(content, timeout=60)
                if answer.status_code in (200, 202):
                    self.acknowledged += stored_uids(answer)
                    return
                assert answer.status_code in (502, 503), answer.text
            time.sleep(0.2)
        pytest.fail("it was never acknowledged")


def kill(pids: Sequence[int]) -> None:
    for pid in pids:
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)


def kill_supervisor(storing: Storing) -> None:
    """Kill the supervisor, and start the service again, as systemd does."""
    storing.service.process.kill()
    storing.service.process.wait(30)
    storing.start()


def kill_datastore(storing: Storing) -> None:
    storing.datastore.kill()
    storing.datastore.start()


VICTIMS: dict[str, Callable[[Storing], None]] = {
    "forwarder": lambda storing: kill(storing.service.named("forwarder")),
    "web process": lambda storing: kill(storing.service.named("web")[:1]),
    "data store": kill_datastore,
    "supervisor": kill_supervisor,
}


@pytest.mark.parametrize("answer", ["stored", "spooled"])
@pytest.mark.parametrize("victim", VICTIMS)
def test_nothing_acknowledged_is_lost_or_doubled_by_a_kill(tmp_path: Path, victim: str, answer: str) -> None:
    with storing(tmp_path, STORE_ANSWER=answer, STORE_WAIT_SECONDS="20") as running, ThreadPoolExecutor(4) as pool:
        running.datastore.faults("StoreDICOM:latency=100ms")  # so that something is under way when it is killed
        sender = Sender(running)
        sending = [pool.submit(sender.send, 1 + number % 3, number) for number in range(24)]
        for kills in (4, 12):
            wait_for(lambda least=kills: len(sender.acknowledged) >= least, 240)
            VICTIMS[victim](running)
        for one in sending:
            one.result()
        wait_for(lambda: running.spool.names() == [], 240)
        expected = sorted(f"1.2.9.{1 + number % 3}.1.{number}" for number in range(24))
        assert sorted(sender.acknowledged) == expected == running.found()
        assert all(found.is_primary for found in running.datastore.storage.image_sets())
        assert len(running.datastore.storage.image_sets()) == 3
        for uid in expected:
            study = uid.split(".")[3]
            assert running.retrieved(f"1.2.9.{study}", f"1.2.9.{study}.1", uid).status_code == 200
        assert running.spool.unknown() == [] and running.spool.refused() == []


def test_what_is_stored_after_its_answer_is_in_the_audit_trail(tmp_path: Path) -> None:
    trail = tmp_path / "audit.xml"
    with storing(tmp_path, STORE_ANSWER="spooled", AUDIT="file", AUDIT_FILE=str(trail)) as running:
        assert running.post(of(1, 1)).status_code == 202
        wait_for(lambda: running.spool.names() == [])
        assert running.post(of(1, 1, SeriesDescription="other")).status_code == 202
        wait_for(lambda: running.spool.names() == [] and len(running.spool.refused()) == 1)

        def forwarded() -> list[str]:
            return [line for line in trail.read_text().splitlines() if ">forwarded<" in line]

        wait_for(lambda: len(forwarded()) == 2)
        stored, refused = sorted(forwarded(), key=lambda line: "not stored" in line)
        assert "1.2.9.1.1.1" in stored and 'EventOutcomeIndicator="0"' in stored
        assert "1.2.9.1.1.1" in refused and "not stored, reason 0111H" in refused


@pytest.mark.slow
def test_a_large_request_takes_little_memory_in_all_processes(tmp_path: Path) -> None:
    """150 MB in one request: no process of the service grows by half of that."""
    pixels = np.zeros((1, 512, 512), np.uint16)
    uids = [f"1.2.9.7.1.{number}" for number in range(300)]
    series = {"StudyInstanceUID": "1.2.9.7", "SeriesInstanceUID": "1.2.9.7.1"}
    with storing(tmp_path, STORE_WAIT_SECONDS="600") as running:
        assert running.post(of(1, 1)).status_code == 200
        pid = running.service.process.pid
        before = {one.name: one.peak_bytes for one in memory(pid)}
        files = [file_of(with_pixels(pixels, SOPInstanceUID=uid, **series)) for uid in uids]
        assert running.post(*files, timeout=600).status_code == 200
        grown = {one.name: one.peak_bytes - before[one.name] for one in memory(pid) if one.name in before}
        assert grown.keys() >= {"web0", "web1", "forwarder"}
        assert max(grown.values()) < 64 * 2**20
        assert len(running.found(StudyInstanceUID="1.2.9.7")) == 300
