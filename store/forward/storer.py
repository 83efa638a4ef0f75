"""Stores a batch: a lease of the series, the call to AHI, the rows of the index, and the outcome of each instance."""

import logging
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress

from ahi.client.stow import OutcomeUnknown, StowAnswer, StowClient
from dicomweb.errors import ProxyError, UpstreamLocked
from index.writing.store_records import StoreRecords
from runtime.shared_metrics import Metric, ProcessMetrics
from store.forward.body import BatchBody
from store.forward.queue import Batch, PendingInstance, SeriesKey
from store.forward.rows import SeriesRows
from store.outcome import FailureReason, Outcome, WarningReason

log = logging.getLogger(__name__)

LEASE_SECONDS = 60.0
_RENEW_SECONDS = 15.0
_LEASE_PAUSE_SECONDS = 0.2
_FIRST_PAUSE_SECONDS, _LONGEST_PAUSE_SECONDS = 0.1, 3.0  # before AHI is asked what it has stored
_NOT_PRIMARY = "it contradicts what the series has, so AWS HealthImaging filed it in an image set of its own"
_OTHER_CONTENT = "another instance with this SOP Instance UID is stored"
_DAMAGED = "the disk of the service has damaged it; send it again"


class SeriesStorer:
    """Stores batches, several at a time. Safe to share between threads."""

    def __init__(
        self,
        stow: StowClient,
        records: StoreRecords,
        rows: SeriesRows,
        process_metrics: ProcessMetrics,
        patience_seconds: float,
    ) -> None:
        """`patience_seconds` is the longest wait for the lease of a series, and for answers that can be read."""
        self._stow = stow
        self._records = records
        self._rows = rows
        self._process_metrics = process_metrics
        self._patience_seconds = patience_seconds
        self._held: set[SeriesKey] = set()
        self._held_lock = threading.Lock()

    def store(self, batch: Batch) -> Sequence[Outcome | None]:
        """The outcome of each instance, in the order of the batch; None for one that is to be tried again later.

        ProxyError if the whole batch is to be tried again later.
        """
        began_at = time.monotonic()
        try:
            with self._lease(batch.series):
                outcomes = self._store(batch)
        except ProxyError:
            self._process_metrics.add(Metric.STORE_FAILURES)
            raise
        refused = [outcome for outcome in outcomes if outcome and not outcome.is_stored]
        self._process_metrics.add(Metric.STORE_FAILURES, None in outcomes)
        self._process_metrics.add(Metric.STORE_REFUSED_INSTANCES, len(refused))
        log.info(
            "series stored series=%s instances=%d refused=%d later=%d ms=%d",
            batch.series.series_instance_uid,
            len(outcomes) - len(refused) - outcomes.count(None),
            len(refused),
            outcomes.count(None),
            (time.monotonic() - began_at) * 1000,
        )
        if refused:
            log.warning(
                "instances refused series=%s number=%d reason=%s",
                batch.series.series_instance_uid,
                len(refused),
                refused[0].detail,
            )
        return outcomes

    def renew_leases(self) -> None:
        """Renew the leases of all series that are being stored, for ever. Function of a thread."""
        while True:
            time.sleep(_RENEW_SECONDS)
            with self._held_lock:
                held = list(self._held)
            for series in held:
                with suppress(ProxyError):  # the lease lasts for some more rounds
                    self._records.take(series.datastore_id, series.series_instance_uid, LEASE_SECONDS)

    @contextmanager
    def _lease(self, series: SeriesKey) -> Iterator[None]:
        """Hold the lease of a series; UpstreamLocked if another forwarder keeps it."""
        key = (series.datastore_id, series.series_instance_uid)
        give_up_at = time.monotonic() + self._patience_seconds
        while not self._records.take(*key, LEASE_SECONDS):
            if time.monotonic() > give_up_at:
                raise UpstreamLocked("another task of the service stores into this series")
            time.sleep(_LEASE_PAUSE_SECONDS)
        with self._held_lock:
            self._held.add(series)
        try:
            yield
        finally:
            with self._held_lock:
                self._held.discard(series)
            with suppress(ProxyError):  # it ends by itself
                self._records.release(*key)

    def _store(self, batch: Batch) -> list[Outcome | None]:
        outcomes = self._known(batch)
        self._send_new(batch, outcomes)
        taken = {one.instance.sop_instance_uid: one for one in batch.instances if one.taken and one not in outcomes}
        if taken:
            places = self._rows.write(batch.series, taken.keys())
            written = {uid: taken[uid] for uid in places}
            self._records.note(batch.series.datastore_id, {uid: one.instance.sha256 for uid, one in written.items()})
            for uid, one in written.items():
                outcomes[one] = _placed(one, is_primary=places[uid])
            self._process_metrics.add(Metric.STORED_INSTANCES, len(written))
            self._process_metrics.add(Metric.STORED_BYTES, sum(one.instance.length_bytes for one in written.values()))
        return [outcomes.get(one) for one in batch.instances]

    def _known(self, batch: Batch) -> dict[PendingInstance, Outcome]:
        """The outcomes of instances that are stored already, with the same content or with another one."""
        uids = [one.instance.sop_instance_uid for one in batch.instances if one.taken is None]
        digests = self._records.digests(batch.series.datastore_id, uids)
        outcomes = {}
        for one in batch.instances:
            digest = digests.get(one.instance.sop_instance_uid)
            if digest == one.instance.sha256:
                outcomes[one] = Outcome.of(one.instance)
            elif digest is not None:
                outcomes[one] = Outcome.of(
                    one.instance, failure=FailureReason.DUPLICATE_INSTANCE, detail=_OTHER_CONTENT
                )
        return outcomes

    def _send_new(self, batch: Batch, outcomes: dict[PendingInstance, Outcome]) -> None:
        """Send what AHI does not have.

        Each instance that it may have is looked for first: it would make another version of its image set.
        """
        give_up_at, pause_seconds = time.monotonic() + self._patience_seconds, _FIRST_PAUSE_SECONDS
        while True:
            self._find_taken(batch.series, [one for one in batch.instances if one not in outcomes])
            new = [one for one in batch.instances if one not in outcomes and one.taken is None]
            if not new:
                return
            try:
                self._send(batch.series.datastore_id, new, outcomes)
            except (OutcomeUnknown, UpstreamLocked):
                if time.monotonic() + pause_seconds > give_up_at:
                    raise
            else:
                return
            time.sleep(pause_seconds)
            pause_seconds = min(_LONGEST_PAUSE_SECONDS, 2 * pause_seconds)

    def _find_taken(self, series: SeriesKey, instances: Sequence[PendingInstance]) -> None:
        """Mark what AHI has taken of the instances that it may have.

        An instance that the index had before is none of them: what AHI has may be that one, with other content.
        """
        unsure = {one.instance.sop_instance_uid: one for one in instances if one.may_be_stored and one.taken is None}
        if not unsure:
            return
        before = self._records.indexed(series.datastore_id, unsure)
        for uid in self._rows.gained(series, unsure.keys() - before):
            unsure[uid].taken = Outcome.of(unsure[uid].instance)

    def _send(
        self, datastore_id: str, new: Sequence[PendingInstance], outcomes: dict[PendingInstance, Outcome]
    ) -> None:
        """Send instances to AHI. Those that it refuses get an outcome, those that it has stored are `taken`.

        If AHI does not take a request as a whole, each half is sent alone, down to the instance that it does not take.
        """
        body = BatchBody(new)
        try:
            answer = self._stow.store(datastore_id, body, may_be_stored=any(one.may_be_stored for one in new))
        except (ProxyError, OSError) as error:
            for one in new:
                one.may_be_stored |= isinstance(error, OutcomeUnknown)
            for one in body.damaged:
                outcomes[one] = _refused(one, FailureReason.PROCESSING_FAILURE, _DAMAGED)
            intact = [one for one in new if one not in body.damaged]
            if len(intact) == len(new):
                raise
            if intact:
                self._send(datastore_id, intact, outcomes)
            return
        if not answer.not_taken:
            self._note(new, answer, outcomes)
        elif len(new) == 1:
            reason = f"AWS HealthImaging refuses it: {answer.not_taken}"
            outcomes[new[0]] = _refused(new[0], FailureReason.CANNOT_UNDERSTAND, reason)
        else:
            for half in (new[: len(new) // 2], new[len(new) // 2 :]):
                self._send(datastore_id, half, outcomes)

    @staticmethod
    def _note(sent: Sequence[PendingInstance], answer: StowAnswer, outcomes: dict[PendingInstance, Outcome]) -> None:
        for one in sent:
            uid = one.instance.sop_instance_uid
            if uid in answer.stored:
                one.taken = Outcome.of(one.instance, warning=answer.stored[uid] or None)
            elif uid in answer.failed:
                reason = answer.failed[uid] or FailureReason.PROCESSING_FAILURE
                outcomes[one] = _refused(one, reason, "AWS HealthImaging refuses it")
            elif len(sent) == 1 and answer.failed:  # AHI could not read its UID
                outcomes[one] = _refused(one, next(iter(answer.failed.values())), "AWS HealthImaging cannot read it")
            else:
                one.may_be_stored = True


def _refused(one: PendingInstance, reason: int, detail: str) -> Outcome:
    return Outcome.of(one.instance, failure=reason, detail=detail)


def _placed(one: PendingInstance, *, is_primary: bool) -> Outcome:
    """The outcome of an instance that is in the index now."""
    taken = one.taken or Outcome.of(one.instance)
    if is_primary:
        return taken
    return Outcome.of(one.instance, warning=taken.warning or WarningReason.COERCED, detail=_NOT_PRIMARY)
