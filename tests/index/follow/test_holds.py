"""Data stores that cannot be read are tried less and less often."""

import logging
import time

import pytest

from index.follow.holds import FAILURES, LONGEST_SECONDS, DatastoreHolds

BAD, GOOD = "b" * 32, "d" * 32


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """A clock that stands still; its time can be set."""
    shown = [1000.0]
    monkeypatch.setattr(time, "monotonic", lambda: shown[0])
    return shown


def test_a_data_store_is_held_after_some_failures_in_a_row(clock: list[float]) -> None:
    holds = DatastoreHolds(tolerated=3, first_seconds=5)
    assert [holds.failed(BAD, "denied") for _ in range(2)] == [False, False]
    holds.succeeded(BAD)
    assert [holds.failed(BAD, "denied") for _ in range(3)] == [False, False, True]
    assert (holds.may_try(BAD), holds.seconds_left(BAD), holds.held()) == (False, 5, [BAD])
    assert (holds.may_try(GOOD), holds.seconds_left(GOOD)) == (True, 0)


def test_after_a_hold_one_tries_for_all(clock: list[float]) -> None:
    holds = DatastoreHolds(tolerated=1, first_seconds=5)
    holds.failed(BAD, "denied")
    holds.failed(BAD, "denied")  # by another thread, which had begun before
    assert holds.seconds_left(BAD) == 5
    clock[0] += 5
    assert [holds.may_try(BAD) for _ in range(3)] == [True, False, False]
    assert holds.seconds_left(BAD) == 5  # what waits comes again soon
    holds.failed(BAD, "denied")
    assert holds.seconds_left(BAD) == 10
    clock[0] += 10
    assert holds.may_try(BAD)
    holds.succeeded(BAD)
    assert [holds.may_try(BAD) for _ in range(3)] == [True, True, True]


def test_one_that_tries_and_never_tells_is_followed_by_another(clock: list[float]) -> None:
    holds = DatastoreHolds(tolerated=1, first_seconds=5)
    holds.failed(BAD, "denied")
    clock[0] += 5
    assert (holds.may_try(BAD), holds.may_try(BAD)) == (True, False)
    clock[0] += 600
    assert holds.may_try(BAD)


def test_the_longest_hold_is_a_quarter_of_an_hour_and_ten_failures_are_told_once(
    clock: list[float], caplog: pytest.LogCaptureFixture
) -> None:
    holds = DatastoreHolds(tolerated=3, first_seconds=5)
    for _ in range(30):
        holds.may_try(BAD)
        holds.failed(BAD, "AHI denies it")
        assert holds.seconds_left(BAD) <= LONGEST_SECONDS
        clock[0] += LONGEST_SECONDS
    told = [record for record in caplog.records if record.levelno == logging.ERROR]
    assert len(told) == 1 and BAD in told[0].getMessage() and "AHI denies it" in told[0].getMessage()
    assert FAILURES == 10
