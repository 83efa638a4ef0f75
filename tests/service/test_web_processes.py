"""Several web processes are one service: one port, one fetch for all of them, and none that is missed when it dies."""

import http.client
import os
import signal
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, closing
from pathlib import Path

import pytest
import requests

from tests.service.ahi import Ahi
from tests.service.archive import Sample
from tests.service.process import Service

WEB_PROCESSES = 3
ONE_FRAME = {"Accept": 'multipart/related; type="application/octet-stream"'}


@pytest.fixture
def several(datastore_root: Path, ahi: Ahi, tmp_path: Path) -> Iterator[Service]:
    """A service with an empty cache."""
    environment = {
        **ahi.environment(),
        "WEB_PROCESSES": str(WEB_PROCESSES),
    }
    service = Service(tmp_path, environment)
    yield service
    assert service.stop() == 0


def test_a_killed_web_process_is_replaced_and_the_others_answer_meanwhile(several: Service) -> None:
    before = several.all_named("web", WEB_PROCESSES)
    os.kill(before[0], signal.SIGKILL)
    assert [several.status("/studies?limit=1") for _ in range(20)] == [200] * 20
    several.wait(lambda: before[0] not in several.named("web"))
    assert set(before[1:]) < set(several.all_named("web", WEB_PROCESSES))


def test_every_web_process_takes_connections(several: Service) -> None:
    before = {pid: _cpu_ticks(pid) for pid in several.all_named("web", WEB_PROCESSES)}

    def all_have_worked() -> bool:
        with ThreadPoolExecutor(24) as threads:
            list(threads.map(lambda _: several.status("/studies?limit=25"), range(240)))
        return all(_cpu_ticks(pid) > ticks for pid, ticks in before.items())

    several.wait(all_have_worked)


def _taken(service: Service, count: int) -> list[int]:
    """How many of so many connections each web process takes."""
    with ExitStack() as stack:
        made = [
            stack.enter_context(closing(http.client.HTTPConnection("127.0.0.1", service.port))) for _ in range(count)
        ]
        for connection in made:
            connection.connect()
        for connection in made:
            connection.request("GET", "/aetitle/live")
            assert connection.getresponse().read()
        ours = {f"127.0.0.1:{connection.sock.getsockname()[1]}" for connection in made}
        return [len(_peers(pid, service.port) & ours) for pid in service.named("web")]


def _peers(pid: int, port: int) -> set[str]:
    """Who is connected to the port in this process."""
    links = (os.readlink(path) for path in Path(f"/proc/{pid}/fd").iterdir() if path.is_symlink())  # noqa: PTH115
    inodes = {link[len("socket:[") : -1] for link in links if link.startswith("socket:[")}
    rows = (line.split() for line in Path(f"/proc/{pid}/net/tcp").read_text().splitlines()[1:])
    found = ((row[1], row[2]) for row in rows if row[9] in inodes)
    return {f"127.0.0.1:{int(peer.split(':')[1], 16)}" for own, peer in found if int(own.split(":")[1], 16) == port}


def _cpu_ticks(pid: int) -> int:
    """User time in hundredths of a second."""
    return int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[11])


def test_who_waits_for_a_fetcher_holds_up_nobody(several: Service, samples: dict[str, Sample]) -> None:
    study, series, instance = samples["CT_small.dcm"].uids
    paths = [f"/studies/{study}/series/{series}/instances/{instance}/{what}" for what in ("frames/1", "rendered")]
    fetchers = several.named("FF")
    assert fetchers
    for pid in fetchers:
        os.kill(pid, signal.SIGSTOP)
    with ThreadPoolExecutor(12) as threads:
        waiting = [threads.submit(several.status, paths[number % 2]) for number in range(12)]
        try:
            assert [several.status(path) for path in 10 * ["/live", f"/studies?StudyInstanceUID={study}"]] == [200] * 20
            assert not any(one.done() for one in waiting)
        finally:
            for pid in fetchers:
                os.kill(pid, signal.SIGCONT)
        assert [one.result() for one in waiting] == [200] * 12


def test_what_fifty_ask_for_at_once_is_fetched_once(several: Service, ahi: Ahi, samples: dict[str, Sample]) -> None:
    study, series, instance = samples["CT_small.dcm"].uids
    url = f"{several.root}/studies/{study}/series/{series}/instances/{instance}/frames/1"
    ahi.calls()
    ahi.faults("*:latency=200ms")
    with ThreadPoolExecutor(50) as threads:
        answers = list(threads.map(lambda _: requests.get(url, headers=ONE_FRAME, timeout=60), range(50)))
    ahi.faults("")
    assert {(answer.status_code, answer.content) for answer in answers} == {(200, answers[0].content)}
    assert ahi.calls() == {"GetImageSet": 1, "GetImageSetMetadata": 1, "GetImageFrame": 1}


def test_a_study_opened_by_twenty_costs_as_much_as_by_one(
    several: Service, ahi: Ahi, samples: dict[str, Sample]
) -> None:
    sample = samples["emri_small_jpeg_2k_lossless.dcm"]
    frames = int(sample.read().NumberOfFrames)
    ahi.calls()
    ahi.faults("GetImageFrame:latency=50ms")

    def open_study(viewer: int) -> set[int]:
        study, series, instance = sample.uids
        form = "*" if viewer % 2 else "1.2.840.10008.1.2.1"
        accept = {"Accept": f'multipart/related; type="application/octet-stream"; transfer-syntax={form}'}
        paths = [f"/series/{series}/instances/{instance}/frames/{number + 1}" for number in range(frames)]
        urls = [f"{several.root}/studies/{study}{path}" for path in ("/metadata", *paths)]
        with requests.Session() as session:
            return {
                session.get(url, headers=accept if "/frames/" in url else {}, timeout=60).status_code for url in urls
            }

    with ThreadPoolExecutor(20) as threads:
        assert set().union(*threads.map(open_study, range(20))) == {200}
    ahi.faults("")
    assert ahi.calls() == {"GetImageSet": 1, "GetImageSetMetadata": 1, "GetImageFrame": frames}
