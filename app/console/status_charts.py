"""Charts of the last hours from samples of the counters: lines as paths of SVG, and the same numbers as a table.

A line is drawn in a space of WIDTH by HEIGHT, which the page stretches. Runs in the web processes.
"""

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import accumulate, groupby, pairwise

from app.telemetry.history import Sample
from app.telemetry.request_metrics import BUCKETS_SECONDS

WIDTH, HEIGHT = 600, 100
MOST_POINTS = 120
"""The most points of a line, but for one or two."""

_TABLE_ROWS = 12
_PERCENT = 100.0


@dataclass(frozen=True)
class Interval:
    """The time between two samples, in seconds, and what was counted in it."""

    begin: float
    end: float
    counted: Sample

    @classmethod
    def between(cls, first: Sample, last: Sample) -> "Interval":
        """From one sample to a later one."""
        return cls(first.at, last.at, last.since(first))

    def per_second(self, number: int) -> float:
        """A number as a rate."""
        return number / (self.end - self.begin)


Value = Callable[[Interval], float | None]


@dataclass(frozen=True)
class Measure:
    """What a chart shows: the key of its heading, lines by the keys of their names, and a fixed end of its scale."""

    heading: str
    lines: Mapping[str, Value]
    top: float | None = None


@dataclass(frozen=True)
class Line:
    """A line of a chart: the key of its name, its path in SVG, and the value of the last interval that has one."""

    name: str
    path: str
    last: str


@dataclass(frozen=True)
class Row:
    """A row of the table of a chart: the end of an interval in seconds before now, and a value for each line."""

    ago_seconds: float
    values: tuple[str, ...]


@dataclass(frozen=True)
class Chart:
    """A chart: the key of its heading, the upper end of its scale, its lines, and its table, newest first."""

    heading: str
    top: str
    lines: tuple[Line, ...]
    rows: tuple[Row, ...]


def quantile(by_bucket: Sequence[int], share: float) -> float | None:
    """The duration in seconds that this share of requests did not exceed, about; None without requests.

    It is taken as evenly spread within a bucket. Longer ones than the last end count as long as that.
    """
    total = sum(by_bucket)
    if not total:
        return None
    wanted = share * total
    sums = list(accumulate(by_bucket))
    place = next(place for place, below in enumerate(sums) if below >= wanted and by_bucket[place])
    if place == len(BUCKETS_SECONDS):
        return BUCKETS_SECONDS[-1]
    start = BUCKETS_SECONDS[place - 1] if place else 0.0
    within = (wanted - (sums[place] - by_bucket[place])) / by_bucket[place]
    return start + (BUCKETS_SECONDS[place] - start) * min(1.0, max(0.0, within))


def _milliseconds(share: float) -> Value:
    def value(interval: Interval) -> float | None:
        seconds = quantile(interval.counted.by_bucket, share)
        return None if seconds is None else seconds * 1000

    return value


def _hit_percent(interval: Interval) -> float | None:
    asked = interval.counted.cache_hits + interval.counted.cache_misses
    return _PERCENT * interval.counted.cache_hits / asked if asked else None


MEASURES = (
    Measure(
        "status_requests",
        {
            "status_requests_all": lambda one: one.per_second(one.counted.requests),
            "status_requests_failed": lambda one: one.per_second(one.counted.failures),
        },
    ),
    Measure("status_latency", {"status_latency_half": _milliseconds(0.5), "status_latency_most": _milliseconds(0.95)}),
    Measure(
        "status_calls",
        {
            "status_calls_all": lambda one: one.per_second(one.counted.ahi_calls),
            "status_calls_again": lambda one: one.per_second(one.counted.ahi_retries),
        },
    ),
    Measure("status_hits", {"status_hits_share": _hit_percent}, _PERCENT),
)
"""All charts, in the order of the page."""


def draw(samples: Sequence[Sample], now: float, seconds: float) -> list[Chart]:
    """The charts of the last `seconds` before `now`, from samples in the order of time."""
    return [_chart(measure, samples, now, seconds) for measure in MEASURES]


def _chart(measure: Measure, samples: Sequence[Sample], now: float, seconds: float) -> Chart:
    found = _intervals(samples)
    drawn = {name: [(one.end, value(one)) for one in found] for name, value in measure.lines.items()}
    highest = max((value for points in drawn.values() for _, value in points if value is not None), default=0.0)
    top = measure.top or round_up(highest)

    def line(name: str, points: Sequence[tuple[float, float | None]]) -> Line:
        last = next((value for _, value in reversed(points) if value is not None), None)
        return Line(name, path([((at - now) / seconds, value) for at, value in points], top), written(last))

    lines = tuple(line(name, points) for name, points in drawn.items())
    return Chart(measure.heading, written(top), lines, tuple(_rows(measure, samples, now)))


def _rows(measure: Measure, samples: Sequence[Sample], now: float) -> Iterator[Row]:
    step = max(1, -(-(len(samples) - 1) // _TABLE_ROWS))
    for one in reversed(_intervals(samples[::-1][::step][::-1])):
        yield Row(max(0.0, now - one.end), tuple(written(value(one)) for value in measure.lines.values()))


def _intervals(samples: Sequence[Sample]) -> list[Interval]:
    return [Interval.between(first, last) for first, last in pairwise(samples) if last.at > first.at]


def path(points: Sequence[tuple[float, float | None]], top: float) -> str:
    """The path of a line. A point has its place from -1 (the left end) to 0, and a value; None breaks the line."""
    parts = []
    for is_there, of_part in groupby(points, key=lambda point: point[1] is not None):
        if is_there:
            places = [_place(at, value or 0.0, top) for at, value in of_part]
            parts.append(f"M{' L'.join(places)}" if len(places) > 1 else f"M{places[0]} h0")
    return " ".join(parts)


def _place(at: float, value: float, top: float) -> str:
    x = WIDTH * min(1.0, max(0.0, 1 + at))
    y = HEIGHT * (1 - min(1.0, max(0.0, value / top)))
    return f"{x:.1f},{y:.1f}"


def round_up(value: float) -> float:
    """The next one of 1, 2, 5, 10, 20 …, for the end of a scale; 1 at least."""
    if value <= 1:
        return 1.0
    power = 10.0 ** math.floor(math.log10(value))
    return next((step * power for step in (1, 2, 5) if step * power >= value), 10 * power)


def written(value: float | None) -> str:
    """A number with as many digits as a person wants to read; "" for None."""
    if value is None:
        return ""
    digits = 0 if value >= 100 or value == int(value) else 1 if value >= 10 else 2
    return f"{value:,.{digits}f}"
