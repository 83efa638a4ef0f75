"""One thread listens, one works, and none that waits keeps others from either."""

import threading
import time
from collections.abc import Callable, Iterator
from itertools import pairwise
from queue import SimpleQueue

import pytest

from app.crew import Crew
from app.turns import Bounds
from dicomweb.waiting import waiting
from tests.app.audit.test_trail import wait_for
from tests.app.test_turns import Asked


class Line:
    """Where requests come from: `ask` is heard by whoever leads."""

    def __init__(self, crew: Crew) -> None:
        self._crew = crew
        self._heard: SimpleQueue[Asked | None] = SimpleQueue()
        self.listened_in: list[str] = []

    def ask(self, client: str, work: Callable[[], object]) -> Asked:
        asked = Asked(client, work)
        self._heard.put(asked)
        return asked

    def listen(self) -> Callable[[], None]:
        self.listened_in.append(threading.current_thread().name)
        asked = self._heard.get()
        return lambda: self._crew.add_task(asked) if asked else None

    def wake(self) -> None:
        self._heard.put(None)


def running(threads: int, bounds: Bounds) -> tuple[Crew, Line]:
    crew = Crew(threads, bounds, lambda one: str(one.client))
    line = Line(crew)
    crew.start(line)
    return crew, line


@pytest.fixture
def crew_of() -> Iterator[Callable[[int, Bounds], Line]]:
    crews: list[Crew] = []

    def start(threads: int, bounds: Bounds) -> Line:
        crew, line = running(threads, bounds)
        crews.append(crew)
        return line

    yield start
    assert all(crew.shutdown(timeout=10) for crew in crews)


CrewOf = Callable[[int, Bounds], Line]
WIDE = Bounds(99, 999, 999)


def test_who_hears_of_a_request_answers_it(crew_of: CrewOf) -> None:
    line, answered_in = crew_of(4, WIDE), []
    for _ in range(20):
        line.ask("one", lambda: answered_in.append(threading.current_thread().name))
    wait_for(lambda: len(answered_in) == 20)
    assert len({*answered_in, *line.listened_in}) == 1


def test_who_waits_keeps_nobody_from_being_answered(crew_of: CrewOf) -> None:
    line, let_go, done = crew_of(2, WIDE), threading.Event(), []

    def wait() -> None:
        with waiting(), waiting():
            let_go.wait(10)
        done.append("waited")

    line.ask("one", wait)
    for number in range(3):
        line.ask("two", lambda number=number: done.append(number))
    wait_for(lambda: done == [0, 1, 2])
    let_go.set()
    wait_for(lambda: done == [0, 1, 2, "waited"])


def test_when_all_wait_somebody_listens_still(crew_of: CrewOf) -> None:
    line, let_go, done = crew_of(2, WIDE), threading.Event(), []

    def wait() -> None:
        with waiting():
            let_go.wait(10)
        done.append("waited")

    for _ in range(2):
        line.ask("one", wait)
    line.ask("one", lambda: done.append("next"))
    wait_for(lambda: len(line.listened_in) >= 4)  # after all three were heard
    assert not done
    let_go.set()
    wait_for(lambda: sorted(done) == ["next", "waited", "waited"])


def test_one_works_at_a_time_and_all_get_on(crew_of: CrewOf) -> None:
    line, spans = crew_of(6, WIDE), []

    def work() -> None:
        for _ in range(20):
            with waiting():
                time.sleep(0.0005)
            began = time.monotonic()
            while time.monotonic() < began + 0.0003:
                time.sleep(0)  # others may run, and must not work
            spans.append((began, time.monotonic()))

    for _ in range(6):
        line.ask("one", work)
    wait_for(lambda: len(spans) == 120)
    assert all(ended <= began for (_, ended), (began, _) in pairwise(sorted(spans)))


def test_a_thread_given_back_is_the_next_ones(crew_of: CrewOf) -> None:
    line, let_go, done = crew_of(3, Bounds(1, 99, 99)), threading.Event(), []

    def wait() -> None:
        with waiting():
            let_go.wait(10)

    line.ask("greedy", wait)
    for number in range(5):
        line.ask("greedy", lambda number=number: done.append(number))
    line.ask("normal", lambda: done.append("normal"))
    wait_for(lambda: done == ["normal"])
    let_go.set()
    wait_for(lambda: done == ["normal", 0, 1, 2, 3, 4])


def test_a_request_that_fails_gives_its_thread_back(crew_of: CrewOf, caplog: pytest.LogCaptureFixture) -> None:
    line, done = crew_of(1, Bounds(1, 99, 99)), []
    line.ask("one", lambda: 1 / 0)
    line.ask("one", lambda: done.append(1))
    wait_for(lambda: done == [1])
    assert "a request could not be answered" in caplog.text


def test_at_the_end_what_waits_is_cancelled() -> None:
    crew, line = running(1, WIDE)
    let_go = threading.Event()

    def wait() -> None:
        with waiting():
            let_go.wait(10)

    line.ask("one", wait)
    wait_for(lambda: len(line.listened_in) == 2)
    left = line.ask("two", lambda: None)
    wait_for(lambda: len(line.listened_in) == 3)
    assert not crew.shutdown(timeout=0.1)
    assert left.status == 0
    let_go.set()
    assert crew.shutdown(timeout=10)


def test_who_does_not_belong_to_a_crew_just_waits() -> None:
    with waiting():
        assert threading.active_count()
