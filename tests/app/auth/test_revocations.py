"""What one process has revoked is revoked for all, and a full memory lets nobody in."""

import os
import threading

import pytest

from app.auth import revocations
from app.auth.revocations import Revocations

pytestmark = pytest.mark.filterwarnings("ignore:This process:DeprecationWarning")  # other tests have left threads


def in_a_child(work: object) -> int:
    """Run it in a forked process; its exit status."""
    child = os.fork()
    if child == 0:
        os._exit(0 if work() else 1)  # type: ignore[operator]
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


def test_all_processes_know_it() -> None:
    shared = Revocations()
    assert in_a_child(lambda: shared.add("one", 100.0, 1.0) is None) == 0
    assert shared.has("one", 0.5)
    assert not shared.has("two", 0.5)
    shared.add("two", 100.0, 1.0)
    assert in_a_child(lambda: shared.has("two", 0.5)) == 0


def test_none_is_lost_when_many_are_added_at_once() -> None:
    shared = Revocations()

    def add(start: int) -> bool:
        for number in range(start, start + 300):
            shared.add(f"id{number}", 100.0, 1.0)
        return True

    children = []
    for start in (0, 1000, 2000):
        child = os.fork()
        if child == 0:
            os._exit(0 if add(start) else 1)
        children.append(child)
    threads = [threading.Thread(target=add, args=(start,)) for start in (3000, 4000)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert [os.waitpid(child, 0)[1] for child in children] == [0, 0, 0]
    assert all(shared.has(f"id{start + number}", 0.5) for start in range(0, 5000, 1000) for number in range(300))


def test_a_process_that_dies_holds_up_nobody() -> None:
    shared = Revocations()

    def die() -> bool:
        with shared._memory.locked():
            os._exit(0)

    assert in_a_child(die) == 0
    shared.add("after", 100.0, 1.0)
    assert shared.has("after", 0.5)


def test_a_place_is_used_again_when_its_session_is_over(monkeypatch: object) -> None:
    shared = Revocations()
    for number in range(revocations._PLACES * 2):
        shared.add(f"id{number}", number + 10.0, float(number))
    assert shared._ends_before[0] == 0.0
    assert shared.has(f"id{revocations._PLACES * 2 - 1}", 0.0)


def test_a_full_memory_ends_all_sessions_rather_than_forget_one() -> None:
    shared = Revocations()
    number = 0
    while shared._ends_before[0] == 0.0:
        shared.add(f"id{number}", 1e9, 50.0)
        number += 1
    assert number > 1000
    assert shared.has("somebody", 50.0)  # last renewed before that moment
    assert not shared.has("somebody", 51.0)  # who has signed in again
