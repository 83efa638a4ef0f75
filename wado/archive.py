"""ZIP files of Part 10 files (PS3.18 Section 8.7.5), streamed, not compressed, of any size (ZIP64).

Runs in the web processes.
"""

import zipfile
from collections.abc import Callable, Iterable, Iterator, Sequence
from copy import copy

from dicomweb.uids import file_name
from runtime.file_piece import Chunk
from wado.part10 import Part10

REPORT = "left-out.txt"
"""The entry that lists what is missing, or stored in another encoding than requested."""

_DRAIN_BYTES = 2**18


class _Sink:
    """A writable that ZipFile cannot seek in; what it wrote is taken out by `drain`."""

    def __init__(self) -> None:
        self._written: list[bytes] = []
        self.held_bytes = 0

    def write(self, chunk: bytes) -> int:
        self._written.append(bytes(chunk))
        self.held_bytes += len(chunk)
        return len(chunk)

    def flush(self) -> None:
        """Do nothing: there is no file behind it."""

    def drain(self) -> bytes:
        """The bytes that were written since the last call."""
        drained = b"".join(self._written)
        self._written.clear()
        self.held_bytes = 0
        return drained


class _Directory:
    """The entries of a ZIP file so far, and the size of the file if it ended here.

    The fixed sizes are those of APPNOTE 4.3 and 4.5.3: every entry is followed by its sizes, in 64 bits.
    """

    def __init__(self) -> None:
        self._entries = self._entries_bytes = self._directory_bytes = 0

    def add(self, name: str, size_bytes: int) -> "_Directory":
        """Add an entry."""
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
    """The bytes that an entry takes in front of the directory."""
    return 30 + len(name) + 20 + size_bytes + 24


def encode_zip(
    files: Iterable[tuple[Part10, Iterator[Chunk]]], length_bytes: int | None, report: Callable[[], bytes] = bytes
) -> Iterator[bytes]:
    """The bytes of a ZIP file with one entry for each file, given with its frames; equal files give equal bytes.

    `report` is called at the end, and its text becomes the entry `left-out.txt`. With a Content-Length, `length_bytes`,
    the text is padded with blanks up to that; if there is too little room for an entry, it becomes the comment.
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
            yield sink.drain()  # the first file goes out before the second is fetched
        text = report()
        room_bytes = None if length_bytes is None else length_bytes - directory.file_bytes
        text_bytes = len(text) if room_bytes is None else room_bytes - _overhead_bytes(directory, room_bytes)
        if text_bytes < 0:
            archive.comment = text.ljust(room_bytes or 0)[: room_bytes or 0]
        elif text_bytes:
            with archive.open(zipfile.ZipInfo(REPORT), "w", force_zip64=True) as entry:
                for start in range(0, text_bytes, _DRAIN_BYTES):
                    stop = min(text_bytes, start + _DRAIN_BYTES)
                    entry.write(text[start:stop].ljust(stop - start))
                    yield sink.drain()
    yield sink.drain()


def _overhead_bytes(directory: _Directory, size_bytes: int) -> int:
    """The bytes that the entry of the report takes besides its text, behind these entries."""
    return copy(directory).add(REPORT, size_bytes).file_bytes - directory.file_bytes - size_bytes


def zip_length(files: Sequence[Part10], report: bytes = b"") -> int | None:
    """The size of the ZIP file in bytes; None where the size of a file is not known without its frames."""
    if not all(file.sized for file in files):
        return None
    directory = _Directory()
    for file in files:
        directory.add(entry_name(file), file.length_bytes)
    return (directory.add(REPORT, len(report)) if report else directory).file_bytes


def entry_name(file: Part10) -> str:
    """A file in a folder for each series; no two instances of a study have the same name."""
    series, instance = file.instance.series_instance_uid, file.instance.prepared.sop_instance_uid
    return f"{file_name(series)}/{file_name(instance)}.dcm"
