"""Results of SearchImageSets that are remembered, and the rate of its calls. Runs in the FrameFetcher processes."""

import logging
import threading
import time
from collections.abc import Sequence
from contextlib import suppress

from cachetools import TLRUCache, TTLCache

from ahi.image_sets.image_set import ImageSetKey
from runtime.changes import Changes
from runtime.token_bucket import TokenBucket

log = logging.getLogger(__name__)

PAGE_SIZE = 50
"""The most image sets in one answer."""

CALLS_PER_SECOND = 10.0
"""The default rate of all FrameFetchers together: AHI allows an account 25."""

FOUND_SECONDS = 120.0
NOTHING_SECONDS = 20.0
REFUSED_SECONDS = 30.0
SILENT_SECONDS = 5.0
_LOG_SECONDS = 600.0
_MAX_REMEMBERED = 20_000  # studies and image sets together, of about 300 bytes each
_MAX_DATASTORES = 1_000

_Study = tuple[str, str]
_Found = tuple[ImageSetKey, ...]
_Remembered = tuple[_Found, float]  # the image sets, and when AHI was asked


class ImageSetSearches:
    """Image sets by data store and study: remembered for 2 minutes, or for 20 seconds where there are none.

    A data store that refuses the call is asked again after 30 seconds. One that does not answer is asked again after
    5 seconds, and nobody waits for it meanwhile. Safe to share between threads.
    """

    def __init__(
        self,
        calls_per_second: float = CALLS_PER_SECOND,
        max_remembered: int = _MAX_REMEMBERED,
        changes: Changes | None = None,
    ) -> None:
        """`max_remembered` bounds the number of studies plus that of their image sets.

        A study that `changes` has a later change of is not remembered.
        """
        self._changes = changes or Changes()
        self._rate = TokenBucket(calls_per_second, 2 * calls_per_second)
        self._lock = threading.Lock()
        self._found: TLRUCache[_Study, _Remembered] = TLRUCache(
            max_remembered,
            lambda _study, remembered, now: now + (FOUND_SECONDS if remembered[0] else NOTHING_SECONDS),
            getsizeof=lambda remembered: 1 + len(remembered[0]),
        )
        self._refused: TTLCache[str, None] = TTLCache(_MAX_DATASTORES, REFUSED_SECONDS)
        self._silent: TTLCache[str, None] = TTLCache(_MAX_DATASTORES, SILENT_SECONDS)
        self._logged: TTLCache[str, None] = TTLCache(_MAX_DATASTORES, _LOG_SECONDS)

    def get(self, datastore_id: str, study_instance_uid: str) -> _Found | None:
        """Return remembered image sets, none while the call is refused; None when AHI has to be asked."""
        with self._lock:
            found, asked_at = self._found.get((datastore_id, study_instance_uid), (None, 0.0))
            if found is not None and self._changes.is_current(study_instance_uid, asked_at):
                return found
            return () if datastore_id in self._refused else None

    def put(
        self, datastore_id: str, study_instance_uid: str, found: Sequence[ImageSetKey], asked_at: float | None = None
    ) -> None:
        """Remember the image sets of a study. AHI was asked at `asked_at` (monotonic clock), by default now."""
        remembered = tuple(found), time.monotonic() if asked_at is None else asked_at
        with self._lock, suppress(ValueError):  # more than `max_remembered`
            self._found[datastore_id, study_instance_uid] = remembered

    @property
    def remembered(self) -> int:
        """The number of remembered studies plus that of their image sets."""
        return int(self._found.currsize)

    def note_refusal(self, datastore_id: str, reason: str) -> None:
        """Note that the right to the call is missing. One log line in 10 minutes says so."""
        with self._lock:
            self._refused[datastore_id] = None
            is_logged = datastore_id in self._logged
            if not is_logged:
                self._logged[datastore_id] = None
        if not is_logged:
            log.warning("studies that the index has lost cannot be found datastore=%s reason=%s", datastore_id, reason)

    def note_silence(self, datastore_id: str) -> None:
        """Note that AHI did not answer, or not with something that can be used."""
        with self._lock:
            self._silent[datastore_id] = None

    def may_call(self, datastore_id: str) -> bool:
        """Whether a call is within the rate and the data store has not just failed. A call that may be made counts."""
        with self._lock:
            is_silent = datastore_id in self._silent
        return not is_silent and self._rate.try_take()

    def count(self, calls: int) -> None:
        """Count calls beyond the first one, for further pages."""
        self._rate.charge(calls)
