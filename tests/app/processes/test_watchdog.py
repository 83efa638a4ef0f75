"""Hung and overgrown processes are found and replaced; what is slow, asleep, starting or was stopped is left alone."""

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from ahi.workers.pool import FetcherPool
from app.processes import watchdog
from app.processes.watchdog import (
    ROUND_SECONDS,
    SILENT_SECONDS,
    START_SECONDS,
    GrowthDetector,
    HangDetector,
    own_bytes,
    processor_seconds,
)
from app.telemetry.replacements import ProcessKind, Reason, Replacements
from runtime.heartbeat import Heartbeat, Pulse
from tests.app.processes import watched
from tests.crowd.pythons import VERSIONS, find_interpreter

ROOT = Path(__file__).parents[3]


class Told(Heartbeat):
    """A heartbeat that was told."""

    def __init__(self, pulse: Pulse) -> None:
        super().__init__()
        self.told = pulse

    @property
    def pulse(self) -> Pulse:
        return self.told


@dataclass
class One:
    """A process as the watchdog sees it."""

    heartbeat: Told = field(default_factory=lambda: Told(Pulse()))
    pid: int = -1
    name: str = "web0"
    kind: object = ProcessKind.WEB
    started_at: float = 0.0
    silent_seconds: float | None = SILENT_SECONDS


def watch(hangs: HangDetector, *processes: One, start: float, until: float) -> float | None:
    """When one was found to be hung, by a look in each second."""
    now = start
    while now <= until:
        if hangs.look(processes, now):
            return now
        now += ROUND_SECONDS
    return None


@pytest.mark.parametrize(
    ("pulse", "found"),
    [
        pytest.param(Pulse(), START_SECONDS, id="it never begins to listen"),
        pytest.param(Pulse(listened_at=9), 9 + SILENT_SECONDS, id="its loop stands still"),
        pytest.param(Pulse(1e9, stepped_at=5), None, id="nothing waits"),
        pytest.param(Pulse(1e9, stepped_at=5, waiting_since=12), 12 + SILENT_SECONDS, id="work waits"),
        pytest.param(Pulse(1e9, 5, expected_until=60, waiting_since=12), 60 + SILENT_SECONDS, id="it may take long"),
    ],
)
def test_what_is_hung_and_when(pulse: Pulse, found: float | None) -> None:
    at = watch(HangDetector(0), One(Told(pulse)), start=0, until=500)
    assert at is None if found is None else at is not None and found < at <= found + 2 * ROUND_SECONDS


def test_what_has_no_heart_is_not_judged() -> None:
    assert watch(HangDetector(0), One(silent_seconds=None), start=0, until=500) is None


def test_time_in_which_the_supervisor_did_not_run_is_not_counted() -> None:
    hangs, one = HangDetector(0), One(Told(Pulse(listened_at=5)))
    assert watch(hangs, one, start=0, until=10) is None
    at = watch(hangs, one, start=1000, until=2000)
    assert at is not None and at > 1000 + SILENT_SECONDS


def test_hung_processes_of_a_kind_are_ended_one_after_another() -> None:
    hangs = HangDetector(0)
    several = [One(Told(Pulse(listened_at=1)), pid=-number, name=f"web{number}") for number in range(3)]
    other = One(Told(Pulse(listened_at=1)), name="FF0", kind=ProcessKind.FETCHER)
    assert watch(hangs, *several, start=0, until=30) == 22
    hangs.end(several[0], 22)
    assert hangs.look(several[1:], 23) is None
    assert hangs.look([*several[1:], other], 23) is not None
    assert hangs.look(several[1:], 26) is None
    assert hangs.look(several[1:], 28) is not None


def test_one_that_replaced_a_hung_one_is_given_twice_the_time() -> None:
    hangs, one = HangDetector(0), One(Told(Pulse(listened_at=1)))
    hangs.end(one, 0)
    at = watch(hangs, one, start=0, until=500)
    assert at is not None and at > 1 + 2 * SILENT_SECONDS
    hour_later = One(Told(Pulse(listened_at=4000)))
    at = watch(hangs, hour_later, start=4000, until=4500)
    assert at is not None and at < 4000 + 1.5 * SILENT_SECONDS


@pytest.mark.parametrize(("share", "found"), [(0.05, 20), (1.0, 20 + 300)])
def test_who_computes_is_believed_for_a_while(monkeypatch: pytest.MonkeyPatch, share: float, found: float) -> None:
    clock = [0.0]
    monkeypatch.setattr(watchdog, "processor_seconds", lambda _pid: share * clock[0])
    hangs, one = HangDetector(0), One(Told(Pulse(1e9, 0.5, 0, 0.5)))
    while not hangs.look([one], clock[0]):
        clock[0] += ROUND_SECONDS
        assert clock[0] < 1000
    assert found < clock[0] <= found + 2 * ROUND_SECONDS


