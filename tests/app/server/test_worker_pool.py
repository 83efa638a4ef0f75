"""Threads that wait, hold locks or fail keep nobody else from being answered while one is free."""

import functools
import logging
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from random import Random

import pytest

from app.server.fair_queue import QueueLimits
from app.server.worker_pool import WorkerPool
from runtime.fairness import about_to_wait, current_client
from runtime.heartbeat import Heartbeat
from tests.app.server.queued_request import Request
from tests.waiting import wait_for

PoolOf = Callable[[int, QueueLimits], WorkerPool]
WIDE = QueueLimits(99, 999, 999)


class Doorbell:
    """Stands for the connections: requests are queued by the test, and the leader waits until it does so."""

    def __init__(self) -> None:
        self._rung = threading.Event()

    def listen(self, *, wait: bool) -> None:
        if wait:
            self._rung.wait()
        self._rung.clear()

    def expect_wake(self) -> None:
        """It hears everything."""

    def wake(self) -> None:
        self._rung.set()


class DeafDoorbell(Doorbell):
    """Hears nothing unless it expects it, as the event loop does; `before_waiting` runs right before a wait begins."""

    def __init__(self) -> None:
        super().__init__()
        self._expects = False
        self.before_waiting: list[Callable[[], object]] = []

    def expect_wake(self) -> None:
        self._expects = True

    def wake(self) -> None:
        if self._expects:
            super().wake()

    def listen(self, *, wait: bool) -> None:
        if wait and self.before_waiting:
            self.before_waiting.pop()()
        self._expects = True
        super().listen(wait=wait)
        self._expects = False


@pytest.fixture
def pool_of() -> Iterator[PoolOf]:
    pools: list[WorkerPool] = []

    def start(threads: int, limits: QueueLimits) -> WorkerPool:
        pool = WorkerPool(threads, limits, lambda one: str(one.client))
        pools.append(pool)
        pool.start(Doorbell())
        return pool

    yield start
    assert all(pool.shutdown(timeout=60) for pool in pools)


class Shared:
    """An object whose property has one lock for all instances before Python 3.12."""

    def __init__(self, work: Callable[[], object]) -> None:
        self._work = work

    @functools.cached_property
    def value(self) -> object:
        return self._work()


def test_a_thread_that_waits_keeps_nobody_from_being_answered(pool_of: PoolOf) -> None:
    pool, let_go, done = pool_of(2, WIDE), threading.Event(), list[object]()
    pool.add_task(Request("one", lambda: (let_go.wait(60), done.append("waited"))))
    for number in range(3):
        pool.add_task(Request("two", functools.partial(done.append, number)))
    wait_for(lambda: done == [0, 1, 2])
    let_go.set()
    wait_for(lambda: done == [0, 1, 2, "waited"])


@pytest.mark.parametrize("kind", ["lock", "cached_property", "logging"])
def test_locks_held_over_waits_delay_and_never_stop(pool_of: PoolOf, kind: str) -> None:
    """What waits for a lock is woken by a request that comes later, as it was with fetchers."""
    pool, lock, let_go, done = pool_of(4, WIDE), threading.Lock(), threading.Event(), []
    handler = logging.StreamHandler()

    def hold() -> None:
        match kind:
            case "lock":
                with lock:
                    let_go.wait(60)
            case "cached_property":
                assert Shared(lambda: let_go.wait(60)).value
            case "logging":
                assert handler.lock
                with handler.lock:
                    let_go.wait(60)
        done.append(kind)

    for _ in range(3):
        pool.add_task(Request("one", hold))
    time.sleep(0.05)
    pool.add_task(Request("two", let_go.set))
    wait_for(lambda: done == [kind] * 3)


