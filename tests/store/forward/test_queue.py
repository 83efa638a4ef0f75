"""The queue of the forwarder: what goes together and when, and that each request gets all its outcomes, once."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dicomweb.errors import Conflict, NotFound
from store.forward.queue import Batch, ForwardQueue
from store.forward.waiting import WaitingState
from store.outcome import Outcome, ReceivedInstance, Sender
from store.spool.manifest import Manifest
from store.spool.spool import Entry

BYTES = 100


class Clock:
    """A clock that a test sets."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


def entry(name: str, *contents: tuple[int, int, str]) -> Entry:
    """An entry with instances: series, number, digest."""
    instances = [
        ReceivedInstance(0, BYTES, "1.1", f"1.{series}.{number}", "1.2", f"1.{series}", "1.2.1", digest)
        for series, number, digest in contents
    ]
    return Entry(name, Path(name), Manifest(Sender("", "aetitle", "d" * 32), 0.0, tuple(instances)), 0)


def new(max_bytes: int = 10 * BYTES, wait_seconds: float = 60.0) -> tuple[ForwardQueue, Clock]:
    clock = Clock()
    return ForwardQueue(max_bytes, wait_seconds, clock), clock


def numbers(batch: Batch | None) -> list[str]:
    assert batch is not None
    return [one.instance.sop_instance_uid for one in batch.instances]


def stored(batch: Batch) -> list[Outcome | None]:
    return [Outcome.of(one.instance) for one in batch.instances]


def test_a_client_that_waits_alone_is_served_at_once() -> None:
    queue, _ = new()
    queue.add(entry("a", (1, 1, "x")))
    assert queue.take() is None, "nobody waits yet"
    queue.wait("a", "client")
    batch = queue.take()
    assert numbers(batch) == ["1.1.1"]
    assert batch
    (complete,) = queue.finish(batch, stored(batch))
    assert complete.waiters == ["client"] and len(queue) == 0


def test_what_arrives_while_a_batch_runs_goes_together_and_so_does_what_follows() -> None:
    queue, clock = new()
    for number in range(6):
        queue.add(entry(f"{number}", (1, number, "x")))
        queue.wait(f"{number}", f"client {number}")
        if number == 0:
            first = queue.take()
    assert queue.take() is None, "one batch of a series at a time"
    assert first
    queue.finish(first, stored(first))
    assert queue.take() is None, "the first client sends its next one now"
    queue.add(entry("6", (1, 6, "x")))
    queue.wait("6", "client 0")
    second = queue.take()
    assert len(numbers(second)) == 6
    assert second
    queue.finish(second, stored(second))
    queue.add(entry("7", (1, 7, "x")))
    queue.wait("7", "client 0")
    assert queue.take() is None
    clock.now += 0.06
    assert numbers(queue.take()) == ["1.1.7"], "the others send no more"


@pytest.mark.parametrize("batch_seconds", [0.06, 0.2, 0.45])
@pytest.mark.parametrize("seed", range(5))
def test_six_connections_make_hardly_more_versions_than_they_must(batch_seconds: float, seed: int) -> None:
    """100 files on 6 connections need 17 versions. Each client sends its next file some time after its answer."""
    queue, clock, random = *new(max_bytes=10**9), np.random.default_rng(seed)
    left, versions, running = list(range(100)), 0, None
    sends_at = {client: clock.now + random.uniform(0, 0.02) for client in range(6)}
    while left or len(queue):
        clock.now += 0.001
        for client in [client for client, at in sends_at.items() if at <= clock.now][: len(left)]:
            del sends_at[client]
            number = left.pop()
            queue.add(entry(f"{number}", (1, number, "x")))
            queue.wait(f"{number}", client)
        if running is None:
            if running := queue.take():
                versions, ends_at = versions + 1, clock.now + batch_seconds
        elif clock.now >= ends_at:
            for complete in queue.finish(running, stored(running)):
                for client in complete.waiters:
                    sends_at[client] = clock.now + random.uniform(0.005, batch_seconds)
            running = None
    assert 17 <= versions <= 19


def test_what_nobody_waits_for_gathers_until_it_is_quiet() -> None:
    queue, clock = new(max_bytes=10**9)
    for number in range(20):
        queue.add(entry(f"{number}", (1, number, "x")))
        clock.now += 1.0
        assert queue.take() is None
    clock.now += 1.5
    assert len(numbers(queue.take())) == 20


def test_what_nobody_waits_for_does_not_gather_for_ever() -> None:
    queue, clock = new(max_bytes=10**9)
    for number in range(35):
        if batch := queue.take():
            assert number == 30
            return
        queue.add(entry(f"{number}", (1, number, "x")))
        clock.now += 1.0
        assert not batch
    pytest.fail("no batch was due")


def test_a_batch_is_as_large_as_it_may_be() -> None:
    queue, _ = new(max_bytes=3 * BYTES)
    queue.add(entry("a", *((1, number, "x") for number in range(7))))
    sizes: list[int] = []
    while batch := queue.take() or (queue.wait("a", "client") if not sizes else queue.take()):
        sizes.append(len(batch.instances))
        queue.finish(batch, stored(batch))
        if len(sizes) == 2:
            queue.wait("a", "client")
    assert sizes == [3, 3, 1]


