"""Threads go round among clients, and none of them has all."""

import threading
from collections.abc import Callable, Iterable

import pytest

from app.turns import Bounds, FairDispatcher, Turns
from tests.app.audit.test_trail import wait_for


class Asked:
    """A request of a client, which lasts until it is let go."""

    def __init__(self, client: str, work: Callable[[], object] = lambda: None) -> None:
        self.client = client
        self.work = work
        self.status: int | None = None

    def service(self) -> None:
        self.work()

    def cancel(self) -> None:
        self.status = 0

    def refuse(self, status: int) -> None:
        self.status = status

    def __repr__(self) -> str:
        return self.client


def turns(bounds: Bounds, clients: Iterable[str]) -> tuple[Turns, list[Asked]]:
    made = Turns(bounds, lambda one: str(one.client), threading.Lock())
    asked = [Asked(client) for client in clients]
    for one in asked:
        made.append(one)
    return made, asked


def taken(made: Turns) -> list[str]:
    """Who gets a thread, if none is given back."""
    order = []
    while made:
        turn = made.popleft()
        order.append(getattr(turn, "task", turn).client)
    return order


@pytest.mark.parametrize(
    ("clients", "share", "order"),
    [
        ("aaa", 2, "aa"),
        ("aaab", 2, "aba"),
        ("aaabbc", 9, "abcaba"),
        ("ab", 1, "ab"),
    ],
)
def test_who_has_fewer_threads_is_next(clients: str, share: int, order: str) -> None:
    made, _ = turns(Bounds(share, 99, 99), clients)
    assert "".join(taken(made)) == order


@pytest.mark.parametrize(
    ("clients", "of_client", "of_all", "statuses"),
    [
        ("aaab", 2, 99, [None, None, 429, None]),
        ("aabc", 9, 3, [None, None, None, 503]),
        ("aabaa", 2, 3, [None, None, None, 429, 429]),
    ],
)
def test_more_than_may_wait_are_refused(clients: str, of_client: int, of_all: int, statuses: list[int | None]) -> None:
    made, asked = turns(Bounds(1, of_client, of_all), clients)
    assert [one.status for one in asked] == statuses
    refused = [one for one in asked if one.status]
    assert [made.popleft() for _ in refused] == refused  # at once, whoever waits


def test_a_thread_given_back_is_the_next_ones() -> None:
    let_go, done = threading.Event(), []
    dispatcher = FairDispatcher(Bounds(1, 99, 99), lambda one: str(one.client))
    dispatcher.set_thread_count(3)
    dispatcher.add_task(Asked("greedy", lambda: let_go.wait(10)))
    for number in range(5):
        dispatcher.add_task(Asked("greedy", lambda number=number: done.append(number)))
    dispatcher.add_task(Asked("normal", lambda: done.append("normal")))
    wait_for(lambda: done == ["normal"])
    let_go.set()
    wait_for(lambda: done == ["normal", 0, 1, 2, 3, 4])
    dispatcher.shutdown(timeout=5)


def test_a_request_that_fails_gives_its_thread_back(caplog: pytest.LogCaptureFixture) -> None:
    done: list[int] = []
    dispatcher = FairDispatcher(Bounds(1, 99, 99), lambda one: str(one.client))
    dispatcher.set_thread_count(2)
    dispatcher.add_task(Asked("one", lambda: 1 / 0))
    dispatcher.add_task(Asked("one", lambda: done.append(1)))
    wait_for(lambda: done == [1])
    dispatcher.shutdown(timeout=5)


def test_at_the_end_what_waits_is_cancelled() -> None:
    dispatcher = FairDispatcher(Bounds(2, 99, 99), lambda one: str(one.client))
    waiting = [Asked("one"), Asked("two")]
    for one in waiting:
        dispatcher.add_task(one)
    dispatcher.shutdown(timeout=1)
    assert [one.status for one in waiting] == [0, 0]
