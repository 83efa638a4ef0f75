"""The queue of the forwarder: instances by series, and which of them go to the data store together.

Instances of one series go together, and one batch of a series at a time. A batch begins when it is worth it:

    clients wait     as many requests as were under way at the same time before, or none came for as long as the last
                     batch took: 50 milliseconds at least, half a second at most
    nobody waits     no instance came for 2 seconds, or the oldest has waited for 30
    either           the batch is full

The same instance with the same content, sent twice, is stored once, and both requests get its outcome.
"""

import time
from collections import OrderedDict
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import islice
from typing import Any, NamedTuple

from dicomweb.errors import Conflict, NotFound
from store.forward.waiting import MOST_STUDIES, WaitingEntry, WaitingState
from store.outcome import Outcome, ReceivedInstance
from store.spool.spool import Entry

_SHORTEST_GATHER_SECONDS, _LONGEST_GATHER_SECONDS = 0.05, 0.5
_QUIET_SECONDS = 2.0
_LONGEST_SECONDS = 30.0
_FIRST_PAUSE_SECONDS, _LONGEST_PAUSE_SECONDS = 1.0, 60.0
_REMEMBERED_SECONDS = 10.0  # of a series, how many requests were under way
_MAX_INSTANCES = 5000


class SeriesKey(NamedTuple):
    """A series in a data store."""

    datastore_id: str
    study_instance_uid: str
    series_instance_uid: str


class _Content(NamedTuple):
    datastore_id: str
    sop_instance_uid: str
    sha256: str


@dataclass(eq=False)
class PendingEntry:
    """An entry whose instances do not all have an outcome yet."""

    entry: Entry
    outcomes: list[Outcome | None]
    series: set["SeriesKey"] = field(default_factory=set)
    waiters: list[Any] = field(default_factory=list)
    waits_since: float = 0.0
    covered: bool = False
    """Whether all its instances are also in older entries, so that its own files are not needed."""
    was_told: bool = False
    """Whether a client waits, or has waited, for its outcome."""
    is_to_be_cancelled: bool = False
    """Whether an operator does not want it; it was being sent then."""


@dataclass(eq=False)
class PendingInstance:
    """An instance that is to be stored. `places` are the places for its outcome; the first one has its bytes."""

    instance: ReceivedInstance
    places: list[tuple[PendingEntry, int]]
    since: float
    may_be_stored: bool = False
    """Whether the data store may have it: it was sent, and no answer to that was read."""
    taken: Outcome | None = None
    """The outcome of the data store, when it has taken the instance and the rows of the index are not written yet."""

    @property
    def entry(self) -> Entry:
        """The entry that has its bytes."""
        return self.places[0][0].entry


@dataclass(eq=False)
class _Series:
    instances: OrderedDict[_Content, PendingInstance] = field(default_factory=OrderedDict)
    size_bytes: int = 0
    waiting: set[str] = field(default_factory=set)
    """The names of the entries for which clients wait."""
    is_running: bool = False
    changed_at: float = 0.0
    expected: int = 1
    """The number of requests that are probably under way: as many as at the end of one of the last two batches."""
    counted: int = 1
    """The number at the end of the last batch."""
    began_at: float = 0.0
    gather_seconds: float = _SHORTEST_GATHER_SECONDS
    failures: int = 0
    error: str = ""
    """Why the last batch failed."""
    not_before: float = 0.0


@dataclass(frozen=True)
class Batch:
    """Instances of one series that go to the data store together. No SOP Instance UID is in it twice."""

    series: SeriesKey
    instances: tuple[PendingInstance, ...]