def test_only_who_stays_too_large_is_found_and_not_again_and_again(monkeypatch: pytest.MonkeyPatch) -> None:
    sizes = {1: 50, 2: 50}
    monkeypatch.setattr(watchdog, "own_bytes", lambda pid: sizes[pid])
    growth = GrowthDetector(max_bytes=100)
    peak, steady = One(pid=1, name="web0"), One(pid=2, name="web1")
    found: list[float] = []
    for second in range(1, 1000):
        sizes = {1: 500 if second % 20 < 10 else 50, 2: 500}
        for one, size in growth.look([peak, steady], float(second)):
            assert (one, size) == (steady, 500)
            found.append(second)
            steady.started_at = second  # the next one is over it at once
    assert len(found) == 5
    assert 10 <= found[0] <= 16
    assert all(later - earlier >= 60 * 2**place for place, (earlier, later) in enumerate(zip(found, found[1:])))  # noqa: B905
    assert not GrowthDetector(max_bytes=0).look([steady], 1e6)


def test_memory_and_processor_of_a_process_are_seen() -> None:
    before, grown = own_bytes(os.getpid()), bytearray(b"x" * 2**26)
    assert 2**25 < own_bytes(os.getpid()) - before < 2**28
    del grown
    assert processor_seconds(os.getpid()) > 0
    assert (own_bytes(2**30), processor_seconds(2**30)) == (0, 0)


def test_replacements_are_counted_for_all_who_share_them() -> None:
    replacements = Replacements()
    pid = os.fork()
    if pid == 0:
        for _ in range(2):
            replacements.count(ProcessKind.WEB, Reason.HUNG)
        os._exit(0)
    os.waitpid(pid, 0)
    totals = dict(replacements.totals())
    assert totals.pop((ProcessKind.WEB, Reason.HUNG)) == 2
    assert set(totals.values()) == {0}


class Family:
    """A supervisor with such children as a real process, in a process group of its own."""

    def __init__(self, folder: Path, *names: str, python: str = sys.executable) -> None:
        self.folder, self.names = folder, names
        command = [python, "-m", "tests.app.processes.watched", str(folder), *names]
        with (folder / "log").open("wb") as log:
            self.process = subprocess.Popen(command, cwd=ROOT, stderr=log, start_new_session=True)
        for name in names:
            self.wait(lambda name=name: bool(self.pids(name)))  # type: ignore[misc]

    @property
    def log(self) -> str:
        return (self.folder / "log").read_text()

    def pids(self, name: str) -> list[int]:
        """Oldest first."""
        paths = sorted(self.folder.glob(f"{name}.*"), key=lambda path: path.stat().st_mtime_ns)
        return [int(path.suffix[1:]) for path in paths]

    def wait(self, condition: Callable[[], bool], seconds: float = 60) -> None:
        deadline = time.monotonic() + seconds
        while not condition():
            assert time.monotonic() < deadline, self.log
            time.sleep(0.05)

    def fetchers(self) -> FetcherPool:
        return FetcherPool([str(self.folder / "socket")])

    def replaced(self) -> set[str]:
        """End it; what it counted."""
        self.process.terminate()
        self.process.wait(timeout=60)
        return {line.partition(" ")[2] for line in self.log.splitlines() if line.startswith("replaced ")}

    def close(self) -> None:
        os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait()


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Callable[..., Family]]:
    families: list[Family] = []

    def start(*names: str, python: str = sys.executable) -> Family:
        families.append(Family(tmp_path, *names, python=python))
        return families[-1]

    yield start
    for family in families:
        if family.process.poll() is None:
            family.close()


@pytest.fixture(params=VERSIONS)
def python(request: pytest.FixtureRequest) -> str:
    """An interpreter of each version that the project promises."""
    found = find_interpreter(request.param)
    if found is None:
        pytest.skip(f"Python {request.param} is not on this machine, or script/pythons was not run")
    return str(found)


@pytest.mark.service
@pytest.mark.slow
def test_a_frozen_process_is_replaced_and_cannot_say_where_it_is(start: Callable[..., Family], python: str) -> None:
    family = start("beat", "asleep", python=python)
    (pid,), others = family.pids("beat"), family.pids("asleep")
    os.kill(pid, signal.SIGSTOP)
    family.wait(lambda: len(family.pids("beat")) == 2)
    assert "process is hung: its listening loop stands still; killing it name=beat" in family.log
    assert "None came: it is frozen." in family.log
    assert family.pids("asleep") == others
    assert family.replaced() == {"web hung 1"}


