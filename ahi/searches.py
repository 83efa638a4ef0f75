"""What a fetcher knows of SearchImageSets: what it found lately, and how often it may be called."""

import logging
import threading
import time
from collections import OrderedDict
from collections.abc import Sequence

from ahi.image_set import ImageSetKey

log = logging.getLogger(__name__)

CALLS_PER_SECOND = 10.0
"""By default, of all fetchers together: AHI allows an account 25."""

_FOUND_SECONDS = 120.0
_NOTHING_SECONDS = 20.0
_REFUSED_SECONDS = 600.0
_MOST = 10_000  # studies, most of which have fewer image sets than ten

_Study = tuple[str, str]


class Searches:
    """Image sets by data store and study, for two minutes, none for 20 seconds; and the rate of calls."""

    def __init__(self, calls_per_second: float = CALLS_PER_SECOND) -> None:
        self._rate = calls_per_second
        self._burst = max(1.0, 2 * calls_per_second)
        self._lock = threading.Lock()
        self._left, self._counted_at = self._burst, time.monotonic()
        self._found: OrderedDict[_Study, tuple[float, tuple[ImageSetKey, ...]]] = OrderedDict()
        self._refused: dict[str, float] = {}

    def get(self, datastore_id: str, study_instance_uid: str) -> tuple[ImageSetKey, ...] | None:
        """What was found lately, none where the call was refused lately; None if it must be asked for."""
        now = time.monotonic()
        with self._lock:
            if now < self._refused.get(datastore_id, 0.0):
                return ()
            good_until, found = self._found.get((datastore_id, study_instance_uid), (0.0, ()))
        return found if now < good_until else None

    def put(self, datastore_id: str, study_instance_uid: str, found: Sequence[ImageSetKey]) -> None:
        """Remember what was found."""
        good_until = time.monotonic() + (_FOUND_SECONDS if found else _NOTHING_SECONDS)
        with self._lock:
            self._found.pop((datastore_id, study_instance_uid), None)
            self._found[datastore_id, study_instance_uid] = good_until, tuple(found)
            if len(self._found) > _MOST:
                self._found.popitem(last=False)

    def refused(self, datastore_id: str, reason: str) -> None:
        """Do not ask for a while: the right is missing. There are few data stores."""
        with self._lock:
            self._refused[datastore_id] = time.monotonic() + _REFUSED_SECONDS
        log.warning("studies that the index has lost cannot be found datastore=%s reason=%s", datastore_id, reason)

    def may_call(self) -> bool:
        """Whether a call is within the rate; it is counted then."""
        with self._lock:
            now = time.monotonic()
            self._left = min(self._burst, self._left + (now - self._counted_at) * self._rate)
            self._counted_at = now
            if self._left < 1:
                return False
            self._left -= 1
            return True
