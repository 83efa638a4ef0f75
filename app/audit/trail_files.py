"""The files of the audit trail, read backwards, also while processes write and rotate them. Runs in the web processes.

A rotation renames the file, as to `audit.xml.1` or `audit.xml-20261130`. A file that is packed then cannot be read
backwards. It is named, so that people know what was not searched.
"""

import os
import re
import stat
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

BLOCK_BYTES = 128 * 2**10
LONGEST_LINE_BYTES = 2**20
"""A longer line is skipped: none of ours comes near it."""

_MOST_FILES = 1000
_AT = re.compile(rb'<EventIdentification EventActionCode="\w" EventDateTime="([0-9T:.-]{19,32})Z"')
_ROTATED = re.compile(r"[.-][0-9][0-9A-Za-z._-]{0,63}\Z")
_PACKED = (".gz", ".xz", ".bz2", ".zst", ".lz4", ".Z")


@dataclass(frozen=True)
class TrailFile:
    """One file: its path, inode and size, when it was written last in seconds since 1970, and whether it is packed."""

    path: Path
    inode: int
    size_bytes: int
    written_at: float
    packed: bool = False


def find_files(path: Path) -> list[TrailFile]:
    """The file of the trail and its rotated ones, the newest first; OSError if the folder cannot be read."""
    with os.scandir(path.parent) as entries:
        names = [
            one.name
            for one in entries
            if one.name == path.name or (one.name.startswith(path.name) and _ROTATED.match(one.name[len(path.name) :]))
        ]
    found = [
        file for name in names[:_MOST_FILES] if (file := _file(path.with_name(name), is_current=name == path.name))
    ]
    return sorted(found, key=lambda file: (file.path != path, -file.written_at))


def _file(path: Path, *, is_current: bool) -> TrailFile | None:
    """The file; None if it has gone, or is something else. Only the path that the operator names may be a link."""
    try:
        found = path.stat() if is_current else path.lstat()
    except OSError:
        return None
    if not stat.S_ISREG(found.st_mode):
        return None
    return TrailFile(path, found.st_ino, found.st_size, found.st_mtime, path.name.endswith(_PACKED))


@contextmanager
def opened(file: TrailFile) -> Iterator[int]:
    """The descriptor of the file, which a rotation may have renamed; OSError."""
    descriptor = os.open(file.path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
    try:
        if os.fstat(descriptor).st_ino != file.inode:
            raise FileNotFoundError(2, "the file was rotated meanwhile")
        yield descriptor
    finally:
        os.close(descriptor)


def lines_before(descriptor: int, end: int, needles: Sequence[bytes] = ()) -> Iterator[tuple[int, bytes]]:
    """The lines that end at `end` or before, the last one first, each with its offset; one that is too long is empty.

    `end` is the end of a line, or that of the file, whose last line may be cut off. Of a block that lacks
    one of the needles, the first line comes alone.
    """
    rest, position, overlong = b"", end, False  # `rest` is the end of a line that begins before `position`
    while position > 0:
        start = max(0, position - BLOCK_BYTES)
        data = os.pread(descriptor, position - start, start) + rest
        begin = data.find(b"\n") + 1 or len(data) if start else 0  # the first line of the block begins further up
        if begin < len(data):
            lines = data[begin:]
            if not all(needle in lines for needle in needles):
                lines, overlong = lines[: lines.find(b"\n") + 1 or len(lines)], overlong and lines.count(b"\n") < 2
            yield from _lines(start + begin, lines, overlong=overlong)
            overlong = False
        rest, position = data[:begin], start
        if len(rest) > LONGEST_LINE_BYTES:
            rest, overlong = b"\n", True


def _lines(offset: int, data: bytes, *, overlong: bool) -> Iterator[tuple[int, bytes]]:
    """The lines of data that begin at an offset, the last one first; the last one may have lost its end."""
    ends = len(data)
    while ends > 0:
        begin = data.rfind(b"\n", 0, ends - 1) + 1
        yield offset + begin, b"" if overlong else data[begin:ends].rstrip(b"\n")
        ends, overlong = begin, False


def time_of(line: bytes) -> datetime | None:
    """The time of a message; None for a line without one."""
    found = _AT.search(line, 0, 512)
    try:
        return datetime.fromisoformat(f"{found[1].decode()}+00:00") if found else None
    except ValueError:
        return None


def end_for(descriptor: int, size_bytes: int, last: datetime) -> int:
    """An offset after which all messages are later than `last`, as the times of some lines tell."""
    low, high = 0, size_bytes
    while high - low > 2 * BLOCK_BYTES:
        middle = (low + high) // 2
        found = _first_time(os.pread(descriptor, BLOCK_BYTES, middle))
        if found is None:
            break
        if found > last:
            high = middle
        else:
            low = middle
    return _line_end(descriptor, high, size_bytes)


def _first_time(data: bytes) -> datetime | None:
    found = _AT.search(data)
    return time_of(found[0]) if found else None


def _line_end(descriptor: int, offset: int, size_bytes: int) -> int:
    """The end of the line that has an offset."""
    newline = os.pread(descriptor, LONGEST_LINE_BYTES, offset).find(b"\n")
    return size_bytes if newline < 0 else offset + newline + 1
