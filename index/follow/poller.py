"""Following by asking: AHI is asked for what was updated since the last time, minus an overlap.

The overlap is for image sets that AHI lists later than it updates them. What it lists again and the ledger has already
costs no further call. Deletions are not listed: the nightly comparison finds them.
"""

import logging
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import datetime, timedelta, timezone
from threading import Event

from cachetools import LRUCache

from ahi.client.listing_calls import UPDATED_AT, ListedImageSet, ListingCalls, PageTrail, TimeRange
from dicomweb.errors import ProxyError
from index.follow.attempts import Attempts, DatastoreUnreadable
from index.follow.changed import has_version
from index.follow.events import ImageSetHint
from index.follow.holds import FAILURES
from index.follow.progress import FollowerProgress
from index.follow.tally import Tally
from index.writing.ledger import Revision, utc
from index.writing.writer import IndexWriter

log = logging.getLogger(__name__)

ROUND_SECONDS = 5.0
"""Time between two rounds of questions."""

OVERLAP = timedelta(seconds=60)
_CLOCK = timedelta(hours=1)  # AHI's clock may be ahead of ours
_THREADS = 8
_MOST_TRIED = 10_000


@dataclass(frozen=True)
class Poller:
    """One thread at a time catches up with a data store; others may do so with other data stores."""

    listing: ListingCalls
    writer: IndexWriter
    attempts: Attempts
    progress: FollowerProgress
    tally: Tally
    _tried: "LRUCache[tuple[str, str], datetime]" = field(default_factory=lambda: LRUCache(_MOST_TRIED), init=False)

    def run(self, datastore_ids: Callable[[], Iterable[str]], stop: Event, on_round: Callable[[], None]) -> None:
        """Follow these data stores until `stop` is set; what has begun is finished first."""
        while not stop.is_set():
            on_round()
            self._round(datastore_ids, stop, on_round)
            stop.wait(ROUND_SECONDS)

    def _round(self, datastore_ids: Callable[[], Iterable[str]], stop: Event, on_round: Callable[[], None]) -> None:
        """Catch up with each data store; one that fails holds no other one up, and is tried less and less often."""
        failures = []
        try:
            for datastore_id in datastore_ids():
                if not self.attempts.holds.may_try(datastore_id):
                    failures.append(f"data store {datastore_id} cannot be read")
                    continue
                try:
                    self.catch_up(datastore_id, stop, on_round)
                except ProxyError as error:
                    failures.append(str(error))
        except ProxyError as error:
            failures.append(str(error))
        if failures:
            self.tally.source_failed(failures[0])
        else:
            self.tally.source_answered()

    def catch_up(self, datastore_id: str, stop: Event, on_round: Callable[[], None] = lambda: None) -> None:
        """Bring all image sets up to date that were updated since the last time.

        It may end after any page: the next call goes on from there. DatastoreUnreadable if this data store is away
        alone, another ProxyError for an outage of all.
        """
        try:
            self._catch_up(datastore_id, stop, on_round)
        except DatastoreUnreadable:
            raise
        except ProxyError as error:
            self.attempts.raise_for_datastore(error, datastore_id)
        self.attempts.holds.succeeded(datastore_id)

    def _catch_up(self, datastore_id: str, stop: Event, on_round: Callable[[], None]) -> None:
        now = datetime.now(timezone.utc)
        seen_at = self.progress.seen_at(datastore_id) or self._present(datastore_id)
        times = TimeRange(UPDATED_AT, seen_at - OVERLAP, now + _CLOCK)
        with ThreadPoolExecutor(_THREADS, thread_name_prefix="poll") as pool:
            for image_sets in self._pages(datastore_id, times):
                changed = self._changed(datastore_id, image_sets)
                self.tally.count(len(changed))
                list(pool.map(self.attempts.make, changed))
                seen_at = max([seen_at, *(one.updated_at for one in image_sets)])
                self.progress.note_seen(datastore_id, seen_at)
                if changed:
                    self.progress.note_event(datastore_id)
                on_round()
                if stop.is_set():
                    return

    def _present(self, datastore_id: str) -> datetime:
        """The present by AHI's clock. If ours is ahead, it would leave out what changes until AHI's has caught up."""
        told = self.attempts.ask(datastore_id)
        return datetime.now(timezone.utc) if told is None else datetime.fromtimestamp(told, timezone.utc)

    def try_again(self, stop: Event) -> None:
        """Try image sets again that failed before; ProxyError for an outage. Data stores that are held are left out."""
        held = self.attempts.holds.held
        for hint in self.progress.failed_before(but_of=held()):
            if stop.is_set():
                return
            if hint.datastore_id not in held():
                with suppress(DatastoreUnreadable):
                    self.attempts.make(hint)

    def _pages(self, datastore_id: str, times: TimeRange) -> Iterator[Sequence[ListedImageSet]]:
        token, trail = None, PageTrail()
        while True:
            page = self.listing.image_sets(datastore_id, times, token)
            trail.check(page)
            yield page.image_sets
            token = page.next_token
            if not token:
                return

    def _changed(self, datastore_id: str, image_sets: Sequence[ListedImageSet]) -> list[ImageSetHint]:
        """The image sets of which the index has another version.

        Those that failed are tried at a time of their own. Those that were put aside are tried once for each update.
        """
        recorded = self.writer.recorded(datastore_id, [one.image_set_id for one in image_sets])
        return [
            ImageSetHint(datastore_id, one.image_set_id)
            for one in image_sets
            if not has_version(known := recorded.get(one.image_set_id), _revision(one))
            and not (known and known.attempts and self._waits(datastore_id, one, known.attempts))
        ]

    def _waits(self, datastore_id: str, listed: ListedImageSet, failures: int) -> bool:
        if failures < FAILURES:
            return True
        key = datastore_id, listed.image_set_id
        was_tried = self._tried.get(key) == listed.updated_at
        self._tried[key] = listed.updated_at
        return was_tried


def _revision(listed: ListedImageSet) -> Revision:
    return Revision(listed.version, utc(listed.updated_at), listed.is_primary)
