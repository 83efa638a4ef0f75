"""Processes live and die together: replaced when they die, drained and ended on SIGTERM, gone with their parent."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.waiting import PATIENCE_SECONDS, wait_for

pytestmark = pytest.mark.service

ROOT = Path(__file__).parents[3]

PROGRAM = """
import os, pathlib, signal, sys, threading, time
from app.check_board import CheckBoard
from app.check_result import OK, CheckResult
from app.processes import self_check
from app.processes.supervisor import Child, Supervisor

folder = pathlib.Path(sys.argv[1])

def mark(name):
    (folder / f"{name}.{os.getpid()}").touch()

def worker(place):
    mark("worker")
    time.sleep(600)

def drainer(place):
    def finish(*_):
        time.sleep(1)
        mark("drained")
        os._exit(0)
    signal.signal(signal.SIGTERM, finish)
    mark("drainer")
    while True:
        time.sleep(600)

def slow(place):
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    mark("slow")
    while True:
        time.sleep(600)

def stubborn(place):
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    mark("stubborn")
    time.sleep(600)

def of_someone_else():
    while True:
        time.sleep(600)

def checked():
    mark("check")
    if "late" in sys.argv:
        time.sleep(600)
    if "failing" in sys.argv:
        raise ValueError("it cannot be checked")
    return [CheckResult("cache", OK, "writable")]

board = CheckBoard()

def on_round():
    check.look()
    if "asked" in sys.argv and not board.state().report and not board.state().has_failed:
        board.ask()
    if board.state().report:
        mark("published")
    if board.state().has_failed:
        mark("failed")

if "thread" in sys.argv:
    threading.Thread(target=of_someone_else, daemon=True).start()
supervisor = Supervisor()
self_check.DEADLINE_SECONDS = 1.0 if "late" in sys.argv else 60.0
check = self_check.SelfCheck(supervisor, board, checked)
if "broken" in sys.argv:
    def on_round():
        mark("round")
        raise ValueError("a mistake of ours")
supervisor.start(Child("worker", worker))
supervisor.start(Child("drainer", drainer, drains_seconds=30))
if "stubborn" in sys.argv:
    supervisor.start(Child("stubborn", stubborn))
drains_seconds = 120 if "patient" in sys.argv else 2
if "renewing" in sys.argv:
    supervisor.start(Child("slow", slow, drains_seconds=drains_seconds, leaves=True))

if "full" in sys.argv:
    fork, failures = os.fork, []
    def no_fork():
        if len(failures) < 3:
            failures.append(1)
            raise BlockingIOError(11, os.strerror(11))
        return fork()
    os.fork = no_fork

times = []
def renew():
    if times:
        mark("renewing")
    times.append(1)
    supervisor.renew([Child("slow", slow, drains_seconds=drains_seconds, leaves=True)])

supervisor.run(on_hangup=renew, on_round=on_round)
"""


class Family:
    """A supervisor as a real process, and what its children report."""

    def __init__(self, folder: Path, *extra: str) -> None:
        self.folder = folder
        self.process = subprocess.Popen(
            [sys.executable, "-c", PROGRAM, str(folder), *extra], cwd=ROOT, stderr=subprocess.DEVNULL
        )

    def pids(self, name: str) -> set[int]:
        return {int(path.suffix[1:]) for path in self.folder.glob(f"{name}.*")}

    def ended(self) -> int:
        """The status of its end."""
        return self.process.wait(timeout=PATIENCE_SECONDS)

    def one(self, name: str) -> int:
        wait_for(lambda: bool(self.pids(name)))
        return next(iter(self.pids(name)))


def _alive(pid: int) -> bool:
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except FileNotFoundError:
        return False
    return state != "Z"


@pytest.fixture
def family(tmp_path: Path) -> Iterator[Family]:
    family = Family(tmp_path)
    yield family
    family.process.kill()
    family.process.wait()


def test_a_child_that_dies_is_replaced(family: Family) -> None:
    first = family.one("worker")
    os.kill(first, signal.SIGKILL)
    wait_for(lambda: len(family.pids("worker")) == 2)
    assert not _alive(first)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_to_end_lets_work_finish(family: Family, number: signal.Signals) -> None:
    children = [family.one("worker"), family.one("drainer")]
    family.process.send_signal(number)
    assert family.ended() == 0
    assert family.pids("drained") == {children[1]}
    assert not any(map(_alive, children))


def test_who_does_not_end_is_ended(tmp_path: Path) -> None:
    family = Family(tmp_path, "stubborn")
    stubborn = family.one("stubborn")
    family.one("drainer")
    family.process.terminate()
    assert family.ended() == 0
    assert not _alive(stubborn)


@pytest.mark.parametrize("extra", [(), ("thread",)])
def test_all_that_die_are_replaced_whatever_other_threads_there_are(tmp_path: Path, extra: tuple[str, ...]) -> None:
    """A thread that is not the supervisor's is given the signals that this one does not wait for just then."""
    family = Family(tmp_path, *extra)
    names = ("worker", "drainer")
    for pid in [family.one(name) for name in names]:  # soon after the start: it waits before it starts one again
        os.kill(pid, signal.SIGKILL)
        time.sleep(0.1)
    wait_for(lambda: all(len(family.pids(name)) == 2 for name in names))
    family.process.terminate()
    assert family.ended() == 0


