"""How many processes were replaced, and why: counted by the supervisor in memory that the process of metrics shares."""

import mmap
from collections.abc import Mapping
from enum import Enum

_BYTES = 8


class ProcessKind(Enum):
    """What a process does."""

    WEB = "web"
    FETCHER = "fetcher"
    PREFETCH = "prefetch"
    METRICS = "metrics"
    OTHER = "other"


class Reason(Enum):
    """Why a process was replaced."""

    DIED = "died"
    HUNG = "hung"
    MEMORY = "memory"


_PLACE = {place: number for number, place in enumerate((kind, reason) for kind in ProcessKind for reason in Reason)}


class Replacements:
    """Counts since the start of the service. Made before any fork; only the supervisor counts."""

    def __init__(self) -> None:
        self._words = memoryview(mmap.mmap(-1, len(_PLACE) * _BYTES)).cast("Q")

    def count(self, kind: ProcessKind, reason: Reason) -> None:
        """One more."""
        self._words[_PLACE[kind, reason]] += 1

    def totals(self) -> Mapping[tuple[ProcessKind, Reason], int]:
        """All counts, those that are 0 among them."""
        return {place: self._words[number] for place, number in _PLACE.items()}
