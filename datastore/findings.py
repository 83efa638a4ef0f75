"""The findings of an import: all that was replaced, left out or unreadable in a file, by kind.

Runs in the process of an import.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from enum import Enum

MOST_FINDINGS = 200
"""The findings of one file and kind that are kept, at most; a hostile file has millions."""


class FindingKind(Enum):
    """A kind of finding: its words behind a number, and whether a part of the source is lost."""

    NO_FRAMES = ("images without frames", True)
    FRAME_UNREADABLE = ("frames that cannot be decoded, kept as they are", True)
    FRAMES_MISSING = ("images with fewer frames than NumberOfFrames says", True)
    FRAMES_LEFT_OUT = ("images with more frames than NumberOfFrames says, which are left out", True)
    VALUE_UNREADABLE = ("values that cannot be read", True)
    VALUE_LEFT_OUT = ("values that are left out", True)
    VALUE_REPLACED = ("values that were replaced", True)
    TEXT_REPLACED = ("texts with characters that their character set does not have", True)
    UID_GIVEN = ("UIDs that were missing, new ones were given", True)
    INSTANCE_REPLACED = ("instances that replaced others with the same UID", False)
    STRAY = ("delimiters or bytes where none belong, left out", False)

    def __init__(self, words: str, is_loss: bool) -> None:
        self.words = words
        self.is_loss = is_loss


@dataclass(frozen=True)
class Finding:
    """One finding; `where` is a frame or a path of tags. Neither field holds content of the file."""

    kind: FindingKind
    where: str
    reason: str

    def __str__(self) -> str:
        return f"{self.where}: {self.reason}" if self.where else self.reason


class Findings:
    """The findings of one file, the first `MOST_FINDINGS` of each kind. Not safe for several threads at a time."""

    def __init__(self) -> None:
        self._by_kind: dict[FindingKind, list[Finding]] = {}
        self.counts: dict[FindingKind, int] = {}

    def add(self, kind: FindingKind, where: str, reason: str) -> None:
        """Add a finding."""
        self.counts[kind] = self.counts.get(kind, 0) + 1
        if self.counts[kind] <= MOST_FINDINGS:
            self._by_kind.setdefault(kind, []).append(Finding(kind, where, reason))

    def extend(self, others: "Findings") -> None:
        """Add all findings of another file."""
        for finding in others:
            self.add(finding.kind, finding.where, finding.reason)

    def __iter__(self) -> Iterator[Finding]:
        for findings in self._by_kind.values():
            yield from findings