def test_a_thread_given_back_is_the_next_ones(pool_of: PoolOf) -> None:
    pool, let_go, done = pool_of(3, QueueLimits(1, 99, 99)), threading.Event(), list[object]()
    pool.add_task(Request("greedy", lambda: let_go.wait(60)))
    for number in range(5):
        pool.add_task(Request("greedy", functools.partial(done.append, number)))
    pool.add_task(Request("normal", functools.partial(done.append, "normal")))
    wait_for(lambda: done == ["normal"])
    let_go.set()
    wait_for(lambda: done == ["normal", 0, 1, 2, 3, 4])


def test_a_request_that_fails_gives_its_thread_back(pool_of: PoolOf, caplog: pytest.LogCaptureFixture) -> None:
    pool, done = pool_of(1, QueueLimits(1, 99, 99)), list[object]()
    pool.add_task(Request("one", lambda: 1 / 0))
    pool.add_task(Request("one", lambda: done.append(1)))
    wait_for(lambda: done == [1])
    assert "a request could not be answered" in caplog.text


def test_a_thread_knows_its_client(pool_of: PoolOf) -> None:
    pool, known = pool_of(1, WIDE), []
    for client in ("one", "two"):
        pool.add_task(Request(client, lambda: known.append(current_client())))
    wait_for(lambda: known == ["one", "two"])
    assert current_client() == ""


def test_threads_that_wait_for_their_clients_take_no_places(pool_of: PoolOf) -> None:
    pool, taken, done = pool_of(2, QueueLimits(1, 99, 99)), threading.Event(), list[object]()

    def send_slowly() -> None:
        with pool.pausing():
            taken.wait(60)
        done.append("slow")

    for number in range(20):
        pool.add_task(Request(f"slow {number % 2}", send_slowly))
    for number in range(3):
        pool.add_task(Request("other", functools.partial(done.append, number)))
    wait_for(lambda: done == [0, 1, 2])
    taken.set()
    wait_for(lambda: done == [0, 1, 2] + ["slow"] * 20)
    pool.add_task(Request("other", functools.partial(done.append, 3)))
    wait_for(lambda: done[-1] == 3)
    wait_for(lambda: len(pool._threads) <= 2 + 2)  # who leads, who stands by, and two that rest; others end


def test_those_that_go_on_wait_for_a_place(pool_of: PoolOf) -> None:
    pool, lock = pool_of(3, QueueLimits(2, 999, 999)), threading.Lock()
    working, most, done = Counter[str](), [0, 0], []

    def work(client: str) -> None:
        with lock:
            working[client] += 1
            most[:] = max(most[0], working.total()), max(most[1], working[client])
        time.sleep(0.001)
        with lock:
            working[client] -= 1

    def answer(client: str, number: int) -> None:
        for turn in range(5):
            work(client)
            with pool.pausing():
                time.sleep(0.001 * ((number + turn) % 3))
        work(client)
        done.append(number)

    for number in range(100):
        client = str(number % 2)
        pool.add_task(Request(client, functools.partial(answer, client, number)))
    wait_for(lambda: len(done) == 100)
    assert most[0] <= 3
    assert most[1] <= 2
    assert sorted(done) == list(range(100))
    all_at_once = threading.Barrier(3)  # no place is lost
    for client in ("0", "0", "1"):
        pool.add_task(Request(client, lambda: done.append(all_at_once.wait(60))))
    wait_for(lambda: len(done) == 103)


def test_a_pool_ends_while_threads_wait_for_their_clients() -> None:
    pool, taken = WorkerPool(1, WIDE, lambda one: str(one.client)), threading.Event()
    pool.start(Doorbell())
    begun: list[int] = []

    def send_slowly() -> None:
        begun.append(1)
        with pool.pausing():
            taken.wait(60)

    for _ in range(5):
        pool.add_task(Request("slow", send_slowly))
    wait_for(lambda: len(begun) == 5)
    assert not pool.shutdown(timeout=0.1)
    taken.set()
    assert pool.shutdown(timeout=60)