def test_a_signal_to_end_is_not_lost_while_others_are_renewed(tmp_path: Path) -> None:
    family = Family(tmp_path, "renewing")
    leaving = family.one("slow")
    family.process.send_signal(signal.SIGHUP)
    wait_for(lambda: len(family.pids("slow")) == 2)
    family.process.send_signal(signal.SIGHUP)  # waits for who has not left
    wait_for(lambda: bool(family.pids("renewing")))
    family.process.terminate()
    assert family.ended() == 0
    assert not _alive(leaving)


def test_all_are_watched_while_one_that_is_to_leave_drains(tmp_path: Path) -> None:
    family = Family(tmp_path, "renewing", "patient")
    worker = family.one("worker")
    for number in (2, 3):
        family.process.send_signal(signal.SIGHUP)
        wait_for(lambda number=number: len(family.pids("slow")) == number or bool(family.pids("renewing")))
    os.kill(worker, signal.SIGKILL)
    wait_for(lambda: len(family.pids("worker")) == 2)
    assert len(family.pids("slow")) == 2  # the third one still has no place
    family.process.kill()
    family.process.wait()


def test_the_place_of_one_that_does_not_end_is_taken_in_time(tmp_path: Path) -> None:
    family = Family(tmp_path, "renewing")
    first = family.one("slow")
    family.process.send_signal(signal.SIGHUP)
    wait_for(lambda: len(family.pids("slow")) == 2)
    for _ in range(3):
        family.process.send_signal(signal.SIGHUP)
    wait_for(lambda: len(family.pids("slow")) == 3)
    assert not _alive(first)
    family.process.terminate()
    assert family.ended() == 0


def test_no_orphan_outlives_a_killed_parent(family: Family) -> None:
    children = [family.one("worker"), family.one("drainer")]
    family.process.kill()
    wait_for(lambda: not any(map(_alive, children)))


def test_a_machine_without_room_for_a_process_ends_nothing(tmp_path: Path) -> None:
    family = Family(tmp_path, "renewing", "full")
    first = family.one("worker")
    old = family.one("slow")
    family.process.send_signal(signal.SIGHUP)  # nobody can take its place: it stays
    time.sleep(1)
    assert _alive(old)
    os.kill(first, signal.SIGKILL)
    wait_for(lambda: len(family.pids("worker")) == 2)
    family.process.send_signal(signal.SIGHUP)
    wait_for(lambda: len(family.pids("slow")) == 2)
    family.process.terminate()
    assert family.ended() == 0


def test_a_check_runs_once_and_shows_its_results(tmp_path: Path) -> None:
    family = Family(tmp_path, "asked")
    try:
        first = family.one("check")
        family.one("published")
        wait_for(lambda: not _alive(first))
        os.kill(family.one("worker"), signal.SIGKILL)
        wait_for(lambda: len(family.pids("worker")) == 2)  # rounds have gone by
        assert family.pids("check") == {first}
    finally:
        family.process.kill()
        family.process.wait()


@pytest.mark.parametrize("how", ["late", "failing"])
def test_a_check_that_hangs_or_fails_is_ended_and_told(tmp_path: Path, how: str) -> None:
    family = Family(tmp_path, "asked", how)
    try:
        checking = family.one("check")
        family.one("failed")
        wait_for(lambda: not _alive(checking))
        assert not family.pids("published")
    finally:
        family.process.kill()
        family.process.wait()


def test_a_check_ends_with_the_service(tmp_path: Path) -> None:
    family = Family(tmp_path, "asked", "late")
    checking = family.one("check")
    family.process.send_signal(signal.SIGTERM)
    assert family.ended() == 0
    assert not _alive(checking)


def test_an_error_in_a_round_does_not_end_the_service(tmp_path: Path) -> None:
    family = Family(tmp_path, "broken")
    family.one("round")
    os.kill(family.one("worker"), signal.SIGKILL)
    wait_for(lambda: len(family.pids("worker")) == 2)
    family.process.send_signal(signal.SIGTERM)
    assert family.ended() == 0
