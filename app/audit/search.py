"""The messages of the audit trail that fit, newest first, step by step. Runs in the web processes.

One step reads a bounded number of bytes for a bounded time, however large the files are. It tells where the next one
goes on. A time range is found by halving the file, so that a day of last year costs no more than today.
"""

import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from xml.etree.ElementTree import Element, tostring

from app.audit.event import EventKind
from app.audit.record import Record
from app.audit.trail_files import TrailFile, end_for, find_files, lines_before, opened, time_of
from dicomweb.errors import BadRequest, UpstreamFailed

MOST_RECORDS = 50
STEP_BYTES = 128 * 2**20
STEP_SECONDS = 0.08
_DISORDER = timedelta(minutes=15)
"""Messages of several processes are not quite in the order of their times, least of all after a disk was full."""


@dataclass(frozen=True)
class Wanted:
    """What is searched for. None and "" are for anything; `user` may be a part of the name."""

    first: datetime | None = None
    last: datetime | None = None
    user: str = ""
    kind: EventKind | None = None
    outcome: int | None = None
    study_instance_uid: str = ""
    patient_id: str = ""

    def fits(self, record: Record) -> bool:
        """Whether a message is one of those."""
        return (
            (self.first is None or record.at >= self.first)
            and (self.last is None or record.at <= self.last)
            and self.user in record.user
            and self.kind in (None, record.kind)
            and self.outcome in (None, record.outcome)
            and self.study_instance_uid in ("", record.study_instance_uid)
            and self.patient_id in ("", record.patient_id)
        )

    @property
    def needles(self) -> tuple[bytes, ...]:
        """Pieces that each line has which fits: most lines are passed over without being parsed."""
        found = [_escaped(text) for text in (self.user, self.study_instance_uid, self.patient_id) if text]
        if self.kind is not None:
            found.append(f'csd-code="{self.kind.value.event.value}"'.encode())
        if self.outcome is not None:
            found.append(f'EventOutcomeIndicator="{self.outcome}"'.encode())
        return tuple(found)


def _escaped(text: str) -> bytes:
    """A text as it is in an attribute of XML."""
    return tostring(Element("x", v=text))[len(b'<x v="') : -len(b'" />')]


@dataclass(frozen=True)
class Position:
    """Where a search goes on: before this offset of the file that has this inode."""

    inode: int
    offset: int

    @classmethod
    def from_text(cls, text: str) -> "Position | None":
        """From `inode-offset`; None for "", BadRequest for anything else."""
        inode, _, offset = text.partition("-")
        if not text:
            return None
        if not all(part.isascii() and part.isdecimal() and len(part) <= 20 for part in (inode, offset)):
            raise BadRequest("this is no place in the audit trail")
        return cls(int(inode), int(offset))

    def __str__(self) -> str:
        return f"{self.inode}-{self.offset}"


@dataclass(frozen=True)
class Step:
    """What one step found. `further` is None at the end. All messages since `back_to` were looked at.

    `packed` are the names of files that cannot be searched.
    """

    records: tuple[Record, ...]
    further: Position | None
    back_to: datetime | None
    packed: tuple[str, ...] = ()


def search_trail(path: Path, wanted: Wanted, begin: Position | None = None) -> Step:
    """One step of a search. UpstreamFailed if the files cannot be read, BadRequest if `begin` is no longer there."""
    try:
        files = find_files(path)
        plain = [one for one in files if not one.packed]
        if begin is not None:
            at = next((number for number, one in enumerate(plain) if one.inode == begin.inode), None)
            if at is None:
                raise BadRequest("the audit trail was rotated meanwhile: search again")
            plain = plain[at:]
        packed = tuple(one.path.name for one in files if one.packed)
        return _step(wanted, _lines(plain, wanted, begin), packed)
    except OSError as error:
        raise UpstreamFailed(f"the audit trail cannot be read: {error.strerror}") from error


def _step(wanted: Wanted, lines: Iterator[tuple[TrailFile, int, bytes]], packed: tuple[str, ...]) -> Step:
    records: list[Record] = []
    back_to: datetime | None = None
    ends_at, left_bytes, above = time.monotonic() + STEP_SECONDS, STEP_BYTES, Position(0, 0)
    first = _moved(wanted.first, -_DISORDER) if wanted.first else None
    needles = wanted.needles
    for file, offset, line in lines:
        if all(needle in line for needle in needles):
            record = Record.from_line(line)
            if record and wanted.fits(record):
                records.append(record)
        back_to = time_of(line) or back_to
        if first and back_to and back_to < first:
            break
        at = Position(file.inode, offset)
        left_bytes -= above.offset - offset if above.inode == at.inode else len(line)
        above = at
        if len(records) == MOST_RECORDS or left_bytes <= 0 or time.monotonic() >= ends_at:
            return Step(tuple(records), at, back_to, packed)
    return Step(tuple(records), None, back_to, packed)


def _moved(moment: datetime, by: timedelta) -> datetime:
    """A moment that much later; the moment itself at the end of all dates, and at their begin."""
    try:
        return moment + by
    except OverflowError:
        return moment


def _lines(
    files: Sequence[TrailFile], wanted: Wanted, begin: Position | None
) -> Iterator[tuple[TrailFile, int, bytes]]:
    """The lines that may fit, the newest first, each with its file and its offset there."""
    first = _moved(wanted.first, -_DISORDER).timestamp() if wanted.first else 0.0
    last = _moved(wanted.last, _DISORDER) if wanted.last else None
    for file in files:
        if file.written_at < first:
            return
        with opened(file) as descriptor:
            if begin and begin.inode == file.inode:
                end = min(begin.offset, file.size_bytes)
            else:
                end = end_for(descriptor, file.size_bytes, last) if last else file.size_bytes
            for offset, line in lines_before(descriptor, end, wanted.needles):
                yield file, offset, line
