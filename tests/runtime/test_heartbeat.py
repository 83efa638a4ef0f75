"""Beats are seen by another process; what is due, and since when, follows from them."""

import os
import time
from concurrent.futures import ThreadPoolExecutor

import pytest

from runtime.heartbeat import Heartbeat, Pulse


def test_a_process_that_has_not_begun_to_listen_has_no_beats() -> None:
    assert Heartbeat().pulse == Pulse()
    assert not Pulse().listens
    assert Pulse().idle_since is None


def test_the_beats_of_a_process_are_seen_by_the_one_that_forked_it() -> None:
    own, other = Heartbeat(), Heartbeat()
    before = time.monotonic()
    pid = os.fork()
    if pid == 0:
        own.listened()
        own.step()
        own.set_waiting(2)
        waiting = own.expecting(100)
        waiting.__enter__()
        os._exit(0)
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0
    seen, after = own.pulse, time.monotonic()
    assert before <= seen.listened_at <= seen.stepped_at <= seen.waiting_since <= after
    assert before + 100 <= seen.expected_until <= after + 100
    assert other.pulse == Pulse()


def test_waiting_is_counted_from_when_it_began() -> None:
    beat = Heartbeat()
    beat.set_waiting(1)
    since = beat.pulse.waiting_since
    beat.set_waiting(5)
    assert beat.pulse.waiting_since == since
    beat.set_waiting(0)
    assert beat.pulse.waiting_since == 0
    beat.set_waiting(1)
    assert beat.pulse.waiting_since > since


def test_of_all_waits_the_longest_counts_while_it_lasts() -> None:
    beat, expected = Heartbeat(), []
    began = time.monotonic()
    with beat.expecting(10):
        with beat.expecting(100):
            expected.append(beat.pulse.expected_until)
        expected.append(beat.pulse.expected_until)
    assert began + 100 <= expected[0] < began + 200
    assert began + 10 <= expected[1] < began + 100
    assert beat.pulse.expected_until == 0
    assert beat.pulse.stepped_at >= began  # the end of a wait is a step


def test_many_threads_may_wait() -> None:
    beat = Heartbeat()

    def wait(number: int) -> None:
        for _ in range(100):
            with beat.expecting(number):
                pass

    with ThreadPoolExecutor(8) as threads:
        list(threads.map(wait, range(8)))
    assert beat.pulse.expected_until == 0


@pytest.mark.parametrize(
    ("pulse", "since"),
    [
        pytest.param(Pulse(listened_at=50, stepped_at=10), None, id="nothing waits"),
        pytest.param(Pulse(listened_at=50, stepped_at=10, waiting_since=40), 40, id="work came after a quiet hour"),
        pytest.param(Pulse(listened_at=50, stepped_at=45, waiting_since=40), 45, id="a step was made since then"),
        pytest.param(Pulse(50, 45, expected_until=75, waiting_since=40), 75, id="a thread waits for what takes long"),
    ],
)
def test_no_step_is_due_while_nothing_waits_or_all_is_as_expected(pulse: Pulse, since: float | None) -> None:
    assert pulse.idle_since == since