@pytest.mark.service
@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "why", "functions"),
    [
        ("backtrack", "its listening loop stands still", ["backtrack"]),
        ("deadlock", "work waits and no thread makes a step", ["hold_and_wait", "beat"]),
    ],
)
def test_a_hung_process_says_where_its_threads_are(
    start: Callable[..., Family], python: str, name: str, why: str, functions: list[str]
) -> None:
    family = start(name, python=python)
    family.wait(lambda: len(family.pids(name)) == 2)
    assert f"process is hung: {why}; killing it name={name}" in family.log
    for function in functions:
        assert f"in {function}" in family.log
    assert watched.TOLD not in family.log
    time.sleep(2 * watched.SILENT_SECONDS)  # the next one is well
    assert family.replaced() == {"web hung 1"}


@pytest.mark.service
@pytest.mark.slow
def test_nobody_is_killed_after_the_machine_was_suspended(start: Callable[..., Family]) -> None:
    family = start("beat", "asleep", "fetcher")
    before = {name: family.pids(name) for name in family.names}
    group = [family.process.pid, *(pid for pids in before.values() for pid in pids)]
    for pid in group:
        os.kill(pid, signal.SIGSTOP)
    time.sleep(3 * watched.SILENT_SECONDS)
    for pid in group:
        os.kill(pid, signal.SIGCONT)
    time.sleep(3 * watched.SILENT_SECONDS)
    assert {name: family.pids(name) for name in family.names} == before
    assert family.replaced() == set()


@pytest.mark.service
@pytest.mark.slow
def test_who_waits_for_a_frozen_fetcher_is_answered_by_the_next(start: Callable[..., Family]) -> None:
    family = start("fetcher")
    fetchers = family.fetchers()
    frozen = fetchers.run("a", watched.process)
    pending = [fetchers.submit("a", watched.slow_process, 1 + number / 1000) for number in range(2)]
    os.kill(frozen, signal.SIGSTOP)
    pending += [fetchers.submit("a", watched.slow_process, number / 1000) for number in range(5)]
    answered = {one.result() for one in pending}
    assert len(answered) == 1
    assert frozen not in answered
    assert family.replaced() == {"fetcher hung 1"}


@pytest.mark.service
@pytest.mark.slow
def test_a_fetcher_whose_threads_are_in_a_deadlock_is_replaced(start: Callable[..., Family]) -> None:
    family = start("fetcher")
    fetchers = family.fetchers()
    before = fetchers.run("a", watched.process)
    stuck = [fetchers.submit("a", watched.deadlock_once, first) for first in (0, 1)]
    time.sleep(1)
    waiting = fetchers.submit("a", watched.process)
    answered = {one.result() for one in (*stuck, waiting)}
    assert len(answered) == 1
    assert before not in answered
    assert "in hold_and_wait" in family.log
    assert family.replaced() == {"fetcher hung 1"}


@pytest.mark.service
@pytest.mark.slow
def test_a_fetcher_that_works_for_long_while_others_wait_is_left_alone(start: Callable[..., Family]) -> None:
    family = start("fetcher")
    fetchers = family.fetchers()
    seconds = 5 * watched.SILENT_SECONDS
    working = [fetchers.submit("a", watched.compute, seconds + number / 1000) for number in range(2)]
    time.sleep(0.5)
    waiting = fetchers.submit("a", watched.slow_process, 0.01)
    pids = {one.result() for one in (*working, waiting)}
    assert pids == set(family.pids("fetcher"))
    assert family.replaced() == set()


@pytest.mark.service
@pytest.mark.slow
def test_a_fetcher_that_grew_too_large_is_replaced_without_losing_a_job(start: Callable[..., Family]) -> None:
    family = start("fetcher")
    fetchers, done = family.fetchers(), threading.Event()
    grown = fetchers.run("a", watched.grow)
    began = [fetchers.submit("a", watched.slow_process, 3 + number / 1000) for number in range(2)]

    def ask(client: int) -> tuple[int, set[int]]:
        """How many questions were answered, and by whom."""
        count, pids = 0, set()
        while not done.is_set():
            number = client * 10**6 + count
            pids.add(fetchers.run("a", watched.process, number))
            assert fetchers.run("a", watched.large, number) == bytes([number % 256]) * 2**21
            count += 2
        return count, pids

    with ThreadPoolExecutor(6) as threads:
        asking = [threads.submit(ask, client) for client in range(6)]
        try:
            family.wait(lambda: len(family.pids("fetcher")) == 2)
            assert [one.result() for one in began] == [grown, grown]  # it finishes what it has begun
            family.wait(lambda: not Path(f"/proc/{grown}").exists())
            time.sleep(1)
        finally:
            done.set()
        answers = [one.result() for one in asking]
    assert all(count > 0 for count, _ in answers)
    assert set().union(*(pids for _, pids in answers)) == set(family.pids("fetcher"))
    assert "process is over MEMORY_MAX, replacing it name=fetcher" in family.log
    assert "fetcher lost" not in family.log
    assert family.replaced() == {"fetcher memory 1"}
