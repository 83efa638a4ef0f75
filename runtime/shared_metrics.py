"""Counters of all processes in shared memory: each process writes its own row, and any process adds up the rows.

A row outlives the process that writes it. A process that replaces a dead one goes on counting where it ended.
"""

import mmap
import threading
from collections.abc import Mapping
from enum import Enum

_BYTES = 8


class Metric(Enum):
    """The metrics: counts since the start of the service, or, where it says "now", the current number."""

    AHI_GET_IMAGE_SET = "calls to GetImageSet, repeated ones included"
    AHI_GET_IMAGE_SET_METADATA = "calls to GetImageSetMetadata, repeated ones included"
    AHI_GET_IMAGE_FRAME = "calls to GetImageFrame, repeated ones included"
    AHI_SEARCH_IMAGE_SETS = "calls to SearchImageSets, repeated ones included"
    AHI_STORE_DICOM = "calls that store instances (STOW-RS), repeated ones included"
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
    STORED_INSTANCES = "instances that AHI has taken, and that can be retrieved"
    STORED_BYTES = "their bytes"
    STORE_REFUSED_INSTANCES = "instances that AHI has refused"
    STORE_FAILURES = "batches of a series that are stored later, because AHI or the index did not take them"
    SPOOL_ENTRIES = "now: store requests in the spool"
    SPOOL_BYTES = "now: their bytes"
    SPOOL_AGE_SECONDS = "now: seconds since the oldest of them was accepted"
    SPOOL_REFUSED = "now: store requests set aside, because AHI refused instances of them"
    SPOOL_UNREADABLE = "now: 1 if the folder of the spool cannot be read"
    SPOOL_UNKNOWN = "now: things in the spool that cannot be read, and are left alone"
    AUDIT_FAILING = "now: processes that cannot write audit messages"
    INDEX_CONNECTIONS_IN_USE = "now: connections to the index that are in use"
    CLIENT_CONNECTIONS = "now: connections of clients that are open"


_COLUMN = {metric: column for column, metric in enumerate(Metric)}
_NOW = tuple(metric for metric in Metric if metric.value.startswith("now: "))


class SharedMetrics:
    """The counters of a number of processes, made before they are forked."""

    def __init__(self, processes: int) -> None:
        self._memory = mmap.mmap(-1, max(1, processes) * len(Metric) * _BYTES)
        self.words = memoryview(self._memory).cast("Q")

    def process_metrics(self, process: int) -> "ProcessMetrics":
        """The row of one process, counted from 0; call it in that process."""
        return ProcessMetrics(self, process * len(Metric))

    def total(self, metric: Metric) -> int:
        """The sum of a metric over all processes."""
        return sum(self.words[_COLUMN[metric] :: len(Metric)])

    def highest(self, metric: Metric) -> int:
        """The highest value of a metric in all processes."""
        return max(self.words[_COLUMN[metric] :: len(Metric)])

    def totals(self) -> Mapping[Metric, int]:
        """The sums of all metrics."""
        return {metric: self.total(metric) for metric in Metric}


class ProcessMetrics:
    """The counters of one process. Safe to share between its threads."""

    def __init__(self, counters: SharedMetrics, start: int) -> None:
        self.counters = counters
        self._start = start
        self._lock = threading.Lock()
        for metric in _NOW:  # numbers of the process before are no longer current
            self.set(metric, 0)

    @classmethod
    def alone(cls) -> "ProcessMetrics":
        """Counters for a process that shares them with no other."""
        return SharedMetrics(1).process_metrics(0)

    def add(self, metric: Metric, number: int = 1) -> None:
        """Add to a count."""
        with self._lock:
            self.counters.words[self._start + _COLUMN[metric]] += number

    def get(self, metric: Metric) -> int:
        """The value of a metric in this process."""
        return self.counters.words[self._start + _COLUMN[metric]]

    def set(self, metric: Metric, number: int) -> None:
        """Set a metric to its current number."""
        self.counters.words[self._start + _COLUMN[metric]] = number