def test_a_failed_batch_is_tried_again_later_and_then_later_still() -> None:
    queue, clock = new()
    queue.add(entry("a", (1, 1, "x")))
    queue.wait("a", "client")
    for pause in (1.0, 2.0, 4.0):
        clock.now += 100.0
        batch = queue.take()
        assert batch
        assert queue.fail(batch) == (["client"] if pause == 1.0 else [])
        clock.now += 0.9 * pause
        assert queue.take() is None
    assert queue.has("a")


def test_clients_that_wait_too_long_are_told_so_and_what_they_sent_stays() -> None:
    queue, clock = new(wait_seconds=10.0)
    queue.add(entry("a", (1, 1, "x")))
    queue.wait("a", "client")
    assert queue.expired() == []
    clock.now += 11.0
    assert queue.expired() == ["client"] and queue.expired() == []
    assert queue.has("a") and numbers(queue.take()) == ["1.1.1"]


def test_the_same_content_again_is_covered_and_other_content_is_not() -> None:
    queue, clock = new()
    assert not queue.add(entry("a", (1, 1, "x"))).covered
    assert queue.add(entry("b", (1, 1, "x"))).covered
    assert not queue.add(entry("c", (1, 1, "y"))).covered
    assert not queue.add(entry("d", (1, 1, "x"), (1, 2, "x"))).covered
    assert not queue.add(entry("e", (2, 1, "x"), (2, 1, "x"))).covered, "its own instance twice"
    clock.now += 100.0
    taken = [batch for batch in (queue.take(), queue.take()) if batch]
    assert sorted(sum(map(numbers, taken), [])) == ["1.1.1", "1.1.2", "1.2.1"], "no UID twice in a batch"


CONTENT = st.tuples(st.integers(0, 2), st.integers(0, 3), st.sampled_from("xy"))
STEP = st.one_of(
    st.tuples(st.just("add"), st.lists(CONTENT, min_size=1, max_size=4), st.booleans()),
    st.tuples(st.just("run"), st.sampled_from(["stored", "later", "fail", "half"]), st.none() | st.integers(0, 20)),
    st.tuples(st.just("cancel"), st.integers(0, 20), st.none()),
    st.tuples(st.just("leave"), st.integers(0, 20), st.none()),
    st.tuples(st.just("restart"), st.none(), st.none()),
)


class Model:
    """A spool and clients around a queue; what is stored, and how often it was sent to be stored."""

    def __init__(self) -> None:
        self.queue, self.clock = new(max_bytes=3 * BYTES)
        self.spool: dict[str, Entry] = {}
        self.answers: dict[str, list[Outcome]] = {}
        self.stored: dict[str, str] = {}
        self.wanted: dict[str, set[str]] = {}
        """The UIDs of each entry that was accepted and not cancelled."""
        self.count = 0

    def add(self, contents: Sequence[tuple[int, int, str]], waits: bool) -> None:
        name = f"{self.count:06d}"
        self.count += 1
        made = self.spool[name] = entry(name, *contents)
        self.wanted[name] = {one.sop_instance_uid for one in made.manifest.instances}
        if self.queue.add(made).covered:
            del self.spool[name]
        if waits:
            self.queue.wait(name, name)

    def cancel(self, number: int) -> None:
        """Cancel an entry, if that is possible; what is being sent is cancelled later."""
        name = f"{number:06d}"
        try:
            pending = self.queue.cancel(name)
        except (Conflict, NotFound):
            return
        if pending:
            self.forget(name)

    def forget(self, name: str) -> None:
        assert not self.queue.has(name)
        self.spool.pop(name, None)
        del self.wanted[name]

    def run(self, how: str, cancelled: int | None = None) -> bool:
        """Send a batch; meanwhile an operator may cancel an entry."""
        self.clock.now += 100.0
        batch = self.queue.take()
        if batch is None:
            return False
        if cancelled is not None:
            self.cancel(cancelled)
        self.send(batch, how)
        for pending in self.queue.cancelled_after(batch):
            self.forget(pending.entry.name)
        return True

    def send(self, batch: Batch, how: str) -> None:
        uids = numbers(batch)
        assert len(set(uids)) == len(uids) and sum(one.instance.length_bytes for one in batch.instances) <= 3 * BYTES
        if how == "fail":
            self.queue.fail(batch)
            return
        outcomes: list[Outcome | None] = []
        for at, one in enumerate(batch.instances):
            content = self.stored.get(one.instance.sop_instance_uid)
            if how == "later" or (how == "half" and at % 2):
                outcomes.append(None)
            elif content in (None, one.instance.sha256):
                self.stored[one.instance.sop_instance_uid] = one.instance.sha256
                outcomes.append(Outcome.of(one.instance))
            else:
                outcomes.append(Outcome.of(one.instance, failure=0x0111))
        for pending in self.queue.finish(batch, outcomes):
            answer = [outcome for outcome in pending.outcomes if outcome]
            assert len(answer) == len(pending.entry.manifest.instances)
            for outcome, instance in zip(answer, pending.entry.manifest.instances, strict=True):
                assert outcome.sop_instance_uid == instance.sop_instance_uid
                assert outcome.is_stored == (self.stored[instance.sop_instance_uid] == instance.sha256)
            assert pending.entry.name not in self.answers
            self.answers[pending.entry.name] = answer
            self.spool.pop(pending.entry.name, None)

    def restart(self) -> None:
        """Begin again with what the spool has; what was covered was acknowledged to nobody, or is in older entries."""
        self.queue, self.clock = new(max_bytes=3 * BYTES)
        self.wanted = {name: uids for name, uids in self.wanted.items() if name in self.spool}
        for name, made in sorted(self.spool.items()):
            if self.queue.add(made).covered:
                del self.spool[name]


