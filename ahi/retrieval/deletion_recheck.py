"""Looks whether AHI has image sets again that it had no more: a spell of 404 must not hide them for good."""

import logging
import time
from collections.abc import Callable

from ahi.image_sets.deleted import DeletedImageSets
from ahi.image_sets.image_set import ImageSetKey
from ahi.workers.image_set_jobs import has_image_set
from ahi.workers.pool import FetcherPool
from dicomweb.errors import ProxyError

log = logging.getLogger(__name__)

ROUND_SECONDS = 1.0
AT_ONCE = 5
"""Image sets that are asked for in one round: a fifth of what AHI allows an account (GetImageSet, 25 a second)."""

_SOONEST_SECONDS, _LATEST_SECONDS = 5.0, 3600.0
_BUSY_SECONDS = 30.0


class DeletionRecheck:
    """Asks for each at once after a start, then as much later as its note is old: 5 seconds to an hour."""

    def __init__(
        self, deleted: DeletedImageSets, fetchers: FetcherPool, clock: Callable[[], float] = time.time
    ) -> None:
        self._deleted = deleted
        self._fetchers = fetchers
        self._clock = clock
        self._next: dict[ImageSetKey, float] = {}
        self._not_before = 0.0

    def work(self) -> None:
        """Go on for ever, in a thread."""
        while True:
            time.sleep(ROUND_SECONDS)
            try:
                self.round()
            except Exception:  # the outermost frame of a thread
                log.exception("deleted image sets could not be looked at")

    def round(self) -> None:
        """Ask for some that are due."""
        noted, now = self._deleted.noted(), self._clock()
        self._next = {key: at for key, at in self._next.items() if key in noted}
        if now < self._not_before:
            return
        due = sorted(
            (key for key in noted if self._next.get(key, 0.0) <= now), key=lambda key: self._next.get(key, 0.0)
        )
        for key in due[:AT_ONCE]:
            try:
                is_there = self._fetchers.run(key.image_set_id, has_image_set, key)
            except ProxyError:  # AHI is busy, or away: this is no time to ask for the others
                self._not_before = now + _BUSY_SECONDS
                return
            if is_there:
                self._deleted.forget(key)
                log.info("AHI has an image set again image_set=%s after=%.0fs", key.image_set_id, now - noted[key])
            else:
                self._next[key] = now + min(max(now - noted[key], _SOONEST_SECONDS), _LATEST_SECONDS)
