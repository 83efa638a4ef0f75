"""The back-fill: image sets that the index lacks are read and written, several at once. Runs in `python main.py index`.

The ledger of the index is the only memory of it: what it has is not read again, so a run that was killed goes on where
it was. Several runs at once are right, by the row locks of the writer. They read nearly nothing twice: each looks into
the ledger just before it reads, and each goes through a block of image sets in an order of its own.
"""

import logging
import random
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from queue import Empty, Full, Queue

from ahi.client.calls import AhiClient
from ahi.client.listing_calls import ListedImageSet
from ahi.image_sets.image_set import ImageSetKey
from dicomweb.errors import NotFound, ProxyError, UpstreamLocked, UpstreamRefused
from index.compare import Difference, Kind, revision_of
from index.follow.attempts import Attempts, DatastoreUnreadable
from index.follow.changed import ChangedImageSets, Outcome, Parse, Trial
from index.follow.events import ImageSetHint
from index.follow.holds import DatastoreHolds
from index.follow.tally import Tally
from index.patience import OUTAGE_SECONDS, PAUSE_SECONDS, join
from index.writing.ledger import Recorded
from index.writing.writer import IndexWriter

log = logging.getLogger(__name__)

THREADS = 16
"""Image sets at once. Each takes the memory of its metadata."""

_BLOCK = 1000
_LOOK_SECONDS = 0.5

_LOCKED_PAUSES_SECONDS = (2.0, 5.0, 10.0, 30.0)
"""Pauses before the further attempts at image sets that AHI is writing."""

_MOST_LOCKED = 10_000

_REFUSALS = 2 * THREADS
"""Image sets in a row of which AHI refuses or lacks the data store, and after which no others of it are tried."""


@dataclass(frozen=True)
class ListedHint(ImageSetHint):
    """An image set and what AHI lists of it; None for one that is not listed."""

    listed: ListedImageSet | None = None


