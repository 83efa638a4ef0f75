"""Asks AHI again for deleted image sets: some wrong 404s must not hide them for ever. Runs in the prefetch process."""

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
MAX_PER_ROUND = 5
"""Image sets in one round: a fifth of the rate that AHI allows an account (GetImageSet, 25 per second)."""

_MIN_DELAY_SECONDS, _MAX_DELAY_SECONDS = 5.0, 3600.0
_PAUSE_SECONDS = 30.0


class DeletionRecheck:
    """Asks for each deleted image set after a start, then after a delay: the age of its note, 5 seconds to an hour."""

    def __init__(
        self, deleted: DeletedImageSets, fetchers: FetcherPool, clock: Callable[[], float] = time.time
    ) -> None:
        self._deleted = deleted
        self._fetchers = fetchers
        self._clock = clock
        self._due_at: dict[ImageSetKey, float] = {}
        self._not_before = 0.0

    def work(self) -> None:
        """Ask round by round, for ever. A thread runs this."""
        while True:
            time.sleep(ROUND_SECONDS)
            try:
                self.round()
            except Exception:  # the outermost frame of a thread
                log.exception("deleted image sets could not be looked at")

    def round(self) -> None:
        """Ask for some image sets that are due."""
        noted, now = self._deleted.noted(), self._clock()
        self._due_at = {key: due_at for key, due_at in self._due_at.items() if key in noted}
        if now < self._not_before:
            return
        due = sorted(
            (key for key in noted if self._due_at.get(key, 0.0) <= now), key=lambda key: self._due_at.get(key, 0.0)
        )
        for key in due[:MAX_PER_ROUND]:
            try:
                exists = self._fetchers.run(key.image_set_id, has_image_set, key)
            except ProxyError:  # AHI is busy or does not answer: the others wait, too
                self._not_before = now + _PAUSE_SECONDS
                return
            if exists:
                self._deleted.forget(key)
                log.info("AHI has an image set again image_set=%s after=%.0fs", key.image_set_id, now - noted[key])
            else:
                self._due_at[key] = now + min(max(now - noted[key], _MIN_DELAY_SECONDS), _MAX_DELAY_SECONDS)
