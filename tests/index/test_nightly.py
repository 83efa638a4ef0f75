"""The time of the nightly comparison: once a day, also on days on which clocks change."""

import threading
from datetime import datetime, time, timedelta, timezone
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from index.nightly import NightlyComparison, next_due
from tests.waiting import wait_for

BERLIN, UTC = ZoneInfo("Europe/Berlin"), timezone.utc


def utc(text: str) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=UTC)


@pytest.mark.parametrize(
    ("at", "now", "due"),
    [
        pytest.param(time(3), "2026-11-30T01:00", "2026-11-30T02:00", id="winter"),
        pytest.param(time(3), "2026-11-30T02:00", "2026-12-01T02:00", id="exactly now is over"),
        pytest.param(time(3), "2026-07-01T00:30", "2026-07-01T01:00", id="summer"),
        pytest.param(time(2, 30), "2026-03-28T12:00", "2026-03-29T01:30", id="clocks go forward: 2:30 is 3:30"),
        pytest.param(time(2, 30), "2026-03-29T01:30", "2026-03-30T00:30", id="the day after"),
        pytest.param(time(2, 30), "2026-10-24T12:00", "2026-10-25T00:30", id="clocks go back: the earlier 2:30"),
        pytest.param(time(2, 30), "2026-10-25T00:30", "2026-10-26T01:30", id="not twice"),
    ],
)
def test_the_clock_of_the_zone_counts(at: time, now: str, due: str) -> None:
    assert next_due(at, utc(now), BERLIN) == utc(due)


@given(
    st.times().map(lambda at: at.replace(second=0, microsecond=0)),
    st.datetimes(datetime(2025, 1, 1), datetime(2028, 1, 1)),  # noqa: DTZ001 - made aware below
    st.sampled_from(["UTC", "Europe/Berlin", "America/New_York", "Australia/Lord_Howe", "Africa/Casablanca"]),
)
def test_every_day_has_one(at: time, begin: datetime, zone: str) -> None:
    moment, days = begin.replace(tzinfo=UTC), []
    for _ in range(5):
        following = next_due(at, moment, ZoneInfo(zone))
        assert moment < following <= moment + timedelta(hours=26)
        moment = following
        days.append(following)
    assert all(timedelta(hours=21) < later - earlier < timedelta(hours=27)
               for earlier, later in zip(days, days[1:], strict=False))  # fmt: skip


class Clock:
    """A clock that is set by hand."""

    def __init__(self) -> None:
        self.now = utc("2026-11-30T01:59")

    def __call__(self) -> datetime:
        return self.now


def test_it_runs_when_due_and_never_twice_at_once() -> None:
    clock, runs, go_on = Clock(), list[datetime](), threading.Event()

    def compare() -> None:
        runs.append(clock.now)
        go_on.wait(60)

    nightly = NightlyComparison(time(3), compare, clock, BERLIN)
    nightly.run_compare_when_due()
    assert runs == []
    clock.now += timedelta(minutes=2)
    for _ in range(3):
        nightly.run_compare_when_due()
    wait_for(lambda: len(runs) == 1)
    clock.now += timedelta(days=1)
    nightly.run_compare_when_due()  # the first one still runs
    assert len(runs) == 1
    go_on.set()

    def on_a_later_day() -> bool:
        clock.now += timedelta(days=1)
        nightly.run_compare_when_due()
        return len(runs) > 1

    wait_for(on_a_later_day)


def test_a_comparison_that_fails_does_not_end_the_follower() -> None:
    clock, runs = Clock(), list[int]()

    def compare() -> None:
        runs.append(1)
        raise OSError("no room")

    nightly = NightlyComparison(time(3), compare, clock, BERLIN)

    def on_a_later_day() -> bool:
        clock.now += timedelta(days=1)
        nightly.run_compare_when_due()
        return len(runs) > 1

    wait_for(on_a_later_day)
