"""The server of the forwarder: it listens to the web processes, runs batches in threads, and answers who waits.

On SIGHUP another forwarder takes its place: this one begins no more batches, and ends when those that run are done, or
after 30 seconds. What is not done stays in the spool, where the other one finds it.
"""

import logging
import select
import socket
import threading
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import Protocol, TypeAlias

from dicomweb.errors import NotFound, ProxyError, UpstreamBusy
from runtime.heartbeat import Heartbeat
from runtime.messages import encode_message
from runtime.outage import Outage
from runtime.peer_connection import READ, WRITE, PeerConnection
from runtime.recent_rate import RecentRate
from runtime.shared_metrics import Metric, ProcessMetrics
from store.forward.client import StoreRequest
from store.forward.queue import Batch, ForwardQueue, PendingEntry
from store.forward.waiting import Cancelled, CancelRequest, WaitingPage, WaitingRequest
from store.outcome import FailureReason, Outcome, Sender
from store.spool.spool import OLD_SECONDS, Entry, Spool, SpoolStatus

log = logging.getLogger(__name__)

THREADS = 8
"""Series that are stored at the same time."""

_POLL_SECONDS = 1.0
_SCAN_SECONDS = 5.0
_ADOPT_SECONDS = 15.0  # between two looks whether a service has ended that shared the folder of the spool
_PAUSE_SECONDS = 0.1  # after an error of the poll, which may repeat
_LEAVE_SECONDS = 30.0
_BATCH_SECONDS = 900.0  # of a batch at most: it waits for AHI, for a lease and for the index
_WARNING_SECONDS = 60.0
_NOT_COMPLETED = UpstreamBusy("the request could not be completed")
_TOO_LONG = UpstreamBusy("AWS HealthImaging has not stored it yet", retry_after_seconds=30)

_CANCELLED = "an operator of the service has cancelled it"

Question: TypeAlias = StoreRequest | WaitingRequest | CancelRequest
Answer: TypeAlias = list[Outcome] | WaitingPage | Cancelled | ProxyError
WebConnection: TypeAlias = PeerConnection[Question, str]


class Storer(Protocol):
    """Stores a batch of instances."""

    def store(self, batch: Batch) -> Sequence[Outcome | None]:
        """The outcome of each instance, in the order of the batch; None for one that is to be tried again later.

        ProxyError if the whole batch is to be tried again later.
        """


