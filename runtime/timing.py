"""The time that the parts of a request take, for its Server-Timing header and its trace.

A job of a fetcher is measured in the same way. Its parts come back with its result, and count for each request that
waited for it.
"""

import time
from collections.abc import Callable, Sequence
from contextvars import ContextVar
from dataclasses import dataclass, field
from typing import NamedTuple


class TimedPart(NamedTuple):
    """A span of time. Start and end are seconds of the monotonic clock, which all processes of a machine share."""

    name: str
    start: float
    end: float
    what: str = ""
    """A description of the work, without values that a client sent."""
    error: str = ""
    """The class of the error that ended it; "" if none did."""
    inner: tuple["TimedPart", ...] = ()


@dataclass
class Timing:
    """The times of one request, or of one job."""

    seconds: dict[str, float] = field(default_factory=dict)
    """The seconds spent on the parts of each name."""
    cached: bool | None = None
    """Whether every look-up in the cache was a hit; None if there was none."""
    tell: Callable[[TimedPart], None] | None = None
    """Called with each part when it is over."""
    traceparent: str = ""
    """The trace that the request belongs to (W3C Trace Context); "" if there is none."""
    what: str = ""
    """The description of the part under way, set by `describe`."""

    def add(self, part: TimedPart, since: float) -> None:
        """Add the time of a part from `since` on, and the time of its inner parts after `since`."""
        self.seconds[part.name] = self.seconds.get(part.name, 0.0) + part.end - since
        for inner in part.inner:  # another process fetched or rendered it: it was not in the cache
            self.cached = False
            overlap = min(inner.end, part.end) - max(inner.start, since)
            self.seconds[inner.name] = self.seconds.get(inner.name, 0.0) + max(0.0, overlap)
        if self.tell:
            self.tell(part)


_timing: ContextVar[Timing | None] = ContextVar("timing", default=None)


def start_timing() -> Timing:
    """Begin the timing of a request or job, in this thread."""
    timing = Timing()
    _timing.set(timing)
    return timing


def current_timing() -> Timing | None:
    """The timing of the request or job of this thread; None outside of one."""
    return _timing.get()


class measured:  # noqa: N801 - read as a word of a `with` statement
    """A context whose time counts as that of a part. It does nothing outside of a request or job."""

    __slots__ = ("_name", "_start", "_what")

    def __init__(self, name: str, what: str = "") -> None:
        """`what` describes the work, unless `describe` is called within the context."""
        self._name, self._what = name, what

    def __enter__(self) -> None:
        self._start = time.monotonic()

    def __exit__(self, error: type[BaseException] | None, *_: object) -> None:
        timing = _timing.get()
        if timing is not None:
            what, timing.what = self._what or timing.what, ""
            kind = error.__name__ if error else ""
            timing.add(TimedPart(self._name, self._start, time.monotonic(), what, kind), self._start)


def describe(what: str) -> None:
    """Describe the part that is being measured."""
    timing = _timing.get()
    if timing is not None:
        timing.what = what


def waited(name: str, what: str, asked_at: float, since: float, inner: Sequence[TimedPart]) -> None:
    """Add a part that another process has done: requested at `asked_at`, and waited for since `since`."""
    timing = _timing.get()
    if timing is not None:
        timing.add(TimedPart(name, asked_at, time.monotonic(), what, inner=tuple(inner)), since)


def looked_up(*, hit: bool) -> None:
    """Note a look-up in the cache."""
    timing = _timing.get()
    if timing is not None:
        timing.cached = hit and timing.cached is not False


def server_timing(total_seconds: float) -> str:
    """The value of a Server-Timing header, with the parts up to now."""
    timing = _timing.get() or Timing()
    parts = [f"{name};dur={seconds * 1000:.1f}" for name, seconds in {"total": total_seconds, **timing.seconds}.items()]
    if timing.cached is not None:
        parts.append(f"cache;desc={'hit' if timing.cached else 'miss'}")
    return ", ".join(parts)
