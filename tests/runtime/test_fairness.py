"""Places and computing time go round among clients."""

import threading
import time

import pytest

from runtime import fairness
from runtime.fairness import FairSemaphore, UsualWait, about_to_wait, computing, in_turns, serving
from tests.waiting import wait_for


def test_free_places_go_round_among_clients() -> None:
    places, order, lock = FairSemaphore(1), list[str](), threading.Lock()

    def take(client: str) -> None:
        with serving(client):
            held = places.acquire(10)
            assert held == client
            with lock:
                order.append(client)
            places.release(held)

    held = places.acquire(0)
    assert held == ""
    threads = []
    for waiting, client in enumerate("aaaabbc", 1):
        threads.append(threading.Thread(target=take, args=(client,)))
        threads[-1].start()
        wait_for(lambda waiting=waiting: sum(map(len, places._waiting.values())) == waiting)
    places.release(held)
    for thread in threads:
        thread.join(60)
    assert "".join(order) == "abcabaa"


def test_a_place_that_does_not_come_free_is_not_waited_for_for_ever() -> None:
    places = FairSemaphore(1)
    held = places.acquire(0)
    assert held is not None
    assert places.acquire(0.01) is None
    places.release(held)
    assert places.acquire(0) is not None


def test_places_are_neither_lost_nor_made_when_many_give_up() -> None:
    places, inside, most = FairSemaphore(3), [0], [0]
    lock = threading.Lock()

    def come_and_go(number: int) -> None:
        for turn in range(60):
            with serving(str(number % 4)):
                if (held := places.acquire(0.0005 * (turn % 3))) is None:
                    continue
                with lock:
                    inside[0] += 1
                    most[0] = max(most[0], inside[0])
                time.sleep(0.0004)
                with lock:
                    inside[0] -= 1
                places.release(held)

    threads = [threading.Thread(target=come_and_go, args=(number,)) for number in range(12)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert most[0] <= 3
    assert [places.acquire(0) is not None for _ in range(4)] == [True, True, True, False]


def test_two_threads_compute_at_a_time_and_clients_take_turns() -> None:
    order, let_go, lock = list[str](), threading.Semaphore(0), threading.Lock()

    def compute(client: str) -> None:
        with serving(client), computing(), computing():
            with lock:
                order.append(client)
            let_go.acquire(timeout=60)

    threads = []
    for begun, client in enumerate("aaaab"):
        threads.append(threading.Thread(target=compute, args=(client,)))
        threads[-1].start()
        wait_for(lambda begun=begun: len(order) + sum(map(len, fairness._places._waiting.values())) == begun + 1)
    assert order == ["a", "a"]
    let_go.release()  # one ends, and its place goes to the client that holds none
    wait_for(lambda: len(order) == 3)
    assert order == ["a", "a", "b"]
    let_go.release(4)
    for thread in threads:
        thread.join(60)
    assert sorted(order) == ["a", "a", "a", "a", "b"]


def test_a_section_that_never_ends_delays_others_and_stops_nobody(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fairness, "_PATIENCE_SECONDS", 0.05)
    let_go, held, done = threading.Event(), list[int](), list[int]()

    def hold() -> None:
        with computing():
            held.append(1)
            let_go.wait(60)

    threads = [threading.Thread(target=hold) for _ in range(2)]
    for thread in threads:
        thread.start()
    wait_for(lambda: len(held) == 2)
    done += in_turns(range(5))
    assert done == [0, 1, 2, 3, 4]
    let_go.set()
    for thread in threads:
        thread.join(60)
    assert [fairness._places.acquire(0) is not None for _ in range(3)] == [True, True, False]
    fairness._places.release("")
    fairness._places.release("")


def test_an_iteration_that_is_left_gives_its_place_back() -> None:
    for item in in_turns(range(5)):
        if item == 2:
            break
    held = [fairness._places.acquire(0.1) for _ in range(2)]
    assert held == ["", ""]
    for client in held:
        assert client is not None
        fairness._places.release(client)


def test_a_wait_that_usually_takes_long_is_told_in_advance(monkeypatch: pytest.MonkeyPatch) -> None:
    clock, told, waits = [0.0], list[float](), UsualWait(long_seconds=0.01)
    monkeypatch.setattr(time, "monotonic", lambda: clock[0])

    def wait(seconds: float) -> None:
        with waits.waiting():
            clock[0] += seconds

    with serving("one", on_wait=lambda: told.append(clock[0])):
        for _ in range(20):
            wait(0.001)
        assert not told
        wait(0.1)
        wait(0.1)
        assert len(told) == 1
        for _ in range(100):
            wait(0.001)
        told.clear()
        wait(0.001)
    assert not told


def test_who_serves_nobody_tells_nobody_of_a_wait() -> None:
    about_to_wait()
    with serving("one"):
        about_to_wait()
