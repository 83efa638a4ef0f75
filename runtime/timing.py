"""What the time of a request goes into, for its Server-Timing header and its trace.

A job of a fetcher is measured in the same way; its parts come back with its result, and count for whoever waited.
"""

import time
from collections.abc import Callable, Sequence
from contextvars import ContextVar
from dataclasses import dataclass, field
from typing import NamedTuple


class TimedPart(NamedTuple):
    """A stretch of time; start and end are seconds of the monotonic clock, which all processes of a machine share."""

    name: str
    start: float
    end: float
    what: str = ""
    """What was done, without values that anybody sent."""
    error: str = ""
    """The kind of error that it ended with."""
    inner: tuple["TimedPart", ...] = ()


@dataclass
class Timing:
    """Of one request, or of one job."""

    seconds: dict[str, float] = field(default_factory=dict)
    """What has been spent on the parts of each name."""
    cached: bool | None = None
    """Whether all that was looked for in the cache was there; None where nothing was."""
    tell: Callable[[TimedPart], None] | None = None
    """Called with each part when it is over."""
    traceparent: str = ""
    """The trace that the request belongs to (W3C Trace Context); "" where it is in none."""
    what: str = ""
    """What the part under way does, where that shows only when it is done."""

    def add(self, part: TimedPart, since: float) -> None:
        """Count the part from `since` on, and as much of what is in it as fell into that time."""
        self.seconds[part.name] = self.seconds.get(part.name, 0.0) + part.end - since
        for inner in part.inner:  # others fetched it, or drew it: it was not there
            self.cached = False
            overlap = min(inner.end, part.end) - max(inner.start, since)
            self.seconds[inner.name] = self.seconds.get(inner.name, 0.0) + max(0.0, overlap)
        if self.tell:
            self.tell(part)


_timing: ContextVar[Timing | None] = ContextVar("timing", default=None)


def start_timing() -> Timing:
    """From here on, in this thread, parts are measured anew."""
    timing = Timing()
    _timing.set(timing)
    return timing


def current_timing() -> Timing | None:
    """That of the request or job of this thread, None outside of one."""
    return _timing.get()


class measured:  # noqa: N801 - read as a word of a `with` statement
    """The time of what is done here counts as that of a part; nothing outside of a request or job."""

    __slots__ = ("_name", "_start", "_what")

    def __init__(self, name: str, what: str = "") -> None:
        """`what` is what is done, if it is not to be told by `describe`."""
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
    """Say what the part does that is being measured."""
    timing = _timing.get()
    if timing is not None:
        timing.what = what


def waited(name: str, what: str, asked_at: float, since: float, inner: Sequence[TimedPart]) -> None:
    """A part is over that others have done: what was asked for at one time, and waited for only since a later one."""
    timing = _timing.get()
    if timing is not None:
        timing.add(TimedPart(name, asked_at, time.monotonic(), what, inner=tuple(inner)), since)


def looked_up(*, hit: bool) -> None:
    """Something was looked for in the cache."""
    timing = _timing.get()
    if timing is not None:
        timing.cached = hit and timing.cached is not False


def server_timing(total_seconds: float) -> str:
    """What is known so far, as a Server-Timing header has it."""
    timing = _timing.get() or Timing()
    parts = [f"{name};dur={seconds * 1000:.1f}" for name, seconds in {"total": total_seconds, **timing.seconds}.items()]
    if timing.cached is not None:
        parts.append(f"cache;desc={'hit' if timing.cached else 'miss'}")
    return ", ".join(parts)
