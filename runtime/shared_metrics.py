"""What all processes count, in memory that they share: each writes a row of its own, anybody adds the rows up.

A row outlives the process that writes it: the one that replaces a dead process goes on counting where that ended.
"""

import mmap
import threading
from collections.abc import Mapping
from enum import Enum

_BYTES = 8


class Metric(Enum):
    """What is counted since the start of the service, or, where it says so, is the case now."""

    AHI_GET_IMAGE_SET = "calls to GetImageSet, repeated ones included"
    AHI_GET_IMAGE_SET_METADATA = "calls to GetImageSetMetadata, repeated ones included"
    AHI_GET_IMAGE_FRAME = "calls to GetImageFrame, repeated ones included"
    AHI_SEARCH_IMAGE_SETS = "calls to SearchImageSets, repeated ones included"
    AHI_RETRIES = "calls to AHI that were repeated"
    AHI_THROTTLES = "calls that AHI refused because there were too many"
    CACHE_HITS = "frames, image sets and encoded answers that were there when a client asked"
    CACHE_MISSES = "those that were not"
    CACHE_WRITTEN_BYTES = "bytes put into the cache"
    CACHE_EVICTED_BYTES = "bytes deleted from it to keep its bounds"
    CACHE_REFUSED = "what could not be kept, because the disk was full or for another reason"
    CACHE_DAMAGED = "files of the cache that were not as they had been written, and were removed"
    CACHE_LOOKED_AT = "CACHE_WRITTEN_BYTES of all when the process last looked at the size of the cache"
    JOBS_DONE = "jobs that fetchers have done"
    JOBS_REFUSED = "jobs that were refused because too many waited, or waited too long"
    JOBS_QUEUED = "now: jobs that clients wait for and that wait for a thread"
    JOBS_RUNNING = "now: jobs that run"
    PREFETCHES = "jobs that were begun without anybody asking"
    INDEX_CONNECTIONS_IN_USE = "now: connections to the index that are in use"
    CLIENT_CONNECTIONS = "now: connections of clients that are open"


_PLACE = {count: place for place, count in enumerate(Metric)}
_NOW = (Metric.JOBS_QUEUED, Metric.JOBS_RUNNING, Metric.INDEX_CONNECTIONS_IN_USE, Metric.CLIENT_CONNECTIONS)


class SharedMetrics:
    """The counters of a number of processes. Made before they are forked."""

    def __init__(self, processes: int) -> None:
        self._memory = mmap.mmap(-1, max(1, processes) * len(Metric) * _BYTES)
        self.words = memoryview(self._memory).cast("Q")

    def process_metrics(self, process: int) -> "ProcessMetrics":
        """The row of one process, from 0; to be called in it."""
        return ProcessMetrics(self, process * len(Metric))

    def total(self, count: Metric) -> int:
        """The sum over all processes."""
        return sum(self.words[_PLACE[count] :: len(Metric)])

    def highest(self, count: Metric) -> int:
        """The highest of all processes."""
        return max(self.words[_PLACE[count] :: len(Metric)])

    def totals(self) -> Mapping[Metric, int]:
        """The sums of all."""
        return {count: self.total(count) for count in Metric}


class ProcessMetrics:
    """What one process counts. Safe to share between its threads."""

    def __init__(self, counters: SharedMetrics, start: int) -> None:
        self.counters = counters
        self._start = start
        self._lock = threading.Lock()
        for count in _NOW:  # what was the case in the process before is no longer
            self.set(count, 0)

    @classmethod
    def alone(cls) -> "ProcessMetrics":
        """For a process that counts for itself."""
        return SharedMetrics(1).process_metrics(0)

    def add(self, count: Metric, number: int = 1) -> None:
        """Count so many more."""
        with self._lock:
            self.counters.words[self._start + _PLACE[count]] += number

    def get(self, count: Metric) -> int:
        """What this process has counted."""
        return self.counters.words[self._start + _PLACE[count]]

    def set(self, count: Metric, number: int) -> None:
        """Say what is the case now."""
        self.counters.words[self._start + _PLACE[count]] = number
