"""The requests of each resource by status and duration, in memory that all web processes share.

It is made before the fork. Each process writes its own rows: one for each resource, with its name. A process that
replaces another one continues its rows. Totals are the sums of all rows with the same name.
"""

import bisect
import mmap
import threading
from collections.abc import Iterator
from dataclasses import dataclass

BUCKETS_SECONDS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0)
"""Upper ends of the buckets of durations, in seconds; one more bucket counts longer ones."""

STATUSES = (
    200,
    204,
    206,
    304,
    400,
    401,
    403,
    404,
    405,
    406,
    408,
    412,
    413,
    414,
    416,
    421,
    429,
    431,
    500,
    501,
    502,
    503,
    505,
)
"""The statuses that are counted; any other status is counted as 0."""

OTHER = "other"
"""The resource of requests without a route, and of those for which no row is left."""

_RESOURCES = 128
_NAME_BYTES = 128
_WORD_BYTES = 8
_BUCKETS = len(BUCKETS_SECONDS) + 1
_WORDS = _BUCKETS + 1 + len(STATUSES) + 1  # after the buckets the sum of durations, then statuses, then any other
_ROW_BYTES = _NAME_BYTES + _WORDS * _WORD_BYTES


@dataclass(frozen=True)
class ResourceMetrics:
    """The requests for one resource: numbers by status (0: any other) and by bucket, and the sum of durations."""

    resource: str
    by_status: dict[int, int]
    by_bucket: tuple[int, ...]
    total_seconds: float


class RequestMetrics:
    """The counts of all web processes."""

    def __init__(self, processes: int) -> None:
        self._memory = mmap.mmap(-1, max(1, processes) * _RESOURCES * _ROW_BYTES)

    def of_process(self, process: int) -> "ProcessRequestMetrics":
        """The counts of one process, numbered from 0; must be called in that process."""
        size = _RESOURCES * _ROW_BYTES
        return ProcessRequestMetrics([_Row(self._memory, process * size + at) for at in range(0, size, _ROW_BYTES)])

    def totals(self) -> list[ResourceMetrics]:
        """The sums over all processes, by resource."""
        totals: dict[str, list[int]] = {}
        for start in range(0, len(self._memory), _ROW_BYTES):
            row = _Row(self._memory, start)
            if row.name:
                sums = totals.setdefault(row.name, [0] * _WORDS)
                totals[row.name] = [one + other for one, other in zip(sums, row.words, strict=True)]
        return [_requests(name, words) for name, words in sorted(totals.items())]


class ProcessRequestMetrics:
    """The counts of one process, for all its threads."""

    def __init__(self, rows: "list[_Row]") -> None:
        self._lock = threading.Lock()
        self._rows = {row.name: row for row in rows if row.name}
        self._free: Iterator[_Row] = iter([row for row in rows if not row.name])
        self._other = self._row(OTHER)

    def add(self, resource: str, status: int, seconds: float) -> None:
        """Count one request; `seconds` is the time to the last byte of its answer."""
        with self._lock:
            row = self._row(resource)
            row.words[bisect.bisect_left(BUCKETS_SECONDS, seconds)] += 1
            row.words[_BUCKETS] += int(seconds * 1e6)
            place = STATUSES.index(status) if status in STATUSES else len(STATUSES)
            row.words[_BUCKETS + 1 + place] += 1

    def _row(self, resource: str) -> "_Row":
        if resource not in self._rows:
            row = next(self._free, None)
            if row is None:
                return self._other
            row.name = resource
            self._rows[resource] = row
        return self._rows[resource]


class _Row:
    """A row: the name and the counters of one resource in shared memory."""

    def __init__(self, memory: mmap.mmap, start: int) -> None:
        view = memoryview(memory)
        self._name = view[start : start + _NAME_BYTES]
        self.words = view[start + _NAME_BYTES : start + _ROW_BYTES].cast("Q")

    @property
    def name(self) -> str:
        return bytes(self._name).rstrip(b"\0").decode("ascii", "replace")

    @name.setter
    def name(self, name: str) -> None:
        encoded = name.encode("ascii", "replace")[:_NAME_BYTES]
        self._name[:] = encoded.ljust(_NAME_BYTES, b"\0")


def _requests(name: str, words: list[int]) -> ResourceMetrics:
    statuses = zip((*STATUSES, 0), words[_BUCKETS + 1 :], strict=True)
    by_status = {status: number for status, number in statuses if number}
    return ResourceMetrics(name, by_status, tuple(words[:_BUCKETS]), words[_BUCKETS] / 1e6)