@settings(max_examples=300, deadline=None)
@given(st.lists(STEP, max_size=30))
def test_any_order_of_requests_failures_and_restarts_ends_with_all_outcomes(
    steps: Sequence[tuple[str, object, object]],
) -> None:
    model = Model()
    contents: set[tuple[str, str]] = set()
    for step in steps:
        match step:
            case ("add", list() as chosen, bool() as waits):
                model.add(chosen, waits)
                contents |= {(f"1.{series}.{number}", digest) for series, number, digest in chosen}
            case ("run", str() as how, int() | None as cancelled):
                model.run(how, cancelled)
            case ("cancel", int() as number, _):
                model.cancel(number)
            case ("leave", int() as number, _):
                model.queue.leave(f"{number:06d}")
            case ("restart", _, _):
                model.restart()
    for _ in range(500):
        if not model.run("stored"):
            break
    assert len(model.queue) == 0 and model.spool == {}
    assert set().union(*model.wanted.values()) <= model.stored.keys() <= {uid for uid, _ in contents}
    assert all((uid, digest) in contents for uid, digest in model.stored.items())


def test_a_page_tells_what_each_entry_waits_for() -> None:
    queue, _ = new()
    for name in "abc":
        queue.add(entry(name, (ord(name), 1, "x"), (ord(name), 2, "x")))
    queue.wait("a", "client")
    batch = queue.take()
    assert batch
    (first, second), total = queue.page(0, 2, None)
    assert (first.name, first.state, first.left, first.instances, first.studies) == (
        "a",
        WaitingState.SENDING,
        2,
        2,
        ("1.2",),
    )
    assert (second.state, second.attempts, total) == (WaitingState.GATHERING, 0, 3)
    queue.fail(batch, "AWS HealthImaging does not answer")
    ((told,), _) = queue.page(0, 1, frozenset(["aetitle"]))
    assert (told.state, told.attempts, told.error) == (WaitingState.AGAIN, 1, "AWS HealthImaging does not answer")
    assert 0 < told.next_seconds <= 1.0
    assert [one.name for one in queue.page(2, 9, None)[0]] == ["c"]
    assert queue.page(0, 9, frozenset(["other"])) == ((), 0)


def test_what_is_cancelled_is_not_sent() -> None:
    queue, clock = new()
    queue.add(entry("a", (1, 1, "x"), (2, 1, "x")))
    queue.add(entry("b", (1, 2, "x")))
    queue.wait("a", "client")
    cancelled = queue.cancel("a")
    assert cancelled and cancelled.waiters == ["client"] and not queue.has("a")
    clock.now += 100.0
    assert numbers(queue.take()) == ["1.1.2"] and queue.take() is None
    with pytest.raises(NotFound):
        queue.cancel("a")


def test_what_is_being_sent_is_cancelled_only_if_it_is_not_stored() -> None:
    queue, clock = new()
    for name in "ab":
        queue.add(entry(name, (ord(name), 1, "x")))
        queue.wait(name, f"client {name}")
    first, second = queue.take(), queue.take()
    assert first and second
    assert queue.cancel("a") is None and queue.cancel("a") is None and queue.cancel("b") is None
    assert queue.page(0, 1, None)[0][0].is_to_be_cancelled
    queue.finish(first, stored(first))
    assert queue.cancelled_after(first) == []
    queue.fail(second)
    assert [one.entry.name for one in queue.cancelled_after(second)] == ["b"]
    clock.now += 100.0
    assert len(queue) == 0 and queue.take() is None


def test_files_that_others_need_are_not_cancelled() -> None:
    queue, clock = new()
    queue.add(entry("a", (1, 1, "x")))
    assert queue.add(entry("b", (1, 1, "x"))).covered, "its own files are deleted"
    with pytest.raises(Conflict):
        queue.cancel("a")
    assert queue.cancel("b")
    clock.now += 100.0
    assert queue.cancel("a") and queue.take() is None


def test_what_the_data_store_has_is_not_cancelled() -> None:
    queue, clock = new()
    queue.add(entry("a", (1, 1, "x")))
    clock.now += 100.0
    batch = queue.take()
    assert batch
    batch.instances[0].taken = Outcome.of(batch.instances[0].instance)
    queue.fail(batch)
    with pytest.raises(Conflict, match="has it already"):
        queue.cancel("a")
