"""What happens to events while their destination is well, slow or away."""

import threading

import pytest

from app.audit import queue as trail_module
from app.audit.event import Event, EventKind
from app.audit.queue import AuditQueue
from tests.waiting import PATIENCE_SECONDS, wait_for

EVENT = Event(EventKind.ACCESS, 200)


class Destination:
    """Keeps what is written; fails while it is `away`, and hangs while its gate is closed."""

    def __init__(self) -> None:
        self.written: list[Event] = []
        self.away = False
        self.gate = threading.Event()
        self.gate.set()
        self.attempts = 0

    def write(self, event: Event) -> None:
        self.attempts += 1
        assert self.gate.wait(60)
        if self.away:
            raise OSError("away")
        self.written.append(event)


@pytest.fixture
def destination() -> Destination:
    return Destination()


@pytest.fixture(autouse=True)
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(trail_module, "_RETRY_SECONDS", 0.05)
    monkeypatch.setattr(trail_module, "_PATIENCE_SECONDS", PATIENCE_SECONDS)


def told(caplog: pytest.LogCaptureFixture) -> list[str]:
    """What the queue has logged."""
    return [record.getMessage() for record in caplog.records if record.name == trail_module.__name__]


def events(number: int) -> list[Event]:
    return [Event(EventKind.ACCESS, 200, frames=str(one)) for one in range(number)]


@pytest.mark.parametrize("refuse", [True, False])
def test_events_are_written_in_their_order(destination: Destination, *, refuse: bool) -> None:
    audit_queue = AuditQueue(destination.write, refuse=refuse)
    assert all([audit_queue.admit(event) for event in events(20)])
    audit_queue.close(PATIENCE_SECONDS)
    assert [one.frames for one in destination.written] == list(map(str, range(20)))


def test_with_refuse_an_answer_waits_until_its_event_is_written(destination: Destination) -> None:
    audit_queue = AuditQueue(destination.write, refuse=True)
    assert audit_queue.admit(EVENT)
    assert destination.written == [EVENT]  # already now
    audit_queue.close(PATIENCE_SECONDS)


def test_with_refuse_nothing_is_admitted_while_the_destination_is_away(
    destination: Destination, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(trail_module, "_RETRY_SECONDS", 1.0)
    audit_queue = AuditQueue(destination.write, refuse=True)
    destination.away = True
    assert not any([audit_queue.admit(event) for event in events(50)])
    assert destination.attempts < 50  # after the first nobody waits for an attempt
    destination.away = False
    wait_for(lambda: audit_queue.admit(EVENT))
    assert destination.written == [EVENT]
    assert told(caplog) == [
        "audit cannot be written reason=OSError",
        f"audit is written again lost={told(caplog)[1].rpartition('=')[2]}",
    ]
    audit_queue.close(PATIENCE_SECONDS)


def test_with_refuse_a_destination_that_hangs_is_not_waited_for_longer_than_needed(
    destination: Destination, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(trail_module, "_PATIENCE_SECONDS", 0.2)
    destination.gate.clear()
    audit_queue = AuditQueue(destination.write, refuse=True)
    assert not audit_queue.admit(EVENT)  # it still hangs
    destination.gate.set()
    audit_queue.close(PATIENCE_SECONDS)


def test_without_refuse_events_wait_until_the_destination_is_back(destination: Destination) -> None:
    destination.away = True
    destination.gate.clear()
    audit_queue = AuditQueue(destination.write, refuse=False)
    assert all([audit_queue.admit(event) for event in events(20)])  # nobody waits for the destination, which hangs
    destination.gate.set()
    wait_for(lambda: destination.attempts > 2)
    destination.away = False
    audit_queue.close(PATIENCE_SECONDS)
    assert [one.frames for one in destination.written] == list(map(str, range(20)))


def test_what_the_queue_cannot_hold_is_lost_and_told(
    destination: Destination, caplog: pytest.LogCaptureFixture
) -> None:
    audit_queue = AuditQueue(destination.write, refuse=False, most=5)
    destination.away = True
    assert audit_queue.admit(EVENT)
    wait_for(lambda: destination.attempts > 0)  # one is being written
    assert all([audit_queue.admit(event) for event in events(9)])
    destination.away = False
    wait_for(lambda: len(destination.written) == 6)
    wait_for(lambda: "audit is written again lost=4" in told(caplog))  # after the first of the six
    audit_queue.close(PATIENCE_SECONDS)


@pytest.mark.parametrize("refuse", [True, False])
def test_a_trail_that_cannot_be_written_is_told_until_it_can(destination: Destination, *, refuse: bool) -> None:
    failing: list[bool] = []
    audit_queue = AuditQueue(destination.write, refuse=refuse, tell_failing=failing.append)
    destination.away = True
    audit_queue.admit(EVENT)
    wait_for(lambda: failing == [True])
    destination.away = False

    def is_told() -> bool:
        audit_queue.admit(EVENT)
        return failing == [True, False]

    wait_for(is_told)
    audit_queue.close(PATIENCE_SECONDS)


def test_at_the_end_what_cannot_be_written_is_told(destination: Destination, caplog: pytest.LogCaptureFixture) -> None:
    audit_queue = AuditQueue(destination.write, refuse=False)
    destination.away = True
    for event in events(3):
        audit_queue.note(event)
    audit_queue.close(PATIENCE_SECONDS)
    assert told(caplog)[-1] == "audit messages lost count=3"


@pytest.mark.parametrize("refuse", [True, False])
def test_an_event_that_cannot_be_made_does_not_end_the_trail(*, refuse: bool) -> None:
    written = []

    def write(event: Event) -> None:
        if event.frames == "0":
            raise ValueError("a mistake of ours")
        written.append(event.frames)

    audit_queue = AuditQueue(write, refuse=refuse)
    assert [audit_queue.admit(event) for event in events(2)] == [not refuse, True]
    audit_queue.close(PATIENCE_SECONDS)
    assert written == ["1"]
