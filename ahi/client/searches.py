"""What a fetcher knows of SearchImageSets: what it found lately, how often it may be called, and whether it answers."""

import logging
import threading
import time
from collections import OrderedDict
from collections.abc import Sequence

from ahi.image_sets.image_set import ImageSetKey

log = logging.getLogger(__name__)

AT_ONCE = 50
"""Image sets in one answer, at most."""

CALLS_PER_SECOND = 10.0
"""By default, of all fetchers together: AHI allows an account 25."""

FOUND_SECONDS = 120.0
NOTHING_SECONDS = 20.0
REFUSED_SECONDS = 30.0
SILENT_SECONDS = 5.0
_TELL_SECONDS = 600.0
_MOST = 20_000  # studies and image sets together, of 300 bytes each, about
_MOST_DATASTORES = 1_000

_Study = tuple[str, str]


class ImageSetSearches:
    """Image sets by data store and study, for two minutes, none for 20 seconds; and the rate of calls.

    A data store where the right to the call is missing is asked again after half a minute. One that did not answer is
    asked again after 5 seconds, so that nobody waits for it meanwhile.
    """

    def __init__(self, calls_per_second: float = CALLS_PER_SECOND, most: int = _MOST) -> None:
        """`most` bounds the number of studies and image sets that are remembered."""
        self._rate = calls_per_second
        self._burst = max(1.0, 2 * calls_per_second)
        self._most = most
        self._lock = threading.Lock()
        self._left, self._counted_at = self._burst, time.monotonic()
        self._found: OrderedDict[_Study, tuple[float, tuple[ImageSetKey, ...]]] = OrderedDict()
        self._held = 0
        self._refused: dict[str, float] = {}
        self._told: dict[str, float] = {}
        self._silent: dict[str, float] = {}

    def get(self, datastore_id: str, study_instance_uid: str) -> tuple[ImageSetKey, ...] | None:
        """What was found lately, none where the call was refused lately; None if it must be asked for."""
        now = time.monotonic()
        with self._lock:
            good_until, found = self._found.get((datastore_id, study_instance_uid), (0.0, ()))
            refused = now < self._refused.get(datastore_id, 0.0)
        if now < good_until:
            return found
        return () if refused else None

    def put(self, datastore_id: str, study_instance_uid: str, found: Sequence[ImageSetKey]) -> None:
        """Remember what was found; what was remembered for longest makes room."""
        good_until = time.monotonic() + (FOUND_SECONDS if found else NOTHING_SECONDS)
        with self._lock:
            self._drop((datastore_id, study_instance_uid))
            self._found[datastore_id, study_instance_uid] = good_until, tuple(found)
            self._held += 1 + len(found)
            while self._held > self._most:
                self._drop(next(iter(self._found)))

    @property
    def held(self) -> int:
        """How many studies and image sets are remembered."""
        return self._held

    def refused(self, datastore_id: str, reason: str) -> None:
        """Do not ask for a while: the right is missing."""
        now = time.monotonic()
        with self._lock:
            _note(self._refused, datastore_id, now + REFUSED_SECONDS)
            tell = now >= self._told.get(datastore_id, 0.0)
            if tell:
                _note(self._told, datastore_id, now + _TELL_SECONDS)
        if tell:
            log.warning("studies that the index has lost cannot be found datastore=%s reason=%s", datastore_id, reason)

    def silent(self, datastore_id: str) -> None:
        """Do not ask for a moment: no answer came that could be used."""
        with self._lock:
            _note(self._silent, datastore_id, time.monotonic() + SILENT_SECONDS)

    def may_call(self, datastore_id: str) -> bool:
        """Whether a call is within the rate, and the data store answered when it was asked last; it is counted then."""
        with self._lock:
            now = time.monotonic()
            self._left = min(self._burst, self._left + (now - self._counted_at) * self._rate)
            self._counted_at = now
            if self._left < 1 or now < self._silent.get(datastore_id, 0.0):
                return False
            self._left -= 1
            return True

    def count(self, calls: int) -> None:
        """Calls that were made beyond the first one: an answer has 50 image sets."""
        with self._lock:
            self._left -= calls

    def _drop(self, study: _Study) -> None:
        known = self._found.pop(study, None)
        if known:
            self._held -= 1 + len(known[1])


def _note(until: dict[str, float], datastore_id: str, moment: float) -> None:
    if len(until) >= _MOST_DATASTORES:
        until.clear()
    until[datastore_id] = moment
