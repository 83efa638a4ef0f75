"""ZIP files of Part 10 objects (PS3.18 Section 8.7.5): streamed, not compressed, of any size (ZIP64)."""

import zipfile
from collections.abc import Callable, Iterable, Iterator, Sequence
from copy import copy

from dicomweb.uids import file_name
from runtime.file_piece import Chunk
from wado.part10 import Part10

REPORT = "left-out.txt"
"""The entry that tells what is missing, or is as stored instead of what was asked for."""

_DRAIN_BYTES = 2**18


class _Sink:
    """What ZipFile writes to: no file, and not seekable."""

    def __init__(self) -> None:
        self._written: list[bytes] = []
        self.held_bytes = 0

    def write(self, chunk: bytes) -> int:
        self._written.append(bytes(chunk))
        self.held_bytes += len(chunk)
        return len(chunk)

    def flush(self) -> None:
        """There is nothing behind it."""

    def drain(self) -> bytes:
        """What was written since the last time."""
        drained = b"".join(self._written)
        self._written.clear()
        self.held_bytes = 0
        return drained


class _Directory:
    """The entries of a file so far, and how long the file would be if it ended with them.

    The fixed sizes are those of APPNOTE 4.3 and 4.5.3: every entry has its sizes behind it, in 64 bits.
    """

    def __init__(self) -> None:
        self._entries = self._entries_bytes = self._directory_bytes = 0

    def add(self, name: str, size_bytes: int) -> "_Directory":
        """One more entry."""
        large = 2 * (size_bytes > zipfile.ZIP64_LIMIT) + (self._entries_bytes > zipfile.ZIP64_LIMIT)
        self._directory_bytes += 46 + len(name) + (4 + 8 * large if large else 0)
        self._entries_bytes += entry_bytes(name, size_bytes)
        self._entries += 1
        return self

    @property
    def file_bytes(self) -> int:
        """The size of the whole file."""
        largest = max(self._entries_bytes, self._directory_bytes)
        many = self._entries > zipfile.ZIP_FILECOUNT_LIMIT or largest > zipfile.ZIP64_LIMIT
        return self._entries_bytes + self._directory_bytes + (56 + 20 if many else 0) + 22


def entry_bytes(name: str, size_bytes: int) -> int:
    """What an entry takes before the directory."""
    return 30 + len(name) + 20 + size_bytes + 24


def encode_zip(
    files: Iterable[tuple[Part10, Iterator[Chunk]]], length_bytes: int | None, report: Callable[[], bytes] = bytes
) -> Iterator[bytes]:
    """The bytes of a ZIP file with one entry for each file, which comes with its frames; equal files give equal bytes.

    `report` is asked at the end: what it says becomes the entry `left-out.txt`. It takes the room that is left of the
    length that was promised, if one was, with blanks; where that is too little for an entry, it is a comment.
    """
    sink, directory = _Sink(), _Directory()
    with zipfile.ZipFile(sink, "w", zipfile.ZIP_STORED) as archive:  # type: ignore[call-overload]
        for file, frames in files:
            name, size_bytes = entry_name(file), 0
            with archive.open(zipfile.ZipInfo(name), "w", force_zip64=True) as entry:
                for chunk in file.chunks(frames):
                    entry.write(bytes(chunk))
                    size_bytes += len(chunk)
                    if sink.held_bytes > _DRAIN_BYTES:
                        yield sink.drain()
            directory.add(name, size_bytes)
            yield sink.drain()  # no client waits for a second file before it gets the first
        told = report()
        room_bytes = None if length_bytes is None else length_bytes - directory.file_bytes
        text_bytes = len(told) if room_bytes is None else room_bytes - _overhead_bytes(directory, room_bytes)
        if text_bytes < 0:
            archive.comment = told.ljust(room_bytes or 0)[: room_bytes or 0]
        elif text_bytes:
            with archive.open(zipfile.ZipInfo(REPORT), "w", force_zip64=True) as entry:
                for start in range(0, text_bytes, _DRAIN_BYTES):
                    stop = min(text_bytes, start + _DRAIN_BYTES)
                    entry.write(told[start:stop].ljust(stop - start))
                    yield sink.drain()
    yield sink.drain()


def _overhead_bytes(directory: _Directory, size_bytes: int) -> int:
    """What the entry with the report takes besides its text, in a file that has these entries already."""
    return copy(directory).add(REPORT, size_bytes).file_bytes - directory.file_bytes - size_bytes


def zip_length(files: Sequence[Part10], report: bytes = b"") -> int | None:
    """The size in bytes of what `encode_zip` gives; None where the size of a file is not known without its frames."""
    if not all(file.sized for file in files):
        return None
    directory = _Directory()
    for file in files:
        directory.add(entry_name(file), file.length_bytes)
    return (directory.add(REPORT, len(report)) if report else directory).file_bytes


def entry_name(file: Part10) -> str:
    """The folder of its series, and its file in it: no two objects of a study have the same."""
    series, instance = file.instance.series_instance_uid, file.instance.prepared.sop_instance_uid
    return f"{file_name(series)}/{file_name(instance)}.dcm"
