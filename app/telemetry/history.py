"""The history of a day: the counters of all processes, noted every half minute in a ring of fixed size.

It is in memory that all processes share, and lasts as long as the service. The supervisor alone writes it, so it
survives each process that is replaced, and a reload. Times are seconds of the monotonic clock.
"""

import mmap
import struct
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from app.telemetry.request_metrics import BUCKETS_SECONDS, RequestMetrics
from runtime.shared_metrics import Metric, SharedMetrics

INTERVAL_SECONDS = 30.0
KEPT_SECONDS = 24 * 3600.0

_SAMPLES = int(KEPT_SECONDS / INTERVAL_SECONDS)
_BUCKETS = len(BUCKETS_SECONDS) + 1
_FORMAT = struct.Struct(f"=d6Q{_BUCKETS}Q")
_COUNT = struct.Struct("=Q")
_FAILED = 500

AHI_CALLS = (
    Metric.AHI_GET_IMAGE_SET,
    Metric.AHI_GET_IMAGE_SET_METADATA,
    Metric.AHI_GET_IMAGE_FRAME,
    Metric.AHI_SEARCH_IMAGE_SETS,
    Metric.AHI_STORE_DICOM,
)
"""The counters of calls to AHI."""


@dataclass(frozen=True)
class Sample:
    """The counters at one moment, since the start of the service.

    `failures` are requests that were answered with a status of 500 or above. `by_bucket` has the numbers of requests by
    their duration, as in BUCKETS_SECONDS. `ahi_calls` includes repeated ones.
    """

    at: float
    requests: int = 0
    failures: int = 0
    ahi_calls: int = 0
    ahi_retries: int = 0
    cache_hits: int = 0
    cache_misses: int = 0
    by_bucket: tuple[int, ...] = (0,) * _BUCKETS

    @classmethod
    def of(cls, counters: SharedMetrics, requests: RequestMetrics, at: float) -> "Sample":
        """The sums over all processes now."""
        resources = requests.totals()
        by_bucket = tuple(map(sum, zip(*(one.by_bucket for one in resources), strict=True))) or (0,) * _BUCKETS
        failures = sum(number for one in resources for status, number in one.by_status.items() if status >= _FAILED)
        calls = sum(map(counters.total, AHI_CALLS))
        return cls(
            at,
            requests=sum(by_bucket),
            failures=failures,
            ahi_calls=calls,
            ahi_retries=counters.total(Metric.AHI_RETRIES),
            cache_hits=counters.total(Metric.CACHE_HITS),
            cache_misses=counters.total(Metric.CACHE_MISSES),
            by_bucket=by_bucket,
        )

    def since(self, before: "Sample") -> "Sample":
        """What was counted between two samples. Nothing is below 0, also if a counter was reset meanwhile."""
        return Sample(
            self.at,
            requests=max(0, self.requests - before.requests),
            failures=max(0, self.failures - before.failures),
            ahi_calls=max(0, self.ahi_calls - before.ahi_calls),
            ahi_retries=max(0, self.ahi_retries - before.ahi_retries),
            cache_hits=max(0, self.cache_hits - before.cache_hits),
            cache_misses=max(0, self.cache_misses - before.cache_misses),
            by_bucket=tuple(max(0, new - old) for old, new in zip(before.by_bucket, self.by_bucket, strict=True)),
        )


class History:
    """The ring of samples. Must be made before the fork; one process writes."""

    def __init__(self, samples: int = _SAMPLES) -> None:
        self.most = samples
        self._places = samples + 1  # the next sample is written where nobody reads
        self._memory = mmap.mmap(-1, _COUNT.size + self._places * _FORMAT.size)

    def add(self, sample: Sample) -> None:
        """Note a sample, which is later than the one before. It takes the place of the oldest if there is no room."""
        count = self._count
        counters = (sample.requests, sample.failures, sample.ahi_calls, sample.ahi_retries)
        cache = (sample.cache_hits, sample.cache_misses)
        _FORMAT.pack_into(self._memory, self._place(count), sample.at, *counters, *cache, *sample.by_bucket)
        _COUNT.pack_into(self._memory, 0, count + 1)

    def read(self, since: float, most: int) -> Sequence[Sample]:
        """The samples since then, oldest first: at most about `most`, at equal distances, and one before them.

        They are the same ones at the next call, as long as they are there, so that a chart of them does not flicker.
        """
        count = self._count
        first = max(0, count - self.most)
        begin = next((number for number in range(first, count) if self._at(number) >= since), count)
        step = max(1, -(-(count - begin) // most))
        begin = max(first, begin - 1)
        return [self._sample(number) for number in range(begin, count) if number % step == 0 or number == begin]

    @property
    def _count(self) -> int:
        count: int = _COUNT.unpack_from(self._memory)[0]
        return count

    def _place(self, number: int) -> int:
        return _COUNT.size + number % self._places * _FORMAT.size

    def _at(self, number: int) -> float:
        at: float = struct.unpack_from("=d", self._memory, self._place(number))[0]
        return at

    def _sample(self, number: int) -> Sample:
        at, requests, failures, calls, retries, hits, misses, *by_bucket = _FORMAT.unpack_from(
            self._memory, self._place(number)
        )
        return Sample(at, requests, failures, calls, retries, hits, misses, tuple(by_bucket))


class Sampler:
    """Notes a sample when one is due. Runs in the supervisor."""

    def __init__(
        self,
        counters: SharedMetrics,
        requests: RequestMetrics,
        history: History,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._counters, self._requests, self._history, self._clock = counters, requests, history, clock
        self._due = 0.0

    def sample_when_due(self) -> None:
        """Note a sample if the last one is old enough. Call it every second or so."""
        now = self._clock()
        if now >= self._due:
            self._due = now + INTERVAL_SECONDS
            self._history.add(Sample.of(self._counters, self._requests, now))
