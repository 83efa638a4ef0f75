"""Data stores that cannot be read: they are tried less and less often, and hold no other one up.

A data store is held after some failures without a success between them. While it is held nobody tries it. Then one
tries it for all: a success ends the hold, and a failure doubles its time.
"""

import logging
import threading
import time
from dataclasses import dataclass

log = logging.getLogger(__name__)

FAILURES = 10
"""The failed attempts after which an image set is put aside. The dead-letter queue has the same number."""

TOLERATED = 3
_FIRST_SECONDS = 5.0
LONGEST_SECONDS = 900.0
_TRIAL_SECONDS = 120.0  # after which another one tries, if the first has told nothing


@dataclass
class _State:
    failures: int = 0
    until: float = 0.0
    is_tried: bool = False


class DatastoreHolds:
    """The data stores that failed lately. Safe to share between threads."""

    def __init__(self, tolerated: int = TOLERATED, first_seconds: float = _FIRST_SECONDS) -> None:
        """`tolerated` is the number of failures in a row with which a hold begins, `first_seconds` its first time."""
        self._tolerated = tolerated
        self._first_seconds = first_seconds
        self._lock = threading.Lock()
        self._states: dict[str, _State] = {}

    def failed(self, datastore_id: str, reason: str) -> bool:
        """Note that a data store could not be read; whether it is held now."""
        with self._lock:
            state, now = self._states.setdefault(datastore_id, _State()), time.monotonic()
            if now < state.until and not state.is_tried:
                return True  # begun before the hold
            state.failures, state.is_tried = state.failures + 1, False
            holds = state.failures - self._tolerated
            if holds < 0:
                return False
            state.until = now + min(LONGEST_SECONDS, self._first_seconds * 2.0 ** min(holds, FAILURES))
            failures, told = state.failures, (datastore_id, reason)
        if failures == self._tolerated:
            log.warning("data store cannot be read, and is tried less often datastore=%s reason=%s", *told)
        elif failures == FAILURES:
            log.error("data store put aside, and tried every 15 minutes datastore=%s reason=%s", *told)
        return True

    def succeeded(self, datastore_id: str) -> None:
        """Note that a data store can be read."""
        with self._lock:
            state = self._states.pop(datastore_id, None)
        if state and state.failures >= self._tolerated:
            log.warning("data store can be read again datastore=%s", datastore_id)

    def may_try(self, datastore_id: str) -> bool:
        """Whether a data store may be tried. After a hold one caller at a time may."""
        with self._lock:
            state, now = self._states.get(datastore_id), time.monotonic()
            if state is None or state.failures < self._tolerated:
                return True
            if now < state.until:
                return False
            state.until, state.is_tried = now + _TRIAL_SECONDS, True
            return True

    def seconds_left(self, datastore_id: str) -> float:
        """The time for which a data store is still held; a short one while somebody tries it."""
        with self._lock:
            state = self._states.get(datastore_id)
            if state is None:
                return 0.0
            return self._first_seconds if state.is_tried else max(0.0, state.until - time.monotonic())

    def held(self) -> list[str]:
        """The data stores that are held."""
        now = time.monotonic()
        with self._lock:
            return [name for name, state in self._states.items() if now < state.until]
