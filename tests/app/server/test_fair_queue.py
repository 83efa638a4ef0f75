"""Threads go round among clients, and none of them has all."""

from collections.abc import Iterable

import pytest

from app.server.fair_queue import REFUSED, FairQueue, QueueLimits
from tests.app.server.queued_request import Request


def queued(limits: QueueLimits, clients: Iterable[str]) -> tuple[FairQueue, list[Request]]:
    queue = FairQueue(limits, lambda one: str(getattr(one, "client", "")))
    requests = [Request(client) for client in clients]
    for one in requests:
        queue.append(one)
    return queue, requests


def popped(queue: FairQueue) -> list[str]:
    """The clients that get a thread, if none is given back."""
    order = []
    while found := queue.pop():
        order.append(found[0])
    return order


@pytest.mark.parametrize(
    ("clients", "threads", "order"),
    [
        ("aaa", 2, "aa"),
        ("aaab", 2, "aba"),
        ("aaabbc", 9, "abcaba"),
        ("ab", 1, "ab"),
    ],
)
def test_the_client_with_fewer_threads_is_next(clients: str, threads: int, order: str) -> None:
    queue, _ = queued(QueueLimits(threads, 99, 99), clients)
    assert "".join(popped(queue)) == order


@pytest.mark.parametrize(
    ("clients", "of_client", "of_all", "statuses"),
    [
        ("aaab", 2, 99, [None, None, 429, None]),
        ("aabc", 9, 3, [None, None, None, 503]),
        ("aabaa", 2, 3, [None, None, None, 429, 429]),
    ],
)
def test_more_than_may_wait_are_refused(clients: str, of_client: int, of_all: int, statuses: list[int | None]) -> None:
    queue, requests = queued(QueueLimits(1, of_client, of_all), clients)
    assert [one.status for one in requests] == statuses
    refused = [one for one in requests if one.status]
    assert [queue.pop() for _ in refused] == [(REFUSED, one) for one in refused]  # at once, whoever waits


def test_a_thread_given_back_is_there_for_the_same_client() -> None:
    queue, _ = queued(QueueLimits(1, 99, 99), "aab")
    assert popped(queue) == ["a", "b"]
    queue.done("b")
    assert popped(queue) == []
    queue.done("a")
    assert popped(queue) == ["a"]


def test_what_was_answered_no_longer_counts() -> None:
    queue, _ = queued(QueueLimits(2, 2, 2), "ab")
    popped(queue)
    queue.done("a")
    late = Request("a")
    queue.append(late)
    assert (late.status, queue.waiting, popped(queue)) == (None, 1, ["a"])


def test_what_waits_at_the_end_is_cancelled() -> None:
    queue, requests = queued(QueueLimits(1, 1, 99), "aab")
    queue.pop()
    queue.clear()
    assert (queue.pop(), queue.waiting, [one.status for one in requests]) == (None, 0, [0, 429, 0])


def test_one_that_is_paused_leaves_its_thread_to_others_and_counts_as_begun() -> None:
    queue, requests = queued(QueueLimits(1, 3, 99), "aab")
    assert queue.pop() == ("a", requests[0])
    queue.pause("a")
    assert queue.working == 0
    assert popped(queue) == ["b", "a"]
    queue.append(Request("a"))
    queue.append(fourth := Request("a"))
    assert fourth.status == 429
    assert not queue.may_resume("a")
    turn = Request("a")
    queue.requeue("a", turn)
    queue.done("a")
    assert queue.pop() == (REFUSED, fourth)
    assert queue.pop() == ("a", turn)  # before the one that came earlier, but has not begun


def test_one_that_is_paused_goes_on_at_once_where_nobody_waits() -> None:
    queue, _ = queued(QueueLimits(1, 3, 99), "a")
    assert queue.pop()
    queue.pause("a")
    assert queue.may_resume("a")
    queue.resume("a")
    assert queue.working == 1
    queue.done("a")
    assert queue.working == 0