class Filler:
    """Brings image sets up to date, several at once. `tally` counts what became of them."""

    def __init__(
        self,
        client: AhiClient,
        writer: IndexWriter,
        parse: Parse,
        stop: threading.Event,
        *,
        threads: int = THREADS,
        on_done: Callable[[], None] = lambda: None,
        locked_pauses_seconds: Iterable[float] = _LOCKED_PAUSES_SECONDS,
        outage_seconds: float = OUTAGE_SECONDS,
    ) -> None:
        """`on_done` is called for each image set that is done, by any thread. `stop` ends the run."""
        self.tally = Tally()
        self._client = client
        self._stop = stop
        self._threads = threads
        self._on_done = on_done
        self._locked_pauses_seconds = tuple(locked_pauses_seconds)
        self._outage_seconds = outage_seconds
        self._changed = ChangedImageSets(client, writer, parse)
        self._attempts = Attempts(self._update, client.ping, writer, self.tally, DatastoreHolds(_REFUSALS))
        self._refused: dict[str, DatastoreUnreadable] = {}
        self._locked: list[ListedHint] = []
        self._lock = threading.Lock()
        self._error: Exception | None = None
        self._succeeded_at = time.monotonic()

    @property
    def locked(self) -> int:
        """The image sets that AHI is writing, and that are left for a later run."""
        return len(self._locked)

    def run(self, found: Iterable[Difference]) -> None:
        """Bring these image sets up to date. ProxyError for a refusal, or for an outage that is too long.

        A data store that is refused ends the run after all others are done.
        """
        self._run(map(_hint, _shuffled(found)))
        self._run_locked()
        for refused in self._refused.values():
            raise refused

    def _run_locked(self) -> None:
        for pause_seconds in self._locked_pauses_seconds:
            if not self._locked or self._stop.wait(pause_seconds):
                break
            again, self._locked = self._locked, []
            self._run(iter(again))

    def _run(self, hints: Iterator[ListedHint]) -> None:
        waiting: Queue[ListedHint | None] = Queue(2 * self._threads)
        threads = [threading.Thread(target=self._work, args=(waiting,), daemon=True) for _ in range(self._threads)]
        for thread in threads:
            thread.start()
        try:
            for hint in hints:
                while not self._is_over() and not _offered(waiting, hint):
                    pass
                if self._is_over():
                    break
        finally:
            self._end(threads, waiting)
        if self._error:
            raise self._error

    def _end(self, threads: Sequence[threading.Thread], waiting: "Queue[ListedHint | None]") -> None:
        for _ in threads:
            while not self._is_over() and not _offered(waiting, None):
                pass
        join(threads, self._is_over)

    def _work(self, waiting: "Queue[ListedHint | None]") -> None:
        """Take what waits until there is no more. An error that nobody expects ends the run, which raises it."""
        try:
            while not self._is_over():
                try:
                    hint = waiting.get(timeout=_LOOK_SECONDS)
                except Empty:
                    continue
                if hint is None:
                    return
                while not (self._is_over() or self._try(hint)):
                    pass
        except Exception as error:  # noqa: BLE001 - `_run` raises it
            self._error = self._error or error

    def _try(self, hint: ListedHint) -> bool:
        """Try once; False after an outage."""
        if hint.datastore_id in self._refused:
            return True
        try:
            outcome = self._attempts.make(hint)
        except DatastoreUnreadable as error:
            if not error.is_refused:
                self._wait_for_end(error)
                return False
            self._refused[hint.datastore_id] = error
            return True
        except ProxyError as error:
            self._wait_for_end(error)
            return False
        self._succeeded_at = time.monotonic()
        if outcome is not Outcome.LOCKED:
            self._on_done()
        return True

    def _wait_for_end(self, outage: ProxyError) -> None:
        """Wait a while; the run is over if waiting does not help."""
        self.tally.waits(str(outage))
        if isinstance(outage, UpstreamRefused) or time.monotonic() - self._succeeded_at > self._outage_seconds:
            self._error = self._error or outage
            return
        self._stop.wait(PAUSE_SECONDS)

    def _is_over(self) -> bool:
        return self._stop.is_set() or self._error is not None

    def _update(self, hint: ImageSetHint, trial: Trial) -> Outcome:
        """Bring an image set up to date by the version that was listed. That spares the call of GetImageSet.

        One that was deleted in the index may have been listed before that: AHI is asked again.
        """
        listed = getattr(hint, "listed", None)
        if not isinstance(hint, ListedHint) or listed is None:
            return self._changed.update(hint, trial)
        trial.revision = revision_of(listed)
        recorded = self._changed.recorded(hint)
        try:
            if recorded and recorded.is_deleted:
                return self._changed.update(hint, trial, is_listed=True)
            return self._put(hint, listed, recorded)
        except NotFound:  # deleted, or changed, since the listing
            return self._changed.update(hint, trial)
        except UpstreamLocked:
            with self._lock:
                if len(self._locked) < _MOST_LOCKED:
                    self._locked.append(hint)
            return Outcome.LOCKED

    def _put(self, hint: ListedHint, listed: ListedImageSet, recorded: Recorded | None) -> Outcome:
        revision = revision_of(listed)
        if self._changed.has(hint, recorded, revision):
            return Outcome.UNCHANGED
        key = ImageSetKey(hint.datastore_id, hint.image_set_id)
        self._changed.put(hint, self._client.image_set_metadata(key, str(listed.version)), revision, recorded)
        return Outcome.WRITTEN


def _offered(waiting: "Queue[ListedHint | None]", hint: ListedHint | None) -> bool:
    """Whether there was room in the queue within a moment."""
    try:
        waiting.put(hint, timeout=_LOOK_SECONDS)
    except Full:
        return False
    return True


def _hint(difference: Difference) -> ListedHint:
    """What is to be done about a difference. What AHI neither lists nor shows is gone for ever."""
    is_gone = difference.kind is Kind.GONE
    return ListedHint(difference.datastore_id, difference.image_set_id, deleted=is_gone, listed=difference.listed)


def _shuffled(found: Iterable[Difference]) -> Iterator[Difference]:
    """Blocks of image sets, each in an order of its own: other runs at the same time take others first."""
    rest = iter(found)
    while block := list(islice(rest, _BLOCK)):
        random.shuffle(block)
        yield from block
