"""A fetcher does first what clients wait for; what nobody will want it drops; it never takes on more than it can."""

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


def _request(name: str) -> JobCall:
    return JobCall(_job, (name,))


def _question(name: str, urgency: Urgency = Urgency.CLIENT, client: str = "") -> JobRequest:
    return JobRequest(_request(name), urgency, client=client)


def _prefetch(scope: str, names: str) -> Prefetch:
    return Prefetch(scope, tuple(map(_request, names)))


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
    return JobScheduler(SchedulerLimits(threads=100, most_waiting=3, patience_seconds=10), clock)


def _taken(scheduler: JobScheduler) -> Iterator[Job]:
    while job := scheduler.take():
        yield job


def _names(scheduler: JobScheduler) -> str:
    return "".join(str(job.request.arguments[0]) for job in _taken(scheduler))


def test_clients_come_first_then_prefetches_then_the_background(scheduler: JobScheduler) -> None:
    scheduler.prefetch(_prefetch("series", "ab"))
    scheduler.ask(_question("z", Urgency.BACKGROUND), "night")
    scheduler.ask(_question("c"), "viewer")
    assert _names(scheduler) == "cabz"


def test_a_client_overtakes_with_what_was_to_be_prefetched(scheduler: JobScheduler) -> None:
    scheduler.prefetch(_prefetch("series", "abc"))
    scheduler.ask(_question("c"), "viewer")
    assert _names(scheduler) == "cab"


def test_a_client_overtakes_with_what_the_background_waits_for_and_both_are_answered(scheduler: JobScheduler) -> None:
    for name in "ab":
        scheduler.ask(_question(name, Urgency.BACKGROUND), "night")
    scheduler.ask(_question("b"), "viewer")
    jobs = list(_taken(scheduler))
    assert [job.request for job in jobs] == [_request("b"), _request("a")]
    assert scheduler.done(jobs[0]) == ["night", "viewer"]


def test_what_is_being_fetched_is_joined(scheduler: JobScheduler) -> None:
    scheduler.prefetch(_prefetch("series", "a"))
    (running,) = _taken(scheduler)
    scheduler.ask(_question("a"), "viewer")
    assert _names(scheduler) == ""
    assert scheduler.done(running) == ["viewer"]


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
    scheduler.ask(_question("a"), "viewer")
    scheduler.ask(_question("a"), "another")
    scheduler.leave(_request("a"), "viewer")
    assert scheduler.queued == 1
    scheduler.leave(_request("a"), "another")
    assert (scheduler.queued, _names(scheduler)) == (0, "")


def test_prefetches_leave_threads_to_clients() -> None:
    scheduler = JobScheduler(SchedulerLimits(threads=4))
    scheduler.prefetch(_prefetch("series", "abcdef"))
    assert _names(scheduler) == "abc"
    scheduler.ask(_question("z"), "viewer")
    assert _names(scheduler) == "z"
    scheduler.ask(_question("y"), "viewer")
    assert _names(scheduler) == ""


def test_a_thread_that_is_free_again_takes_the_next(scheduler: JobScheduler) -> None:
    scheduler = JobScheduler(SchedulerLimits(threads=1))
    scheduler.ask(_question("a"), "viewer")
    scheduler.ask(_question("b"), "viewer")
    (job,) = _taken(scheduler)
    scheduler.done(job)
    assert _names(scheduler) == "b"


def test_beyond_its_limit_it_refuses_new_questions_and_takes_those_it_has(scheduler: JobScheduler) -> None:
    assert [scheduler.ask(_question(name), "viewer") for name in "abcda"] == [True, True, True, False, True]
    assert scheduler.ask(_question("z", Urgency.BACKGROUND), "night")
    assert _names(scheduler) == "abcz"


def test_who_waited_for_too_long_for_a_turn_is_late(scheduler: JobScheduler, clock: Clock) -> None:
    scheduler.ask(_question("a"), "viewer")
    scheduler.ask(_question("b", Urgency.BACKGROUND), "night")
    clock.now = 11
    first, second = _taken(scheduler)
    assert (scheduler.late(first), scheduler.late(second)) == (True, False)


def test_prefetches_are_bounded_by_dropping_the_oldest_series(scheduler: JobScheduler) -> None:
    for number in range(100):
        scheduler.prefetch(Prefetch(str(number), tuple(_request(f"{number}.{frame}") for frame in range(100))))
    taken = []
    while job := scheduler.take():
        taken.append(job.request.arguments[0])
        scheduler.done(job)
    assert len(taken) == 4000
    assert (taken[0], taken[-1]) == ("99.0", "60.99")


def test_requests_go_round_among_clients(clock: Clock) -> None:
    scheduler = JobScheduler(SchedulerLimits(threads=100), clock)
    for number in range(20):
        scheduler.ask(_question(f"{number % 10}", client="greedy"), number)
    for name in "ab":
        scheduler.ask(_question(name, client="normal"), name)
    assert _names(scheduler) == "0a1b" + "23456789"


def test_the_client_with_the_fewest_threads_is_next(clock: Clock) -> None:
    scheduler = JobScheduler(SchedulerLimits(threads=3), clock)
    for name in "abcde":
        scheduler.ask(_question(name, client="greedy"), name)
    running = list(_taken(scheduler))
    scheduler.ask(_question("x", client="normal"), "x")
    scheduler.done(running[0])
    assert _names(scheduler) == "x"
    scheduler.done(running[1])
    assert _names(scheduler) == "d"


def test_what_two_clients_wait_for_comes_in_the_turn_of_either(clock: Clock) -> None:
    scheduler = JobScheduler(SchedulerLimits(threads=100), clock)
    for name in "abcdef":
        scheduler.ask(_question(name, client="greedy"), "greedy")
    scheduler.ask(_question("f", client="normal"), "normal")
    assert _names(scheduler) == "afbcde"
    assert scheduler.queued == 0


def test_a_client_that_has_left_keeps_no_place(clock: Clock) -> None:
    scheduler = JobScheduler(SchedulerLimits(threads=100), clock)
    scheduler.ask(_question("a", client="gone"), "gone")
    scheduler.leave(_request("a"), "gone")
    scheduler.ask(_question("b", client="here"), "here")
    for job in list(_taken(scheduler)):
        assert scheduler.done(job) == ["here"]
    assert (scheduler.queued, scheduler.running, scheduler._of_clients, scheduler._served) == (0, 0, {}, {})