def allow_threads(monkeypatch: pytest.MonkeyPatch, most: int) -> list[int]:
    """Have the system start so many threads of a pool; the number is what the list has, and may be changed."""
    allowed, start = [most], threading.Thread.start

    def start_if_allowed(thread: threading.Thread) -> None:
        if thread.name == "worker":
            if not allowed[0]:
                raise RuntimeError("can't start new thread")
            allowed[0] -= 1
        start(thread)

    monkeypatch.setattr(threading.Thread, "start", start_if_allowed)
    return allowed


def test_paused_threads_go_on_if_no_thread_can_be_started_to_lead(
    monkeypatch: pytest.MonkeyPatch, pool_of: PoolOf
) -> None:
    allow_threads(monkeypatch, 2)
    pool, taken, begun, done = pool_of(1, WIDE), threading.Event(), list[int](), list[object]()

    def send_slowly() -> None:
        begun.append(1)
        with pool.pausing():
            taken.wait(60)
        done.append("slow")

    for _ in range(2):
        pool.add_task(Request("slow", send_slowly))
    wait_for(lambda: len(begun) == 2)
    pool.add_task(Request("other", lambda: done.append("other")))
    taken.set()
    wait_for(lambda: sorted(map(str, done)) == ["other", "slow", "slow"])


def test_a_thread_that_could_not_be_started_is_started_later(monkeypatch: pytest.MonkeyPatch, pool_of: PoolOf) -> None:
    monkeypatch.setattr("app.server.worker_pool._RETRY_SECONDS", 0)
    allowed = allow_threads(monkeypatch, 1)
    pool, let_go, done = pool_of(2, WIDE), threading.Event(), list[object]()
    pool.add_task(Request("one", lambda: done.append("alone")))
    wait_for(lambda: done == ["alone"])
    allowed[0] = 2
    pool.add_task(Request("one", lambda: let_go.wait(60)))
    pool.add_task(Request("two", lambda: done.append("beside")))
    wait_for(lambda: done == ["alone", "beside"])
    let_go.set()


def test_at_the_end_what_waits_is_cancelled() -> None:
    pool, let_go, begun = WorkerPool(1, WIDE, lambda one: str(one.client)), threading.Event(), threading.Event()
    pool.start(Doorbell())
    pool.add_task(Request("one", lambda: (begun.set(), let_go.wait(60))))
    assert begun.wait(60)
    left = Request("two")
    pool.add_task(left)
    assert not pool.shutdown(timeout=0.1)
    assert left.status == 0
    let_go.set()
    assert pool.shutdown(timeout=60)


def test_what_runs_inline_is_answered_while_all_threads_wait(pool_of: PoolOf) -> None:
    limits = QueueLimits(99, 999, 999, lambda one: isinstance(one, Request) and one.client == "brief")
    pool, let_go, done = pool_of(2, limits), threading.Event(), list[object]()
    for number in range(4):
        pool.add_task(Request(f"client {number}", lambda: let_go.wait(60)))
    for number in range(3):
        pool.add_task(Request("brief", functools.partial(done.append, number)))
    wait_for(lambda: done == [0, 1, 2])
    let_go.set()


def test_what_runs_inline_is_no_step_of_the_others() -> None:
    heartbeat, let_go, done = Heartbeat.alone(), threading.Event(), []
    limits = QueueLimits(99, 999, 999, lambda one: isinstance(one, Request) and one.client == "brief")
    pool = WorkerPool(1, limits, lambda one: str(one.client), heartbeat)
    pool.start(Doorbell())
    pool.add_task(Request("stuck", lambda: let_go.wait(60)))
    wait_for(lambda: heartbeat.pulse.stepped_at > 0)
    pool.add_task(Request("waits"))
    stepped_at = heartbeat.pulse.stepped_at
    pool.add_task(Request("brief", lambda: done.append(1)))
    wait_for(lambda: bool(done))
    assert heartbeat.pulse.stepped_at == stepped_at
    assert heartbeat.pulse.waiting_since
    let_go.set()
    assert pool.shutdown(timeout=60)


