"""The numbers of replaced processes: counted by the supervisor, in memory that the metrics process shares."""

import mmap
from collections.abc import Mapping
from enum import Enum

_BYTES = 8


class ProcessKind(Enum):
    """The task of a process."""

    WEB = "web"
    FETCHER = "fetcher"
    PREFETCH = "prefetch"
    FORWARDER = "forwarder"
    METRICS = "metrics"
    OTHER = "other"


class Reason(Enum):
    """The reason why a process was replaced."""

    DIED = "died"
    HUNG = "hung"
    MEMORY = "memory"


_PLACE = {place: number for number, place in enumerate((kind, reason) for kind in ProcessKind for reason in Reason)}


class Replacements:
    """Counts since the start of the service. Must be made before any fork; only the supervisor counts."""

    def __init__(self) -> None:
        self._words = memoryview(mmap.mmap(-1, len(_PLACE) * _BYTES)).cast("Q")

    def count(self, kind: ProcessKind, reason: Reason) -> None:
        """Count one more replacement."""
        self._words[_PLACE[kind, reason]] += 1

    def totals(self) -> Mapping[tuple[ProcessKind, Reason], int]:
        """All counts, including zeros."""
        return {place: self._words[number] for place, number in _PLACE.items()}