class ForwardQueue:
    """The instances that have no outcome yet. Calls must not overlap."""

    def __init__(self, max_batch_bytes: int, wait_seconds: float, clock: Callable[[], float] = time.monotonic) -> None:
        self._max_batch_bytes = max_batch_bytes
        self._wait_seconds = wait_seconds
        self._clock = clock
        self._entries: dict[str, PendingEntry] = {}
        self._waits_for: dict[Any, PendingEntry] = {}
        self._series: OrderedDict[SeriesKey, _Series] = OrderedDict()

    def __len__(self) -> int:
        """The number of entries."""
        return len(self._entries)

    def entries(self) -> list[Entry]:
        """The entries in the order in which they came."""
        return [pending.entry for pending in self._entries.values()]

    def has(self, name: str) -> bool:
        """Whether an entry is in the queue."""
        return name in self._entries

    def page(self, first: int, most: int, ae_titles: frozenset[str] | None) -> tuple[tuple[WaitingEntry, ...], int]:
        """`most` entries after the first `first` ones, of these AE titles or of all; and their number in all."""
        found = [
            pending
            for pending in self._entries.values()
            if ae_titles is None or pending.entry.manifest.sender.ae_title in ae_titles
        ]
        return tuple(map(self._described, islice(found, first, first + most))), len(found)

    def _described(self, pending: PendingEntry) -> WaitingEntry:
        manifest, now = pending.entry.manifest, self._clock()
        series = [self._series[key] for key in pending.series if key in self._series]
        failing = max(series, key=lambda one: one.failures, default=_Series())
        next_seconds = max(0.0, failing.not_before - now) if failing.failures else 0.0
        return WaitingEntry(
            pending.entry.name,
            manifest.sender,
            manifest.received_at,
            len(manifest.instances),
            pending.outcomes.count(None),
            manifest.end,
            tuple(sorted({key.study_instance_uid for key in pending.series})[:MOST_STUDIES]),
            _state(is_running=any(one.is_running for one in series), is_failing=failing.failures > 0),
            failing.failures,
            next_seconds,
            failing.error,
            pending.is_to_be_cancelled,
        )

    def cancel(self, name: str) -> PendingEntry | None:
        """Take an entry out of the queue; its instances are not sent, unless other entries have them, too.

        None if it is being sent: `cancelled_after` gives it when that has failed. NotFound if it is not in the queue,
        Conflict if the data store has some of it already, or if other entries need its files.
        """
        pending = self._entries.get(name)
        if pending is None:
            raise NotFound("it waits no longer")
        own = list(self._instances_of(pending))
        if any(one.taken for _, _, one in own):
            raise Conflict(
                "the data store has it already, and its rows in the index are missing: it cannot be cancelled"
            )
        if any(one.places[0][0] is pending and _has_others(one, pending) for _, _, one in own):
            raise Conflict("a later store request has the same instances, and needs these files: cancel that one first")
        if any(self._series[key].is_running for key in pending.series & self._series.keys()):
            pending.is_to_be_cancelled = True
            return None
        for series, content, one in own:
            one.places = [place for place in one.places if place[0] is not pending]
            if not one.places:
                del series.instances[content]
                series.size_bytes -= one.instance.length_bytes
        self._complete(pending)
        return pending

    def cancelled_after(self, batch: Batch) -> list[PendingEntry]:
        """The entries that were to be cancelled after this batch; they are taken out of the queue.

        One of which the data store has taken something stays.
        """
        found = {id(pending): pending for one in batch.instances for pending, _ in one.places}
        wanted = [one for one in found.values() if one.is_to_be_cancelled and one.entry.name in self._entries]
        cancelled = []
        for pending in wanted:
            pending.is_to_be_cancelled = False
            try:
                taken_out = self.cancel(pending.entry.name)
            except Conflict:
                continue
            cancelled += [taken_out] if taken_out else []  # else another series of it is being sent
        return cancelled

    def _instances_of(self, pending: PendingEntry) -> Iterator[tuple[_Series, _Content, PendingInstance]]:
        """The instances of an entry that have no outcome yet, each once."""
        seen: set[_Content] = set()
        datastore_id = pending.entry.manifest.sender.datastore_id
        for instance in pending.entry.manifest.instances:
            series = self._series.get(
                SeriesKey(datastore_id, instance.study_instance_uid, instance.series_instance_uid)
            )
            content = _Content(datastore_id, instance.sop_instance_uid, instance.sha256)
            if series and content in series.instances and content not in seen:
                seen.add(content)
                yield series, content, series.instances[content]

    def add(self, entry: Entry, *, was_here: bool = False) -> PendingEntry:
        """Add an entry. It is `covered` if older entries have all its instances.

        `was_here`: a forwarder before this one may have sent it.
        """
        now = self._clock()
        pending = self._entries[entry.name] = PendingEntry(entry, [None] * len(entry.manifest.instances))
        known = [self._add(pending, index, now, was_here) for index in range(len(pending.outcomes))]
        pending.covered = all(known)
        return pending

    def _add(self, pending: PendingEntry, index: int, now: float, was_here: bool) -> bool:
        """Add one instance; whether an older entry has it, too."""
        instance, datastore_id = pending.entry.manifest.instances[index], pending.entry.manifest.sender.datastore_id
        key = SeriesKey(datastore_id, instance.study_instance_uid, instance.series_instance_uid)
        series = self._series.setdefault(key, _Series())
        series.changed_at = now
        pending.series.add(key)
        content = _Content(datastore_id, instance.sop_instance_uid, instance.sha256)
        if same := series.instances.get(content):
            same.places.append((pending, index))
            same.may_be_stored |= was_here
            return same.entry is not pending.entry
        series.instances[content] = PendingInstance(instance, [(pending, index)], now, was_here)
        series.size_bytes += instance.length_bytes
        return False

    def wait(self, name: str, waiter: Any) -> None:
        """Add a client that waits for the outcome of an entry, which must be in the queue."""
        pending = self._entries[name]
        pending.waits_since = self._clock()
        pending.waiters.append(waiter)
        pending.was_told = True
        self._waits_for[waiter] = pending
        for key in pending.series & self._series.keys():
            series = self._series[key]
            series.waiting.add(name)
            series.not_before = min(series.not_before, self._clock() + _FIRST_PAUSE_SECONDS)  # AHI may be back

    def leave(self, waiter: Any) -> None:
        """Forget a client that has gone."""
        if pending := self._waits_for.pop(waiter, None):
            pending.waiters.remove(waiter)
            if not pending.waiters:
                self._nobody_waits(pending)

    def expired(self) -> list[Any]:
        """The clients that have waited for too long. They are forgotten."""
        limit = self._clock() - self._wait_seconds
        late = {id(p): p for p in self._waits_for.values() if p.waits_since < limit}
        return [waiter for pending in late.values() for waiter in self._nobody_waits(pending)]

    def _nobody_waits(self, pending: PendingEntry) -> list[Any]:
        """Forget the clients that wait for an entry; these."""
        waiters, pending.waiters, pending.was_told = pending.waiters, [], False
        for waiter in waiters:
            del self._waits_for[waiter]
        for key in pending.series & self._series.keys():
            self._series[key].waiting.discard(pending.entry.name)
        return waiters

    def take(self) -> Batch | None:
        """The next batch that is due; None if none is."""
        now = self._clock()
        for key, series in list(self._series.items()):
            if series.is_running:
                continue
            if not series.instances:
                if now - series.changed_at > _REMEMBERED_SECONDS:
                    del self._series[key]
            elif self._due_at(series) <= now:
                series.is_running, series.began_at = True, now
                self._series.move_to_end(key)
                return Batch(key, tuple(self._chosen(series)))
        return None

    def next_due(self) -> float | None:
        """The seconds until a batch is due, if nothing changes; None if none will be."""
        due = [self._due_at(one) for one in self._series.values() if one.instances and not one.is_running]
        return max(0.0, min(due) - self._clock()) if due else None

    @property
    def due(self) -> int:
        """The number of batches that are due and wait for a thread."""
        now = self._clock()
        return sum(
            bool(one.instances) and not one.is_running and self._due_at(one) <= now for one in self._series.values()
        )

    def _due_at(self, series: _Series) -> float:
        oldest = next(iter(series.instances.values())).since
        waiting = len(series.waiting)
        if series.size_bytes >= self._max_batch_bytes or (waiting and waiting >= series.expected):
            due = 0.0
        elif waiting:
            due = series.changed_at + series.gather_seconds
        else:
            due = min(series.changed_at + _QUIET_SECONDS, oldest + _LONGEST_SECONDS)
        return max(due, series.not_before)

    def _chosen(self, series: _Series) -> Iterator[PendingInstance]:
        """The oldest instances that fit into a batch, at least one."""
        uids: set[str] = set()
        size_bytes = 0
        for content, one in series.instances.items():
            size_bytes += one.instance.length_bytes
            if uids and (size_bytes > self._max_batch_bytes or len(uids) >= _MAX_INSTANCES):
                return
            if content.sop_instance_uid not in uids:
                uids.add(content.sop_instance_uid)
                yield one

    def finish(self, batch: Batch, outcomes: Sequence[Outcome | None]) -> list[PendingEntry]:
        """Note the outcomes of a batch, in its order; None means later. Returns the entries that are complete now.

        Complete entries are no longer in the queue, and nobody in it waits for them.
        """
        series, now = self._series[batch.series], self._clock()
        count = max(1, len(series.waiting))
        series.expected, series.counted = max(count, series.counted), count
        series.gather_seconds = min(max(now - series.began_at, _SHORTEST_GATHER_SECONDS), _LONGEST_GATHER_SECONDS)
        complete = []
        for one, outcome in zip(batch.instances, outcomes, strict=True):
            if outcome is None:
                continue
            del series.instances[
                _Content(batch.series.datastore_id, one.instance.sop_instance_uid, one.instance.sha256)
            ]
            series.size_bytes -= one.instance.length_bytes
            for pending, index in one.places:
                pending.outcomes[index] = outcome
                if all(pending.outcomes):
                    complete.append(pending)
        for pending in complete:
            self._complete(pending)
        series.is_running, series.changed_at = False, now
        if None in outcomes:
            seconds = min(_LONGEST_PAUSE_SECONDS, _FIRST_PAUSE_SECONDS * 2**series.failures)
            series.not_before, series.failures = now + seconds, min(series.failures + 1, 10)
        else:
            series.failures = 0
        return complete

    def _complete(self, pending: PendingEntry) -> None:
        waiters, was_told = pending.waiters, pending.was_told
        self._nobody_waits(pending)
        pending.waiters, pending.was_told = waiters, was_told  # for the caller, who answers them
        del self._entries[pending.entry.name]

    def fail(self, batch: Batch, reason: str = "") -> list[Any]:
        """Note that a batch is tried again after a pause. Returns the clients that waited, which are forgotten."""
        self.finish(batch, [None] * len(batch.instances))
        self._series[batch.series].error = reason
        return self.give_up_waiting(batch)

    def give_up_waiting(self, batch: Batch) -> list[Any]:
        """The clients that wait for what is left of a batch; they are forgotten."""
        left = {id(pending): pending for one in batch.instances for pending, _ in one.places}
        return [waiter for pending in left.values() for waiter in self._nobody_waits(pending)]


def _has_others(one: PendingInstance, own: PendingEntry) -> bool:
    """Whether another entry has this instance, too."""
    return any(pending is not own for pending, _ in one.places)


def _state(*, is_running: bool, is_failing: bool) -> WaitingState:
    if is_running:
        return WaitingState.SENDING
    return WaitingState.AGAIN if is_failing else WaitingState.GATHERING
