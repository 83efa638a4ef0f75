"""The watchdog: it finds processes that are hung, by their heartbeats, and processes that have grown too large.

It ends no process: `app.processes.supervisor` asks it every second, and does so.
"""

import os
from collections import Counter, defaultdict, deque
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol, TypeVar

from runtime.heartbeat import Heartbeat

SILENT_SECONDS = 20.0
"""A process is hung if it gives no sign of life for so long although one is due."""

START_SECONDS = 120.0
"""A process is hung, too, if it has not begun to listen after so long."""

ROUND_SECONDS = 1.0
"""The time between two checks of all processes."""

_STOOD_STILL_SECONDS = 3.0  # a check that is later than that: this process did not run, and maybe no other did
_APART_SECONDS = 5.0  # between the ends of two hung processes of a kind: a forgotten beat must not stop all at once
_REMEMBERED_SECONDS = 3600.0
_MOST_DOUBLINGS = 5
_COMPUTES_SHARE = 0.2  # of one processor: a process that uses more of it works, even if it makes no steps
_COMPUTES_SECONDS = 300.0  # a process may compute without a step for so long
_TICKS = os.sysconf("SC_CLK_TCK")


class Watched(Protocol):
    """A process that is watched."""

    @property
    def pid(self) -> int:
        """Its process ID."""

    @property
    def name(self) -> str:
        """Its name; a process that replaces it has the same."""

    @property
    def kind(self) -> object:
        """Its kind; processes of one kind can do each other's work."""

    @property
    def heartbeat(self) -> Heartbeat:
        """Its signs of life."""

    @property
    def started_at(self) -> float:
        """The time of its start (monotonic clock)."""

    @property
    def silent_seconds(self) -> float | None:
        """The longest time without a sign of life; None if it has no heartbeat."""


W = TypeVar("W", bound=Watched)


class Repeats:
    """The replacements of each name within the last hour. Each doubles the limits of the next process."""

    def __init__(self) -> None:
        self._times: defaultdict[str, deque[float]] = defaultdict(deque)

    def add(self, name: str, now: float) -> None:
        """Note a replacement."""
        self._times[name].append(now)

    def factor(self, name: str, now: float) -> int:
        """The factor of the limits: 1 without replacements, then 2, 4, up to 32."""
        times = self._times[name]
        while times and now - times[0] > _REMEMBERED_SECONDS:
            times.popleft()
        return 1 << min(len(times), _MOST_DOUBLINGS)


@dataclass(frozen=True)
class _Use:
    """The processor time of a process up to a point in time."""

    at: float
    seconds: float


class HangDetector:
    """Finds hung processes. Time in which the supervisor itself did not run does not count."""

    def __init__(self, now: float) -> None:
        self._checked_at = self._awake_since = now
        self._repeats = Repeats()
        self._ended_at: dict[object, float] = {}
        self._use: dict[int, _Use] = {}
        self._computed_at: dict[int, float] = {}

    def look(self, processes: Iterable[W], now: float) -> tuple[W, str] | None:
        """A process that is hung, and the reason; None if there is none. Call it every ROUND_SECONDS."""
        if now - self._checked_at > ROUND_SECONDS + _STOOD_STILL_SECONDS:
            self._awake_since = now
        self._checked_at = now
        watched = [one for one in processes if one.silent_seconds is not None]
        self._forget_others({one.pid for one in watched})
        hung = [(one, why) for one in watched if (why := self._why(one, now))]
        apart = (one for one in hung if now - self._ended_at.get(one[0].kind, -_APART_SECONDS) >= _APART_SECONDS)
        return next(apart, None)

    def is_hung(self, one: Watched, now: float) -> bool:
        """Whether a process is hung now."""
        return self._why(one, now) is not None

    def end(self, one: Watched, now: float) -> None:
        """Note that a process is ended. Its successor has wider limits, and others of its kind are ended later."""
        self._ended_at[one.kind] = now
        self._repeats.add(one.name, now)

    def _why(self, one: Watched, now: float) -> str | None:
        pulse, factor = one.heartbeat.pulse, self._repeats.factor(one.name, now)
        silent_seconds = (one.silent_seconds or 0.0) * factor

        def too_long(since: float, seconds: float) -> bool:
            return now - max(since, self._awake_since) > seconds

        if not pulse.listens:
            return "it does not begin to listen" if too_long(one.started_at, START_SECONDS * factor) else None
        if too_long(pulse.listened_at, silent_seconds):
            return "its listening loop stands still"
        since = pulse.idle_since
        if since is None:
            return None
        if self._computes(one, now):
            self._computed_at[one.pid] = now
        since = max(since, min(self._computed_at.get(one.pid, 0.0), since + _COMPUTES_SECONDS))
        return "work waits and no thread makes a step" if too_long(since, silent_seconds) else None

    def _computes(self, one: Watched, now: float) -> bool:
        """Whether a process has used the processor since the last check."""
        before = self._use.get(one.pid)
        if before and now - before.at < ROUND_SECONDS / 2:  # too short a time to tell
            return False
        current = self._use[one.pid] = _Use(now, processor_seconds(one.pid))
        return before is not None and current.seconds - before.seconds >= _COMPUTES_SHARE * (now - before.at)

    def _forget_others(self, pids: set[int]) -> None:
        for by_pid in (self._use, self._computed_at):
            for pid in by_pid.keys() - pids:
                del by_pid[pid]


@dataclass
class GrowthDetector:
    """Finds processes that use too much memory, and still do after a while: peaks pass.

    A process that replaced another for this reason lives for a minute at least, the next one for two, then four.
    """

    max_bytes: int = 0
    """The most anonymous memory of one process, in RAM or swapped out; 0 for no limit."""

    look_seconds: float = 5.0
    looks: int = 3
    """A process is found when it was over the limit in so many consecutive checks."""

    min_life_seconds: float = 60.0
    _checked_at: float = 0.0
    _over: Counter[int] = field(default_factory=Counter)
    _repeats: Repeats = field(default_factory=Repeats)

    def look(self, processes: Iterable[W], now: float) -> list[tuple[W, int]]:
        """The processes that have grown too large, each with its bytes."""
        if not self.max_bytes or now - self._checked_at < self.look_seconds:
            return []
        self._checked_at = now
        over = [(one, size) for one in processes if (size := own_bytes(one.pid)) > self.max_bytes]
        self._over = Counter({one.pid: self._over[one.pid] + 1 for one, _ in over})
        found = [(one, size) for one, size in over if self._over[one.pid] >= self.looks and self._is_old(one, now)]
        for one, _ in found:
            self._repeats.add(one.name, now)
        return found

    def _is_old(self, one: Watched, now: float) -> bool:
        factor = self._repeats.factor(one.name, now)
        return factor == 1 or now - one.started_at >= self.min_life_seconds * factor / 2


def own_bytes(pid: int) -> int:
    """The anonymous memory of a process, in RAM and swapped out; 0 if the process has ended.

    Mapped files of the cache do not count: the kernel takes such pages back when it needs them.
    """
    try:
        lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    except OSError:
        return 0
    fields = dict(line.split(":", 1) for line in lines)
    return sum(int(fields.get(name, "0 kB").split()[0]) for name in ("RssAnon", "VmSwap")) * 1024


def processor_seconds(pid: int) -> float:
    """The processor time of a process in seconds; 0 if it has ended."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return 0.0
    return (int(fields[11]) + int(fields[12])) / _TICKS
