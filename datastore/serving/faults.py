"""Faults on demand: the data store throttles, stalls, breaks off or answers wrong, to test its clients.

Faults are written as text, separated by commas:

    operation[/id]:effect[:how often]        GetImageFrame:429:0.1,*:latency=40ms,GetImageSetMetadata:cut:x3

    operation    an operation of AHI, or * for all; `/id` narrows it to one image set or one frame
    effect       a status: 400 402 403 404 406 409 429 500 503, answered as the error of AHI that has it
                 latency=40ms       the answer begins that much later; also in seconds, latency=1.5s
                 trickle=8kB/s      the body comes that slowly; also in B/s
                 cut                the connection is closed before the answer begins
                 cut-body           the connection is closed after half of the body
                 corrupt            one byte in the middle of the body is wrong; corrupt=17: the one at 17, from 0
                 longer=1000        Content-Length says so many bytes more than there are; then the connection is closed
                 type=text/plain    the Content-Type is this one
                 half               the body ends half-way, and is announced as that short
                 body=html          another body with 200; `datastore.serving.strange` has the names: html, empty, list,
                                    object, wrong-types, deep, deep-gzip, bomb
                 rate=50/100        429 above 50 calls a second, after a burst of 100; `rate` alone: as AHI does it
    how often    a probability (0.1), the next calls only (x3), or a while only (30s); always, when it is not said
"""

import math
import re
import threading
import time
from collections import Counter
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from random import Random

from datastore.serving.effects import Effect, Limit, Refuse, Wait, parse_effect

OPERATIONS = {  # name: calls per second and burst, AWS HealthImaging Developer Guide, throttling limits
    "GetImageFrame": (1000.0, 2000.0),
    "GetImageSetMetadata": (50.0, 100.0),
    "GetImageSet": (25.0, 50.0),
    "SearchImageSets": (25.0, 50.0),
    "ListImageSetVersions": (25.0, 50.0),
    "GetDatastore": (10.0, 20.0),
    "ListDatastores": (5.0, 10.0),
    "StoreDICOM": (25.0, 50.0),  # AWS names no rate
    "StoreDICOMStudy": (25.0, 50.0),
}


_SECONDS = {"ms": 0.001, "s": 1.0}
_FAULT = re.compile(r"(?P<operation>\w+|\*)(?:/(?P<target>\w+))?:(?P<effect>[^:]+)(?::(?P<often>[^:]+))?", re.ASCII)


@dataclass(frozen=True)
class Fault:
    """One fault: the calls it applies to, its effect, and how often it happens."""

    text: str
    operation: str
    target: str | None
    effect: Effect
    probability: float = 1.0
    calls: int | None = None
    seconds: float = math.inf

    @classmethod
    def from_text(cls, text: str) -> "Fault":
        """Parse a fault as in the docstring of this module; ValueError."""
        match = _FAULT.fullmatch(text)
        if not match or match["operation"] not in {*OPERATIONS, "*"}:
            raise ValueError(f"not a fault: {text!r}; write operation[/id]:effect[:how often]")
        often = _often(match["often"])
        return cls(text, match["operation"], match["target"], parse_effect(match["effect"]), *often)

    def concerns(self, operation: str, targets: Collection[str]) -> bool:
        """Whether the fault applies to a call of this operation on these image sets and frames."""
        return self.operation in ("*", operation) and (self.target is None or self.target in targets)


def parse_faults(text: str) -> tuple[Fault, ...]:
    """Parse faults separated by commas, as in the docstring of this module; ValueError."""
    return tuple(Fault.from_text(part.strip()) for part in text.split(",") if part.strip())


def _often(text: str | None) -> tuple[float, int | None, float]:
    """A probability, a number of calls, and a number of seconds."""
    if text is None:
        return 1.0, None, math.inf
    if match := re.fullmatch(r"x(\d+)", text, re.ASCII):
        return 1.0, int(match[1]), math.inf
    if match := re.fullmatch(r"(\d+(?:\.\d+)?)(ms|s)", text, re.ASCII):
        return 1.0, None, float(match[1]) * _SECONDS[match[2]]
    if re.fullmatch(r"0(\.\d+)?|1(\.0+)?", text, re.ASCII):
        return float(text), None, math.inf
    raise ValueError(f"not how often a fault happens: {text!r}; write a probability, x and a number of calls, or 30s")


class Faults:
    """The faults in force and the counts of calls. Safe to share between threads, and to change at any time."""

    def __init__(self, faults: Sequence[Fault] = (), *, random: Random | None = None) -> None:
        self._random = random or Random()  # noqa: S311 - chance, not a secret
        self._lock = threading.Lock()
        self._calls: Counter[str] = Counter()
        self.replace(faults)

    @classmethod
    def from_text(cls, text: str) -> "Faults":
        """From the text of a setting; ValueError."""
        return cls(parse_faults(text))

    def replace(self, faults: Sequence[Fault]) -> None:
        """Replace all faults by these; counts begin again."""
        with self._lock:
            self._faults = tuple(faults)
            self._since = time.monotonic()
            self._met: Counter[int] = Counter()
            self._buckets: dict[tuple[int, str], _Bucket] = {}

    def in_force(self) -> dict[str, int]:
        """The text of every fault, and the number of calls that it happened to."""
        with self._lock:
            return {fault.text: self._met[index] for index, fault in enumerate(self._faults)}

    def calls(self) -> dict[str, int]:
        """The number of calls of each operation, including refused ones."""
        with self._lock:
            return dict(self._calls)

    def take_calls(self) -> dict[str, int]:
        """The same, and reset them: no call is lost between the two."""
        with self._lock:
            counted, self._calls = dict(self._calls), Counter()
            return counted

    def meet(self, operation: str, targets: Collection[str]) -> tuple[Effect, ...]:
        """Count a call, and give the effects on it: waiting first, then in the order of the faults."""
        with self._lock:
            self._calls[operation] += 1
            effects = [
                self._happens(index, fault, operation)
                for index, fault in enumerate(self._faults)
                if fault.concerns(operation, targets)
            ]
        return tuple(sorted(filter(None, effects), key=lambda effect: not isinstance(effect, Wait)))

    def _happens(self, index: int, fault: Fault, operation: str) -> Effect | None:
        if fault.calls is not None and self._met[index] >= fault.calls:
            return None
        if time.monotonic() - self._since >= fault.seconds:
            return None
        if self._random.random() >= fault.probability:
            return None
        effect = fault.effect
        if isinstance(effect, Limit):
            bucket = self._buckets.setdefault((index, operation), _Bucket(*(effect.rate or OPERATIONS[operation])))
            if bucket.take(time.monotonic()):
                return None
            effect = Refuse(429)
        self._met[index] += 1
        return effect


class _Bucket:
    """A token bucket: `burst` tokens at most, refilled at `per_second`; a call takes one."""

    def __init__(self, per_second: float, burst: float) -> None:
        self._per_second, self._burst, self._tokens = per_second, burst, burst
        self._seen = time.monotonic()

    def take(self, now: float) -> bool:
        self._tokens = min(self._burst, self._tokens + (now - self._seen) * self._per_second)
        self._seen = now
        if self._tokens < 1:
            return False
        self._tokens -= 1
        return True
