"""The embedded service as a process: how it starts, how it ends, and that nothing is left of it."""

import os
import signal
import socket
import threading
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.service.ahi import Ahi
from tests.service.archive import Sample
from tests.service.process import Service, alive
from tests.waiting import PATIENCE_SECONDS, wait_for

DEADLINE_SECONDS = 60


@pytest.fixture
def slow(ahi: Ahi, tmp_path: Path) -> Iterator[Service]:
    """A service that waits long for an AHI of its own, which tests make slow."""
    service = Service(tmp_path, ahi.environment(AHI_DEADLINE_SECONDS=str(DEADLINE_SECONDS)))
    yield service
    ahi.faults("")
    service.process.kill()
    service.process.wait()


@pytest.fixture
def embedded(datastore_root: Path, tmp_path: Path) -> Iterator[Service]:
    """A service of its own, with its data store."""
    service = Service(tmp_path, {"DATASTORE_ROOT": str(datastore_root)})
    yield service
    service.process.kill()
    service.process.wait()


class Download(threading.Thread):
    """One request, in the background."""

    def __init__(self, url: str) -> None:
        super().__init__()
        self._url = url
        self.body: bytes | None = None
        self.length = -1

    def run(self) -> None:
        with urllib.request.urlopen(self._url, timeout=PATIENCE_SECONDS) as answer:  # noqa: S310 - our own loopback
            self.length = int(answer.headers["Content-Length"])
            self.body = answer.read()


def test_the_log_tells_of_the_start(service: Service) -> None:
    log = service.log
    assert log.index("[Startup] - Forking FrameFetcher FF0") < log.index("QIDO/WADO-RS service started.")
    assert f"browser    http://127.0.0.1:{service.port}/\n" in log
    assert f"DICOMweb   http://127.0.0.1:{service.port}/aetitle" in log


def test_sigterm_finishes_what_is_being_answered_and_leaves_no_process(
    slow: Service, ahi: Ahi, samples: dict[str, Sample]
) -> None:
    sample = samples["CT_small.dcm"]
    study, series, instance = sample.uids
    assert slow.status(f"/studies/{study}/metadata") == 200
    children = slow.children()
    assert len(children) >= 3  # fetchers, web
    ahi.calls()
    ahi.faults("GetImageFrame:latency=2s")
    download = Download(f"{slow.root}/studies/{study}/series/{series}/instances/{instance}/frames/1")
    download.start()
    slow.wait(lambda: "GetImageFrame" in ahi.calls())  # it is being answered now, and waits for its frame
    assert slow.stop() == 0
    download.join()
    assert download.body is not None
    assert len(download.body) == download.length > 128 * 128 * 2
    assert not any(map(alive, children))


def test_sigterm_is_the_end_within_ten_seconds_for_who_is_still_waiting(
    slow: Service, ahi: Ahi, samples: dict[str, Sample]
) -> None:
    study, series, instance = samples["CT_small.dcm"].uids
    children = slow.children()
    ahi.calls()
    ahi.faults(f"GetImageFrame:latency={DEADLINE_SECONDS}s")
    with socket.create_connection(("127.0.0.1", slow.port), 60) as connection:
        path = f"/aetitle/studies/{study}/series/{series}/instances/{instance}/frames/1"
        connection.sendall(f"GET {path} HTTP/1.1\r\nHost: localhost\r\n\r\n".encode())
        slow.wait(lambda: "GetImageFrame" in ahi.calls())  # it is being answered now, and waits for its frame
        began = time.monotonic()
        assert slow.stop() == 0
        seconds = time.monotonic() - began
    assert 5 < seconds < DEADLINE_SECONDS / 2  # it was given time first; the rest is what a busy machine may take
    assert not any(map(alive, children))


def test_no_orphan_is_left_when_the_parent_is_killed(embedded: Service) -> None:
    children = embedded.children()
    assert len(children) >= 4  # data store, fetchers, web
    embedded.process.send_signal(signal.SIGKILL)
    embedded.process.wait()
    wait_for(lambda: not any(map(alive, children)))


def test_a_dead_fetcher_and_a_dead_web_process_are_replaced(embedded: Service, samples: dict[str, Sample]) -> None:
    study = samples["CT_small.dcm"].study_instance_uid
    before = embedded.children()
    for pid in before - set(embedded.all_named("datastore", 1)):
        os.kill(pid, signal.SIGKILL)
    embedded.wait(lambda: embedded.status(f"/studies/{study}/metadata") == 200)
    embedded.wait(lambda: len(embedded.children()) == len(before))


def test_a_wrong_setting_stops_the_start_with_a_line_for_each(tmp_path: Path) -> None:
    with pytest.raises(AssertionError):
        Service(tmp_path, {"WEB_THREADS": "many", "LOG_LEVEL": "loud"})
    lines = (tmp_path / "log").read_text().splitlines()
    assert [line.split()[0] for line in lines] == ["WEB_THREADS", "LOG_LEVEL"]


@pytest.mark.slow
def test_a_hangup_that_is_meant_for_the_parent_makes_no_process_leave(
    ahi: Ahi, samples: dict[str, Sample], tmp_path: Path
) -> None:
    """`pkill -HUP` reaches every process; one that left would listen no more while a client is still being answered."""
    counts = {"WEB_PROCESSES": "1", "FRAME_FETCHERS": "1"}
    service = Service(tmp_path, ahi.environment(AHI_DEADLINE_SECONDS=str(DEADLINE_SECONDS), **counts))
    ahi.calls()
    ahi.faults("GetImageFrame:latency=8s")
    children = service.children()
    study, series, instance = samples["CT_small.dcm"].uids
    download = Download(f"{service.root}/studies/{study}/series/{series}/instances/{instance}/frames/1")
    download.start()
    service.wait(lambda: "GetImageFrame" in ahi.calls())
    for pid in children:
        os.kill(pid, signal.SIGHUP)
    time.sleep(1)
    assert service.status("/live") == 200
    download.join()
    assert download.body is not None
    assert service.children() == children
    assert service.stop() == 0


@pytest.mark.slow
def test_frozen_processes_do_not_make_the_end_later(datastore_root: Path, tmp_path: Path) -> None:
    service = Service(tmp_path, {"DATASTORE_ROOT": str(datastore_root)})
    for pid in service.children():
        os.kill(pid, signal.SIGSTOP)
    began = time.monotonic()
    assert service.stop() == 0
    assert time.monotonic() - began < DEADLINE_SECONDS / 2
