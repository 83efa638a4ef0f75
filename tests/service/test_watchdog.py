"""The whole service: each kind of process is replaced when it hangs or grows too large, and it is told."""

import os
import signal
import sys
import threading
import urllib.request
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

import pytest
import requests

from app.check_result import OK, WARNING, CheckResult
from app.commands.check import check_all
from app.processes.watchdog import START_SECONDS
from app.settings import Settings
from app.telemetry.metrics import replaced_processes
from tests.servers import free_port
from tests.service.archive import Sample
from tests.service.process import ROOT, Service, alive
from tests.service.watched import STUCK

Start = Callable[..., tuple[Service, int]]
PROCESSES = {"web": "web", "FF": "fetcher", "prefetch": "prefetch", "forwarder": "forwarder", "metrics": "metrics"}
"""How the name of a process begins, and how it is counted."""


@pytest.fixture
def start(datastore_root: Path, tmp_path: Path) -> Iterator[Start]:
    services: list[Service] = []

    def start(*, times: int = 0, **environment: str) -> tuple[Service, int]:
        """A service and the port of its metrics; `times` so much memory as it has counts."""
        port = free_port()
        own = {"DATASTORE_ROOT": str(datastore_root), "METRICS_PORT": str(port), "PYTHONPATH": str(ROOT)}
        own["SPOOL_ROOT"] = str(tmp_path / "spool")
        counts = {"WEB_PROCESSES": "1", "FRAME_FETCHERS": "1"}
        program = (sys.executable, "-m", "tests.service.watched", str(times))
        services.append(Service(tmp_path, {**counts, **own, **environment}, program=program))
        return services[-1], port

    yield start
    for service in services:
        assert service.stop() == 0


def finding(port: int | None, tmp_path: Path) -> CheckResult | None:
    """What `check` says of processes; nothing else of the settings is there."""
    url = "mysql+pymysql://reader:x@127.0.0.1:9/index"
    settings = Settings(
        database_url=url, aws_default_region="us-east-1", cache_root=tmp_path / "cache", metrics_port=port
    )
    return next((one for one in check_all(settings) if one.what == "processes"), None)


@pytest.mark.slow
def test_each_kind_of_process_is_replaced_when_it_is_frozen(start: Start, tmp_path: Path) -> None:
    service, port = start(WEB_PROCESSES="2")
    service.wait(lambda: (finding(port, tmp_path) or CheckResult("", "", "")).level == OK)  # metrics are told by now
    frozen = [service.named(name)[0] for name in PROCESSES]
    for pid in frozen:
        os.kill(pid, signal.SIGSTOP)
    service.wait(lambda: not any(map(alive, frozen)), START_SECONDS + 60)  # one that still starts has more time
    service.wait(lambda: [len(service.named(name)) for name in PROCESSES] == [2, 1, 1, 1, 1])
    service.wait(lambda: service.status("/health") == 200)
    assert counted(service, port) == {(kind, "hung"): 1 for kind in PROCESSES.values()}
    assert service.log.count("None came: it is frozen.") == len(PROCESSES)

    def warns() -> bool:
        found = finding(port, tmp_path)
        return bool(found and found.level == WARNING and "(hung)" in found.told and "process is hung" in found.advice)

    service.wait(warns)


@pytest.mark.slow
def test_a_deadlock_of_the_threads_of_a_web_process_is_found(start: Start) -> None:
    service, port = start(WEB_THREADS="4")  # of which one address has three
    (before,) = service.named("web")

    def ask(path: str) -> None:
        with suppress(OSError), urllib.request.urlopen(service.root + path, timeout=60) as answer:  # noqa: S310
            answer.read()

    stuck = [threading.Thread(target=ask, args=(f"/deadlock/{first}",)) for first in (0, 1, 0)]
    for thread in stuck:
        thread.start()
    service.wait(lambda: service.log.count(STUCK) == len(stuck))  # or a thread that is free answers the next ones
    waiting = [threading.Thread(target=ask, args=("/studies?limit=1",)) for _ in range(2)]
    for thread in waiting:
        thread.start()
    service.wait(lambda: service.named("web") not in ([], [before]), 60)
    for thread in (*stuck, *waiting):
        thread.join(60)
    service.wait(lambda: service.status("/live") == 200)
    assert "work waits and no thread makes a step; killing it name=web0" in service.log
    assert "in hold_and_wait" in service.log
    assert counted(service, port) == {("web", "hung"): 1}


@pytest.mark.slow
def test_processes_that_grew_too_large_are_replaced_without_losing_a_request(
    start: Start, samples: dict[str, Sample]
) -> None:
    service, port = start(times=100, MEMORY_MAX=str(2**30), WEB_PROCESSES="2")
    before = service.children()
    study, series, instance = samples["CT_small.dcm"].uids
    one = f"/studies/{study}/series/{series}/instances/{instance}"
    windows = (f"{one}/rendered?window={number},400,linear" for number in range(10**6))
    statuses: Counter[int] = Counter()
    done = threading.Event()

    def ask(keep: bool) -> None:
        with requests.Session() as session:
            while not done.is_set():
                for path in (f"{one}/frames/1", next(windows), "/studies?limit=3"):
                    get = session.get if keep else requests.get
                    statuses[get(service.root + path, timeout=60).status_code] += 1

    clients = [threading.Thread(target=ask, args=(number % 2 == 0,)) for number in range(4)]
    for client in clients:
        client.start()
    try:
        replaced = {(kind, "memory") for kind in PROCESSES.values()}
        service.wait(lambda: _replaced(port).keys() == replaced, 60)
        asked = statuses.total()
        service.wait(lambda: statuses.total() > asked + 60, 60)
    finally:
        done.set()
        for client in clients:
            client.join()
    assert set(statuses) == {200}
    assert counted(service, port)["web", "memory"] <= 4  # the next ones are over it at once, and live for a while
    service.wait(lambda: len(before & service.children()) == 1, 90)  # the data store
    assert not [line for line in service.log.splitlines() if "Traceback" in line or "fetcher lost" in line]


def counted(service: Service, port: int) -> dict[tuple[str, str], int]:
    """What was replaced, of which there is something, as soon as the process that tells has time to answer."""
    found: dict[tuple[str, str], int] = {}
    service.wait(lambda: bool(found.update(_replaced(port)) or found))
    return found


def _replaced(port: int) -> dict[tuple[str, str], int]:
    with suppress(OSError):  # the one that tells is just being replaced
        return replaced_processes("127.0.0.1", port)
    return {}


def test_a_service_that_cannot_be_asked_is_told(tmp_path: Path) -> None:
    assert finding(None, tmp_path) is None
    silent = finding(free_port(), tmp_path)
    assert silent and silent.level == WARNING and silent.advice
