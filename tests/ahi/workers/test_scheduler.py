"""A fetcher does first what clients wait for; what nobody will want it drops; it never takes on more than it can."""

from collections.abc import Iterator

import pytest

from ahi.workers.scheduler import (
    PREFETCH_SECONDS,
    Job,
    JobRequest,
    JobScheduler,
    Prefetch,
    Request,
    SchedulerLimits,
    Urgency,
)


def _job(*_: object) -> None:
    """Never run: a desk only hands out."""


def _request(name: str) -> Request:
    return Request(_job, (name,))


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
def desk(clock: Clock) -> JobScheduler:
    return JobScheduler(SchedulerLimits(threads=100, most_waiting=3, patience_seconds=10), clock)


def _taken(desk: JobScheduler) -> Iterator[Job]:
    while ticket := desk.take():
        yield ticket


def _names(desk: JobScheduler) -> str:
    return "".join(str(ticket.request.arguments[0]) for ticket in _taken(desk))


def test_clients_come_first_then_prefetches_then_the_background(desk: JobScheduler) -> None:
    desk.prefetch(_prefetch("series", "ab"))
    desk.ask(_question("z", Urgency.BACKGROUND), "night")
    desk.ask(_question("c"), "viewer")
    assert _names(desk) == "cabz"


def test_a_client_overtakes_with_what_was_to_be_prefetched(desk: JobScheduler) -> None:
    desk.prefetch(_prefetch("series", "abc"))
    desk.ask(_question("c"), "viewer")
    assert _names(desk) == "cab"


def test_a_client_overtakes_with_what_the_background_waits_for_and_both_are_answered(desk: JobScheduler) -> None:
    for name in "ab":
        desk.ask(_question(name, Urgency.BACKGROUND), "night")
    desk.ask(_question("b"), "viewer")
    tickets = list(_taken(desk))
    assert [ticket.request for ticket in tickets] == [_request("b"), _request("a")]
    assert desk.done(tickets[0]) == ["night", "viewer"]


def test_what_is_being_fetched_is_joined(desk: JobScheduler) -> None:
    desk.prefetch(_prefetch("series", "a"))
    (running,) = _taken(desk)
    desk.ask(_question("a"), "viewer")
    assert _names(desk) == ""
    assert desk.done(running) == ["viewer"]


def test_the_series_asked_for_last_is_prefetched_first(desk: JobScheduler) -> None:
    desk.prefetch(_prefetch("old", "ab"))
    desk.prefetch(_prefetch("new", "cd"))
    assert _names(desk) == "cdab"


def test_who_jumps_within_a_series_leaves_nothing_behind(desk: JobScheduler) -> None:
    desk.prefetch(_prefetch("series", "abc"))
    desk.prefetch(_prefetch("series", "xy"))
    assert _names(desk) == "xy"


def test_prefetches_of_a_viewer_that_is_gone_are_dropped(desk: JobScheduler, clock: Clock) -> None:
    desk.prefetch(_prefetch("series", "abc"))
    clock.now = PREFETCH_SECONDS + 1
    assert _names(desk) == ""


def test_what_everybody_left_is_not_begun(desk: JobScheduler) -> None:
    desk.ask(_question("a"), "viewer")
    desk.ask(_question("a"), "another")
    desk.leave(_request("a"), "viewer")
    assert desk.queued == 1
    desk.leave(_request("a"), "another")
    assert (desk.queued, _names(desk)) == (0, "")


def test_prefetches_leave_threads_to_clients() -> None:
    desk = JobScheduler(SchedulerLimits(threads=4))
    desk.prefetch(_prefetch("series", "abcdef"))
    assert _names(desk) == "abc"
    desk.ask(_question("z"), "viewer")
    assert _names(desk) == "z"
    desk.ask(_question("y"), "viewer")
    assert _names(desk) == ""


def test_a_thread_that_is_free_again_takes_the_next(desk: JobScheduler) -> None:
    desk = JobScheduler(SchedulerLimits(threads=1))
    desk.ask(_question("a"), "viewer")
    desk.ask(_question("b"), "viewer")
    (ticket,) = _taken(desk)
    desk.done(ticket)
    assert _names(desk) == "b"


def test_beyond_its_limit_it_refuses_new_questions_and_takes_those_it_has(desk: JobScheduler) -> None:
    assert [desk.ask(_question(name), "viewer") for name in "abcda"] == [True, True, True, False, True]
    assert desk.ask(_question("z", Urgency.BACKGROUND), "night")
    assert _names(desk) == "abcz"


def test_who_waited_for_too_long_for_a_turn_is_late(desk: JobScheduler, clock: Clock) -> None:
    desk.ask(_question("a"), "viewer")
    desk.ask(_question("b", Urgency.BACKGROUND), "night")
    clock.now = 11
    first, second = _taken(desk)
    assert (desk.late(first), desk.late(second)) == (True, False)


def test_prefetches_are_bounded_by_dropping_the_oldest_series(desk: JobScheduler) -> None:
    for number in range(100):
        desk.prefetch(Prefetch(str(number), tuple(_request(f"{number}.{frame}") for frame in range(100))))
    taken = []
    while ticket := desk.take():
        taken.append(ticket.request.arguments[0])
        desk.done(ticket)
    assert len(taken) == 4000
    assert (taken[0], taken[-1]) == ("99.0", "60.99")


def test_requests_go_round_among_clients(clock: Clock) -> None:
    desk = JobScheduler(SchedulerLimits(threads=100), clock)
    for number in range(20):
        desk.ask(_question(f"{number % 10}", client="greedy"), number)
    for name in "ab":
        desk.ask(_question(name, client="normal"), name)
    assert _names(desk) == "0a1b" + "23456789"


def test_the_client_with_the_fewest_threads_is_next(clock: Clock) -> None:
    desk = JobScheduler(SchedulerLimits(threads=3), clock)
    for name in "abcde":
        desk.ask(_question(name, client="greedy"), name)
    running = list(_taken(desk))
    desk.ask(_question("x", client="normal"), "x")
    desk.done(running[0])
    assert _names(desk) == "x"
    desk.done(running[1])
    assert _names(desk) == "d"


def test_what_two_clients_wait_for_comes_in_the_turn_of_either(clock: Clock) -> None:
    desk = JobScheduler(SchedulerLimits(threads=100), clock)
    for name in "abcdef":
        desk.ask(_question(name, client="greedy"), "greedy")
    desk.ask(_question("f", client="normal"), "normal")
    assert _names(desk) == "afbcde"
    assert desk.queued == 0


def test_a_client_that_has_left_keeps_no_place(clock: Clock) -> None:
    desk = JobScheduler(SchedulerLimits(threads=100), clock)
    desk.ask(_question("a", client="gone"), "gone")
    desk.leave(_request("a"), "gone")
    desk.ask(_question("b", client="here"), "here")
    for ticket in list(_taken(desk)):
        assert desk.done(ticket) == ["here"]
    assert (desk.queued, desk.running, desk._of_clients, desk._served) == (0, 0, {}, {})
