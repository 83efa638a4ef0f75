"""What an import tells of a file: everything that was replaced, left out or could not be read, by kind."""

from collections.abc import Iterator
from dataclasses import dataclass
from enum import Enum

MOST_FINDINGS = 200
"""How many findings of one file are kept; a hostile file has millions."""


class FindingKind(Enum):
    """A kind of finding: how it is told after a number, and whether something of the source is lost by it."""

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
    """One finding; `where` is a frame or a path of tags, and neither holds anything of the content of the file."""

    kind: FindingKind
    where: str
    reason: str

    def __str__(self) -> str:
        return f"{self.where}: {self.reason}" if self.where else self.reason


class Findings:
    """The findings of one file, the first `MOST_FINDINGS` of each kind. For one thread after another."""

    def __init__(self) -> None:
        self._found: dict[FindingKind, list[Finding]] = {}
        self.counts: dict[FindingKind, int] = {}

    def add(self, kind: FindingKind, where: str, reason: str) -> None:
        """Take down a finding."""
        self.counts[kind] = self.counts.get(kind, 0) + 1
        if self.counts[kind] <= MOST_FINDINGS:
            self._found.setdefault(kind, []).append(Finding(kind, where, reason))

    def extend(self, others: "Findings") -> None:
        """Take down those of others, too."""
        for finding in others:
            self.add(finding.kind, finding.where, finding.reason)

    def __iter__(self) -> Iterator[Finding]:
        for found in self._found.values():
            yield from found
