"""The scheduler starts client requests first, drops what nobody needs, and keeps its limits."""

from collections.abc import Iterator

import pytest

from ahi.workers.scheduler import (
    PREFETCH_SECONDS,
    Job,
    JobCall,
    JobRequest,
    JobScheduler,
    Prefetch,
    SchedulerLimits,
    Urgency,
)


def _job(*_: object) -> None:
    """Never run: a scheduler only hands out."""


def _call(name: str) -> JobCall:
    return JobCall(_job, (name,))


def _request(name: str, urgency: Urgency = Urgency.CLIENT, client: str = "") -> JobRequest:
    return JobRequest(_call(name), urgency, client=client)


def _prefetch(scope: str, names: str) -> Prefetch:
    return Prefetch(scope, tuple(map(_call, names)))


class Clock:
    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def scheduler(clock: Clock) -> JobScheduler:
    return JobScheduler(SchedulerLimits(threads=100, max_queued=3, patience_seconds=10), clock)


def _taken(scheduler: JobScheduler) -> Iterator[Job]:
    while job := scheduler.take():
        yield job


def _names(scheduler: JobScheduler) -> str:
    return "".join(str(job.call.arguments[0]) for job in _taken(scheduler))


def test_clients_come_first_then_prefetches_then_the_background(scheduler: JobScheduler) -> None:
    scheduler.prefetch(_prefetch("series", "ab"))
    scheduler.submit(_request("z", Urgency.BACKGROUND), "night")
    scheduler.submit(_request("c"), "viewer")
    assert _names(scheduler) == "cabz"


def test_a_client_overtakes_with_what_was_to_be_prefetched(scheduler: JobScheduler) -> None:
    scheduler.prefetch(_prefetch("series", "abc"))
    scheduler.submit(_request("c"), "viewer")
    assert _names(scheduler) == "cab"


def test_a_client_overtakes_with_what_the_background_waits_for_and_both_are_answered(scheduler: JobScheduler) -> None:
    for name in "ab":
        scheduler.submit(_request(name, Urgency.BACKGROUND), "night")
    scheduler.submit(_request("b"), "viewer")
    jobs = list(_taken(scheduler))
    assert [job.call for job in jobs] == [_call("b"), _call("a")]
    assert scheduler.finish(jobs[0]) == ["night", "viewer"]


def test_what_is_being_fetched_is_joined(scheduler: JobScheduler) -> None:
    scheduler.prefetch(_prefetch("series", "a"))
    (running,) = _taken(scheduler)
    scheduler.submit(_request("a"), "viewer")
    assert _names(scheduler) == ""
    assert scheduler.finish(running) == ["viewer"]


def test_the_series_asked_for_last_is_prefetched_first(scheduler: JobScheduler) -> None:
    scheduler.prefetch(_prefetch("old", "ab"))
    scheduler.prefetch(_prefetch("new", "cd"))
    assert _names(scheduler) == "cdab"


def test_who_jumps_within_a_series_leaves_nothing_behind(scheduler: JobScheduler) -> None:
    scheduler.prefetch(_prefetch("series", "abc"))
    scheduler.prefetch(_prefetch("series", "xy"))
    assert _names(scheduler) == "xy"


def test_prefetches_of_a_viewer_that_is_gone_are_dropped(scheduler: JobScheduler, clock: Clock) -> None:
    scheduler.prefetch(_prefetch("series", "abc"))
    clock.now = PREFETCH_SECONDS + 1
    assert _names(scheduler) == ""


def test_what_everybody_left_is_not_begun(scheduler: JobScheduler) -> None:
    scheduler.submit(_request("a"), "viewer")
    scheduler.submit(_request("a"), "another")
    scheduler.cancel(_call("a"), "viewer")
    assert scheduler.queued == 1
    scheduler.cancel(_call("a"), "another")
    assert (scheduler.queued, _names(scheduler)) == (0, "")


