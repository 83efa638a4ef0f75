"""ZIP files of Part 10 objects (PS3.18 Section 8.7.5): streamed, not compressed, of any size (ZIP64)."""

import zipfile
from collections.abc import Callable, Iterator, Sequence

from dicomweb.file_piece import Chunk
from dicomweb.uids import file_name
from wado.part10 import Part10

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


def encode_zip(files: Sequence[Part10], fetch: Callable[[Part10], Iterator[Chunk]]) -> Iterator[bytes]:
    """The bytes of a ZIP file with one entry for each file; equal files give equal bytes."""
    sink = _Sink()
    with zipfile.ZipFile(sink, "w", zipfile.ZIP_STORED) as archive:  # type: ignore[call-overload]
        for file in files:
            with archive.open(zipfile.ZipInfo(_name(file)), "w", force_zip64=True) as entry:
                for chunk in file.chunks(fetch(file)):
                    entry.write(bytes(chunk))
                    if sink.held_bytes > _DRAIN_BYTES:
                        yield sink.drain()
            yield sink.drain()  # no client waits for a second file before it gets the first
    yield sink.drain()


def zip_length(files: Sequence[Part10]) -> int | None:
    """The size in bytes of what `encode_zip` gives; None where the size of a file is not known without its frames.

    The fixed sizes are those of APPNOTE 4.3 and 4.5.3: every entry has its sizes behind it, in 64 bits.
    """
    if not all(file.sized for file in files):
        return None
    end = directory = 0
    for file in files:
        name_bytes, size = len(_name(file)), file.length_bytes
        large = 2 * (size > zipfile.ZIP64_LIMIT) + (end > zipfile.ZIP64_LIMIT)
        directory += 46 + name_bytes + (4 + 8 * large if large else 0)
        end += 30 + name_bytes + 20 + size + 24
    many = len(files) > zipfile.ZIP_FILECOUNT_LIMIT or max(end, directory) > zipfile.ZIP64_LIMIT
    return end + directory + (56 + 20 if many else 0) + 22


def _name(file: Part10) -> str:
    """The folder of its series, and its file in it: no two objects of a study have the same."""
    series, instance = file.instance.series_instance_uid, file.instance.prepared.sop_instance_uid
    return f"{file_name(series)}/{file_name(instance)}.dcm"
