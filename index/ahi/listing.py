"""The listing of a data store: SearchImageSets by several threads, each in a range of `createdAt`.

The first thread lists all image sets, the oldest first. A thread without work takes the later half of the longest range
that another one is in, so that ranges need not be known before. Ranges overlap by a second: AHI compares whole seconds,
and does not say how it rounds. An image set may be listed twice therefore, and none is missed.
"""

import logging
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta, timezone
from functools import partial

from ahi.client.listing_calls import CREATED_AT, ListedImageSet, ListingCalls, Page, PageTrail, TimeRange
from ahi.client.searches import PAGE_SIZE
from dicomweb.errors import NotFound
from index.patience import join, patiently

log = logging.getLogger(__name__)

THREADS = 16
"""Calls at once: AHI promises answers within a second, and allows 25 a second."""

_SECOND = timedelta(seconds=1)
_SHORTEST = 4 * _SECOND
"""A range that is shorter is not divided."""
_BEGINNING = datetime(1970, 1, 1, tzinfo=timezone.utc)
_WORTH_DIVIDING = 2 * PAGE_SIZE
"""Image sets that a range must have left, as far as its last page tells."""

_LOOK_SECONDS = 0.5
_MOST_STALE_TOKENS = 5
"""Tokens that are refused one after the other without any progress between them."""

OnImageSets = Callable[[Sequence[ListedImageSet]], None]


class ListingStopped(Exception):
    """The listing was stopped before its end."""


@dataclass(eq=False)
class _Range:
    """A range that one thread lists. `reached` and `end` are times of creation; another thread may make `end` earlier.

    `image_sets_left` is estimated from the last page.
    """

    times: TimeRange
    reached: datetime
    end: datetime
    token: str | None = None
    image_sets_left: float = 0.0
    stale_tokens: int = 0
    trail: PageTrail = field(default_factory=PageTrail)

    @property
    def can_be_divided(self) -> bool:
        """Whether there is enough left for two threads."""
        return self.image_sets_left > _WORTH_DIVIDING and self.end - self.reached > _SHORTEST

    def later_half(self) -> "_Range":
        """Divide the range; the half that another thread lists."""
        middle = self.reached + (self.end - self.reached) / 2
        later = _Range(_between(middle, self.end), middle, self.end)
        self.end, self.image_sets_left = middle, self.image_sets_left / 2
        return later

    def listed(self, page: Page) -> Sequence[ListedImageSet]:
        """Note a page; its image sets within the range. Errors are those of PageTrail.

        Image sets of nearly the same time may come in any order, so a page may have some beyond the end before others.
        """
        self.trail.check(page)
        found = [image_set for image_set in page.image_sets if image_set.created_at <= self.end]
        if page.image_sets:
            times = [image_set.created_at for image_set in page.image_sets]
            self.reached = max(self.reached, *times)
            a_second = len(times) / max(1.0, (max(times) - min(times)).total_seconds())
            self.image_sets_left = a_second * (self.end - self.reached).total_seconds()
        self.token = page.next_token if found or not page.image_sets else None
        return found

    def begin_again(self) -> None:
        """List from where it was with a new token: AHI refuses the one it gave. NotFound if that does not help."""
        self.stale_tokens += 1
        self.times, self.token, self.trail = _between(self.reached, self.end), None, PageTrail()


class Listing:
    """Lists one data store once. Each page is handed to `on_image_sets`, by any thread."""

    def __init__(
        self,
        calls: ListingCalls,
        datastore_id: str,
        on_image_sets: OnImageSets,
        *,
        threads: int = THREADS,
        stop: threading.Event | None = None,
    ) -> None:
        self._calls = calls
        self._datastore_id = datastore_id
        self._on_image_sets = on_image_sets
        self._threads = threads
        self._stop = stop or threading.Event()
        self._change = threading.Condition()
        self._waiting: list[_Range] = []
        self._ranges: set[_Range] = set()
        self._error: BaseException | None = None

    def run(self) -> None:
        """Return when all is listed. Errors are those of ListingCalls and PageTrail.

        ListingStopped if `stop` was set.
        """
        everything = TimeRange()
        page = self._calls.image_sets(self._datastore_id, everything)
        self._on_image_sets(page.image_sets)
        if page.next_token:
            whole = _Range(everything, _BEGINNING, self._newest() + _SECOND)
            whole.listed(page)
            self._waiting.append(whole)
            self._run_threads()
        if self._error:
            raise self._error
        if self._stop.is_set():
            raise ListingStopped

    def _newest(self) -> datetime:
        """The time of creation of the newest image set."""
        page = self._calls.image_sets(self._datastore_id, TimeRange(newest_first=True), size=1)
        return max((found.created_at for found in page.image_sets), default=datetime.now(timezone.utc))

    def _run_threads(self) -> None:
        threads = [threading.Thread(target=self._work, daemon=True) for _ in range(self._threads)]
        for thread in threads:
            thread.start()
        join(threads, self._is_over)

    def _work(self) -> None:
        """List ranges until there are none left."""
        try:
            while own := self._next_range():
                while self._list_page(own):
                    pass
                with self._change:
                    self._ranges.remove(own)
                    self._change.notify_all()
        except BaseException as error:  # noqa: BLE001 - `run` raises it
            with self._change:
                self._error = self._error or error
                self._change.notify_all()

    def _next_range(self) -> _Range | None:
        """A range that nobody lists, or a part of one; None if nothing is left."""
        with self._change:
            while not self._is_over():
                if self._waiting:
                    own = self._waiting.pop()
                elif divisible := [one for one in self._ranges if one.can_be_divided]:
                    own = max(divisible, key=lambda one: one.image_sets_left).later_half()
                elif self._ranges:
                    self._change.wait(_LOOK_SECONDS)
                    continue
                else:
                    return None
                self._ranges.add(own)
                return own
        return None

    def _list_page(self, own: _Range) -> bool:
        """List one page; whether there are more of this range."""
        if self._is_over():
            return False
        try:
            page = patiently(partial(self._calls.image_sets, self._datastore_id, own.times, own.token), self._stop)
        except NotFound:
            if not own.token or own.stale_tokens >= _MOST_STALE_TOKENS:
                raise
            log.info("a token of AHI is stale datastore=%s", self._datastore_id)
            own.begin_again()
            return True
        with self._change:
            before = own.reached
            found = own.listed(page)
            if own.reached > before:
                own.stale_tokens = 0
            if own.can_be_divided:
                self._change.notify()
        self._on_image_sets(found)
        return own.token is not None

    def _is_over(self) -> bool:
        return self._stop.is_set() or self._error is not None


def _between(first: datetime, last: datetime) -> TimeRange:
    """The range of whole seconds around two times."""
    return TimeRange(CREATED_AT, first.replace(microsecond=0) - _SECOND, last.replace(microsecond=0) + 2 * _SECOND)
