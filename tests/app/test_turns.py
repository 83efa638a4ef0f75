"""Threads go round among clients, and none of them has all."""

import threading
from collections.abc import Callable, Iterable

import pytest

from app.turns import Bounds, Turns


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