class ForwardServer:
    """The queue, the connections, and the threads that store. `listen` is the function of the main thread."""

    def __init__(
        self,
        listening: socket.socket,
        spool: Spool,
        queue: ForwardQueue,
        storer: Storer,
        heartbeat: Heartbeat,
        process_metrics: ProcessMetrics,
        note: Callable[[Sender, Sequence[Outcome]], None] = lambda sender, outcomes: None,
        adopt: Callable[[], Sequence[str]] = tuple,
    ) -> None:
        """`note` and `adopt` are those of `ForwarderParts`."""
        self._note = note
        self._adopt = adopt
        listening.setblocking(False)
        self._listening = listening
        self._spool = spool
        self._queue = queue
        self._storer = storer
        self._heartbeat = heartbeat
        self._process_metrics = process_metrics
        self._changed = threading.Condition()
        self._stored = RecentRate()
        self._settling: set[str] = set()  # entries that have their outcomes and are still on disk
        self._running = 0
        self._is_leaving = False
        self._poll = select.epoll()
        self._poll.register(listening, READ)
        self._connections: dict[int, WebConnection] = {}
        self._scanned_at = self._warned_at = self._told_at = float("-inf")
        self._disk = Outage("the disk of the spool")
        self._adopted_at = float("-inf")
        self._was_here: frozenset[str] = frozenset()
        """The entries that another forwarder may have sent."""

    def start(self, threads: int = THREADS) -> None:
        """Start the threads that store. No other forwarder works with the spool from now on."""
        with suppress(OSError):  # the loop tells it
            self._was_here = frozenset(self._spool.names())
        for number in range(threads):
            threading.Thread(target=self._work, name=f"store-{number}", daemon=True).start()

    def listen(self) -> None:
        """One round: handle what the connections have sent, for a second at most, and look after the queue."""
        self._heartbeat.listened()
        try:
            for descriptor, event in self._poll.poll(_POLL_SECONDS):
                if descriptor == self._listening.fileno():
                    self._accept()
                elif connection := self._connections.get(descriptor):
                    self._handle(connection, event)
            self._look_after()
        except Exception:
            log.exception("the forwarder could not listen")
            time.sleep(_PAUSE_SECONDS)

    def leave(self) -> None:
        """Begin nothing new, and return when what runs is done, or after 30 seconds."""
        give_up_at = time.monotonic() + _LEAVE_SECONDS
        with self._changed:
            self._is_leaving = True
            self._changed.notify_all()
            while self._running and time.monotonic() < give_up_at:
                self._heartbeat.listened()
                self._changed.wait(_POLL_SECONDS)

    def _look_after(self) -> None:
        """Answer who has waited for too long, and find entries of which nobody has told."""
        with self._changed:
            late: list[WebConnection] = self._queue.expired()
            self._heartbeat.set_waiting(self._queue.due)
        _answer(late, _TOO_LONG)
        if time.monotonic() - self._scanned_at > _SCAN_SECONDS:
            self._scan()
            self._scanned_at = time.monotonic()

    def _scan(self) -> None:
        try:
            self._take_over()
            self._spool.layout.sweep()
            for name in self._spool.names():
                self._heartbeat.listened()
                with suppress(NotFound):  # removed meanwhile, or no entry: `status` counts these
                    self._add(name)
            status = self._spool.status()
        except OSError as error:  # web processes tell of entries meanwhile, and what is known is forwarded
            self._disk.begins(_reason(error))
            self._process_metrics.set(Metric.SPOOL_UNREADABLE, 1)
            return
        self._disk.is_over()
        self._process_metrics.set(Metric.SPOOL_UNREADABLE, 0)
        for metric, number in (
            (Metric.SPOOL_ENTRIES, status.entries),
            (Metric.SPOOL_BYTES, status.size_bytes),
            (Metric.SPOOL_AGE_SECONDS, int(status.oldest_seconds)),
            (Metric.SPOOL_REFUSED, status.refused),
            (Metric.SPOOL_UNKNOWN, status.unknown),
        ):
            self._process_metrics.set(metric, number)
        self._tell_if_old(status)

    def _tell_if_old(self, status: SpoolStatus) -> None:
        """Log that entries wait for long, once in OLD_SECONDS."""
        now = time.monotonic()
        if status.oldest_seconds > OLD_SECONDS < now - self._told_at:
            self._told_at = now
            log.warning("store requests wait entries=%d oldest_seconds=%d", status.entries, status.oldest_seconds)

    def _take_over(self) -> None:
        if time.monotonic() - self._adopted_at > _ADOPT_SECONDS:
            self._adopted_at = time.monotonic()
            adopted = self._adopt()
            if adopted:
                self._was_here |= frozenset(adopted)
                log.warning("spool of an ended service taken over entries=%d", len(adopted))

    def _add(self, name: str, waiter: WebConnection | None = None) -> None:
        """Add an entry to the queue, unless it is there; NotFound."""
        with self._changed:
            is_new = not self._queue.has(name)
        entry = self._spool.entry(name) if is_new else None
        with self._changed:
            if name in self._settling:
                raise NotFound("the entry is being removed")
            if entry and not self._queue.has(name):
                pending = self._queue.add(entry, was_here=name in self._was_here)
                if pending.covered:
                    self._remove_covered(entry)
            if not self._queue.has(name):
                raise NotFound("the entry was removed")
            if waiter:
                self._queue.wait(name, waiter)
            self._changed.notify()

    def _remove_covered(self, entry: Entry) -> None:
        try:
            self._spool.remove(entry)
        except OSError as error:  # once all is stored it is found again, and nothing of it is sent
            self._warn("an entry of the spool stays", error)

    def _warn(self, problem: str, error: OSError) -> None:
        """Log a problem that may repeat, once a minute."""
        if time.monotonic() - self._warned_at > _WARNING_SECONDS:
            self._warned_at = time.monotonic()
            log.warning("%s: %s; this is said once a minute", problem, _reason(error))

    def _accept(self) -> None:
        try:
            accepted, _ = self._listening.accept()
        except BlockingIOError:  # the other side has closed it again
            return
        except OSError as error:  # too many open files: the web process waits, and it is tried again
            self._warn("a connection of a web process cannot be taken", error)
            time.sleep(_PAUSE_SECONDS)
            return
        accepted.setblocking(False)
        self._connections[accepted.fileno()] = PeerConnection(accepted, self._poll)
        self._poll.register(accepted, READ)

    def _handle(self, connection: WebConnection, event: int) -> None:
        if event & WRITE:
            connection.send_more()
        if event & ~WRITE:
            requests = connection.read()
            for request in requests or ():
                self._receive(request, connection)
            if requests is None:
                self._drop(connection)

    def _receive(self, request: Question, connection: WebConnection) -> None:
        match request:
            case WaitingRequest():
                _answer([connection], self._waiting(request))
            case CancelRequest():
                _answer([connection], self._cancel(request.entry))
            case StoreRequest():
                try:
                    self._add(request.entry, connection if request.waits else None)
                except NotFound as error:
                    if request.waits:
                        _answer([connection], error)

    def _waiting(self, request: WaitingRequest) -> WaitingPage:
        with self._changed:
            entries, total = self._queue.page(request.first, request.most, request.ae_titles)
        return WaitingPage(entries, total, self._stored.per_second)

    def _cancel(self, name: str) -> Cancelled | ProxyError:
        try:
            with suppress(NotFound):  # of what this process has not seen yet
                self._add(name)
            with self._changed:
                pending = self._queue.cancel(name)
                if pending is None:
                    return Cancelled.AFTER_ATTEMPT
                self._settling.add(name)
        except ProxyError as error:
            return error
        return Cancelled.NOW if self._discard(pending) else UpstreamBusy("the disk of the spool cannot be written")

    def _discard(self, pending: PendingEntry) -> bool:
        """Delete an entry that was taken out of the queue, and tell who waits; whether its files are gone."""
        name, manifest = pending.entry.name, pending.entry.manifest
        outcomes = [
            outcome or Outcome.of(instance, failure=FailureReason.PROCESSING_FAILURE, detail=_CANCELLED)
            for outcome, instance in zip(pending.outcomes, manifest.instances, strict=True)
        ]
        try:
            with suppress(NotFound):
                if not pending.covered:
                    self._spool.remove(pending.entry)
        except OSError as error:  # the next look at the folder finds it again
            self._warn("an entry of the spool stays", error)
            _answer(pending.waiters, _NOT_COMPLETED)
            return False
        finally:
            with self._changed:
                self._settling.discard(name)
        log.warning("store request cancelled by an operator entry=%s", name)
        if not pending.was_told:
            self._note(manifest.sender, outcomes)
        _answer(pending.waiters, outcomes)
        return True

    def _drop(self, connection: WebConnection) -> None:
        del self._connections[connection.descriptor]
        connection.close()
        with self._changed:
            self._queue.leave(connection)

    def _work(self) -> None:
        """Store batches, for ever."""
        while batch := self._next():
            with self._heartbeat.expecting(_BATCH_SECONDS):
                self._run(batch)

    def _next(self) -> Batch | None:
        """Wait for the next batch; None when this process leaves."""
        with self._changed:
            while not self._is_leaving:
                if batch := self._queue.take():
                    self._running += 1
                    return batch
                due = self._queue.next_due()
                self._changed.wait(_POLL_SECONDS if due is None else min(due, _POLL_SECONDS))
        return None

    def _run(self, batch: Batch) -> None:
        try:
            self._store(batch)
        except OSError as error:
            log.error("series not stored: %s series=%s", _reason(error), batch.series.series_instance_uid)  # noqa: TRY400
            self._fail(batch)
        except Exception:  # mistakes of ours
            log.exception("series not stored series=%s", batch.series.series_instance_uid)
            self._fail(batch)
        finally:
            with self._changed:
                self._running -= 1
                self._changed.notify_all()

    def _fail(self, batch: Batch, error: ProxyError = _NOT_COMPLETED) -> None:
        """Have a batch tried again later, and tell those who wait."""
        with self._changed:
            waiting = self._queue.fail(batch, str(error))
            cancelled = self._take_cancelled(batch)
        _answer(waiting, error)
        for pending in cancelled:
            self._discard(pending)

    def _take_cancelled(self, batch: Batch) -> list[PendingEntry]:
        """The entries that are to be cancelled after a batch. The lock is held."""
        cancelled = self._queue.cancelled_after(batch)
        self._settling.update(pending.entry.name for pending in cancelled)
        return cancelled

    def _store(self, batch: Batch) -> None:
        try:
            outcomes = self._storer.store(batch)
        except ProxyError as error:
            self._fail(batch, error)
            return
        with self._changed:
            complete = self._queue.finish(batch, outcomes)
            self._settling.update(pending.entry.name for pending in complete)
            cancelled = self._take_cancelled(batch)
        self._stored.add(sum(bool(outcome and outcome.is_stored) for outcome in outcomes))
        for pending in complete:
            self._settle(pending)
        for pending in cancelled:
            self._discard(pending)

    def _settle(self, pending: PendingEntry) -> None:
        """Remove an entry that has all its outcomes, or set it aside if a refusal was told to nobody; then answer."""
        outcomes = [outcome for outcome in pending.outcomes if outcome]
        is_stored = all(outcome.is_stored for outcome in outcomes)
        if not pending.was_told:
            self._note(pending.entry.manifest.sender, outcomes)
        if not pending.covered:
            try:
                if is_stored or pending.was_told:
                    self._spool.remove(pending.entry)
                else:
                    self._spool.refuse(pending.entry, outcomes)
                    log.warning("store request set aside, instances of it were refused entry=%s", pending.entry.name)
            except NotFound:  # another service has taken it over, and finds that it is stored
                pass
            except OSError as error:  # the next start stores it again, which changes nothing
                log.error("entry of the spool stays: %s entry=%s", error.strerror, pending.entry.name)  # noqa: TRY400
                _answer(pending.waiters, outcomes)
                return
        with self._changed:
            self._settling.discard(pending.entry.name)
        _answer(pending.waiters, outcomes)


def _reason(error: OSError) -> str:
    return error.strerror or type(error).__name__


def _answer(connections: Sequence[WebConnection], answer: Answer) -> None:
    content = encode_message(answer)
    for connection in connections:
        connection.answer(content)
