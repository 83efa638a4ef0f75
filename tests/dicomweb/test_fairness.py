"""Places and computing time go round among clients."""

import threading
import time
from collections.abc import Callable

import pytest

from dicomweb.fairness import FairSemaphore, current_client, give_way, serving
from tests.app.audit.test_trail import wait_for


def alone(_client: str) -> tuple[int, int]:
    return 1, 0


def crowded(_client: str) -> tuple[int, int]:
    return 3, 1


def compute(seconds: float) -> None:
    until = time.thread_time() + seconds
    while time.thread_time() < until:
        pass


@pytest.mark.parametrize(
    ("competition", "computed", "pause"),
    [(alone, 0.02, 0.0), (crowded, 0.0, 0.0), (crowded, 0.02, 0.1), (crowded, 0.2, 0.25)],
)
def test_who_has_computed_pauses_where_others_wait(
    competition: Callable[[str], tuple[int, int]], computed: float, pause: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    slept: list[float] = []
    with serving("one", competition):
        compute(computed)
        monkeypatch.setattr("dicomweb.fairness.time.sleep", slept.append)
        give_way()
        give_way()  # nothing was computed since
    assert len(slept) == bool(pause)
    assert sum(slept) == pytest.approx(pause, rel=0.3)


def test_a_thread_of_no_client_never_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("dicomweb.fairness.time.sleep", pytest.fail)
    compute(0.01)
    give_way()
    assert current_client() == ""


def test_free_places_go_round_among_clients() -> None:
    places, order, lock = FairSemaphore(1), list[str](), threading.Lock()

    def take(client: str) -> None:
        with serving(client, alone):
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
        thread.join(10)
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
            with serving(str(number % 4), alone):
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
        thread.join(30)
    assert most[0] <= 3
    assert [places.acquire(0) is not None for _ in range(4)] == [True, True, True, False]
