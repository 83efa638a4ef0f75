"""What a follower has done since it started, for its metrics and its log. Safe to share between threads."""

import logging
import threading
import time
from collections import Counter

from index.follow.changed import Outcome
from runtime.outage import Outage

log = logging.getLogger(__name__)

_LINE_SECONDS = 60.0


class Tally:
    """`outcomes` counts image sets, `ignored` the events that were not for us by reason, `events` all events."""

    def __init__(self) -> None:
        self.outcomes: Counter[Outcome] = Counter()
        self.ignored: Counter[str] = Counter()
        self.events = 0
        self.event_at = 0.0
        self._source, self._target = Outage("source of events"), Outage("AHI or index")
        self._lock = threading.Lock()
        self._told, self._told_at = 0, time.monotonic()

    def source_failed(self, reason: str) -> None:
        """Note that no events are to be had at the moment."""
        self._source.begins(reason)

    def source_answered(self) -> None:
        """Note that the queue answers, or AHI for all data stores."""
        self._source.is_over()

    def count(self, events: int) -> None:
        """Count events that came."""
        with self._lock:
            self.events += events
            if events:
                self.event_at = time.time()

    def waits(self, reason: str) -> None:
        """Note that image sets wait because AHI or the index is away."""
        self._target.begins(reason)

    def done(self, outcome: Outcome) -> None:
        """Note what became of an image set."""
        self._target.is_over()
        with self._lock:
            self.outcomes[outcome] += 1

    def ignore(self, reason: str, number: int) -> None:
        """Note events that are not for us. Each reason is logged when it comes for the first time."""
        with self._lock:
            is_first = not self.ignored[reason]
            self.ignored[reason] += number
        if is_first:
            log.warning("event ignored, as all further ones like it reason=%s", reason)

    def tell(self) -> None:
        """Log what was done since the last line, once a minute at most, and only if there was something."""
        with self._lock:
            done = sum(self.outcomes.values())
            if done == self._told or time.monotonic() - self._told_at < _LINE_SECONDS:
                return
            self._told, self._told_at = done, time.monotonic()
            counts = " ".join(f"{outcome.name.lower()}={number}" for outcome, number in self.outcomes.items())
        log.info("following events=%d %s", self.events, counts)