def test_prefetches_leave_threads_to_clients() -> None:
    scheduler = JobScheduler(SchedulerLimits(threads=4))
    scheduler.prefetch(_prefetch("series", "abcdef"))
    assert _names(scheduler) == "abc"
    scheduler.submit(_request("z"), "viewer")
    assert _names(scheduler) == "z"
    scheduler.submit(_request("y"), "viewer")
    assert _names(scheduler) == ""


def test_a_thread_that_is_free_again_takes_the_next(scheduler: JobScheduler) -> None:
    scheduler = JobScheduler(SchedulerLimits(threads=1))
    scheduler.submit(_request("a"), "viewer")
    scheduler.submit(_request("b"), "viewer")
    (job,) = _taken(scheduler)
    scheduler.finish(job)
    assert _names(scheduler) == "b"


def test_beyond_its_limit_it_refuses_new_questions_and_takes_those_it_has(scheduler: JobScheduler) -> None:
    assert [scheduler.submit(_request(name), "viewer") for name in "abcda"] == [True, True, True, False, True]
    assert scheduler.submit(_request("z", Urgency.BACKGROUND), "night")
    assert _names(scheduler) == "abcz"


def test_who_waited_for_too_long_for_a_turn_is_late(scheduler: JobScheduler, clock: Clock) -> None:
    scheduler.submit(_request("a"), "viewer")
    scheduler.submit(_request("b", Urgency.BACKGROUND), "night")
    clock.now = 11
    first, second = _taken(scheduler)
    assert (scheduler.is_late(first), scheduler.is_late(second)) == (True, False)


def test_prefetches_are_bounded_by_dropping_the_oldest_series(scheduler: JobScheduler) -> None:
    for number in range(100):
        scheduler.prefetch(Prefetch(str(number), tuple(_call(f"{number}.{frame}") for frame in range(100))))
    taken = []
    while job := scheduler.take():
        taken.append(job.call.arguments[0])
        scheduler.finish(job)
    assert len(taken) == 4000
    assert (taken[0], taken[-1]) == ("99.0", "60.99")


def test_requests_go_round_among_clients(clock: Clock) -> None:
    scheduler = JobScheduler(SchedulerLimits(threads=100), clock)
    for number in range(20):
        scheduler.submit(_request(f"{number % 10}", client="greedy"), number)
    for name in "ab":
        scheduler.submit(_request(name, client="normal"), name)
    assert _names(scheduler) == "0a1b" + "23456789"


def test_the_client_with_the_fewest_threads_is_next(clock: Clock) -> None:
    scheduler = JobScheduler(SchedulerLimits(threads=3), clock)
    for name in "abcde":
        scheduler.submit(_request(name, client="greedy"), name)
    running = list(_taken(scheduler))
    scheduler.submit(_request("x", client="normal"), "x")
    scheduler.finish(running[0])
    assert _names(scheduler) == "x"
    scheduler.finish(running[1])
    assert _names(scheduler) == "d"


def test_what_two_clients_wait_for_comes_in_the_turn_of_either(clock: Clock) -> None:
    scheduler = JobScheduler(SchedulerLimits(threads=100), clock)
    for name in "abcdef":
        scheduler.submit(_request(name, client="greedy"), "greedy")
    scheduler.submit(_request("f", client="normal"), "normal")
    assert _names(scheduler) == "afbcde"
    assert scheduler.queued == 0


def test_a_client_that_has_left_keeps_no_place(clock: Clock) -> None:
    scheduler = JobScheduler(SchedulerLimits(threads=100), clock)
    scheduler.submit(_request("a", client="gone"), "gone")
    scheduler.cancel(_call("a"), "gone")
    scheduler.submit(_request("b", client="here"), "here")
    for job in list(_taken(scheduler)):
        assert scheduler.finish(job) == ["here"]
    assert (scheduler.queued, scheduler.running, scheduler._client_queues, scheduler._running_by_client) == (
        0,
        0,
        {},
        {},
    )