def test_a_refusal_is_sent_while_all_threads_wait(pool_of: PoolOf) -> None:
    pool, let_go, done = pool_of(1, QueueLimits(99, 1, 999)), threading.Event(), list[object]()
    pool.add_task(Request("one", lambda: let_go.wait(60)))
    pool.add_task(Request("one", lambda: done.append(1)))
    wait_for(lambda: bool(done))
    let_go.set()


def test_a_leader_that_waits_is_followed_by_another_and_rests_afterwards(
    pool_of: PoolOf, monkeypatch: pytest.MonkeyPatch
) -> None:
    """However many wait, somebody listens; and nobody has said that it waits."""
    pool, let_go, done = pool_of(8, WIDE), threading.Event(), list[object]()
    for number in range(7):
        pool.add_task(Request(f"client {number}", lambda: (let_go.wait(60), done.append("waited"))))
    threads: set[int] = set()
    for number in range(50):
        pool.add_task(Request("normal", lambda: (threads.add(threading.get_ident()), done.append("brisk"))))
        wait_for(lambda number=number: done == ["brisk"] * (number + 1))
        monkeypatch.setattr("app.server.worker_pool._SLOW_SECONDS", 60.0)  # a machine that stands still is no wait
    assert len(threads) <= 3  # one after the other, by whoever leads
    let_go.set()
    wait_for(lambda: done.count("waited") == 7)


def test_a_leader_that_says_that_it_waits_is_followed_at_once(pool_of: PoolOf, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("app.server.worker_pool._SLOW_SECONDS", 60.0)
    pool, let_go, done = pool_of(2, WIDE), threading.Event(), list[object]()
    pool.add_task(Request("one", lambda: (about_to_wait(), let_go.wait(60))))
    pool.add_task(Request("two", lambda: done.append(2)))
    wait_for(lambda: done == [2])
    let_go.set()


def test_requests_that_compute_are_answered_by_one_thread(pool_of: PoolOf, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("app.server.worker_pool._SLOW_SECONDS", 60.0)  # however long the machine stands still
    pool, threads = pool_of(8, WIDE), Counter[int]()
    for number in range(2000):
        pool.add_task(Request(f"client {number % 5}", lambda: threads.update([threading.get_ident()])))
    wait_for(lambda: threads.total() == 2000)
    assert len(threads) == 1


def test_whoever_leads_at_the_end_has_no_request_of_its_own_left(pool_of: PoolOf) -> None:
    """Many clients, some slow, some brisk, with the lead given up at any moment: every request is answered once."""
    pool, done, chance = pool_of(4, QueueLimits(3, 999, 9999)), Counter[int](), Random(7)  # noqa: S311 - no secret

    def answer(number: int, seconds: float, says: bool) -> None:
        if says:
            about_to_wait()
        time.sleep(seconds)
        done.update([number])

    for number in range(600):
        seconds = chance.choice([0, 0, 0, 0.001, 0.004, 0.01])
        pool.add_task(Request(str(number % 7), functools.partial(answer, number, seconds, chance.random() < 0.3)))
        if chance.random() < 0.05:
            time.sleep(0.01)
    wait_for(lambda: done.total() == 600)
    assert set(done.values()) == {1}


def test_a_request_that_is_queued_right_before_the_leader_waits_is_answered() -> None:
    doorbell, done = DeafDoorbell(), list[int]()
    pool = WorkerPool(1, WIDE, lambda one: str(one.client))

    def queue_from_another_thread() -> None:
        other = threading.Thread(target=pool.add_task, args=(Request("two", lambda: done.append(2)),))
        other.start()
        other.join()

    doorbell.before_waiting.append(queue_from_another_thread)
    pool.start(doorbell)
    try:
        wait_for(lambda: done == [2])
    finally:
        doorbell.expect_wake()
        assert pool.shutdown(timeout=60)
