"""Beats are seen by another process; what is due, and since when, follows from them."""

import os
import time

import pytest

from ahi.heartbeat import Heartbeat, Heartbeats, Pulse


def test_a_process_that_has_not_begun_to_listen_has_no_beats() -> None:
    assert Heartbeat.alone().pulse == Pulse()
    assert not Pulse().listens
    assert Pulse().idle_since is None


def test_each_process_has_a_row_that_others_see() -> None:
    beats = Heartbeats(3)
    before = time.monotonic()
    pid = os.fork()
    if pid == 0:
        own = beats.of_process(1)
        own.listened()
        own.step()
        own.set_waiting(2)
        own.expect(100)
        os._exit(0)
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0
    seen, after = beats.of_process(1).pulse, time.monotonic()
    assert before <= seen.listened_at <= seen.stepped_at <= seen.waiting_since <= after
    assert before + 100 <= seen.expected_until <= after + 100
    assert beats.of_process(0).pulse == beats.of_process(2).pulse == Pulse()


def test_the_next_process_begins_without_the_beats_of_the_one_before() -> None:
    beat = Heartbeat.alone()
    beat.listened()
    beat.set_waiting(1)
    beat.restart()
    assert beat.pulse == Pulse()


def test_waiting_is_counted_from_when_it_began() -> None:
    beat = Heartbeat.alone()
    beat.set_waiting(1)
    since = beat.pulse.waiting_since
    beat.set_waiting(5)
    assert beat.pulse.waiting_since == since
    beat.set_waiting(0)
    assert beat.pulse.waiting_since == 0
    beat.set_waiting(1)
    assert beat.pulse.waiting_since > since


def test_what_is_expected_longest_counts() -> None:
    beat = Heartbeat.alone()
    beat.expect(100)
    until = beat.pulse.expected_until
    beat.expect(1)
    assert beat.pulse.expected_until == until


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
