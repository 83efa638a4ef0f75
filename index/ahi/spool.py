"""Image sets sorted by their ID on disk: any number of them, in little memory.

Each full block is sorted and becomes a temporary file without a name, so that nothing stays on the disk after any end
of the process. Reading merges the files.
"""

import heapq
import tempfile
import threading
from collections.abc import Iterable, Iterator
from datetime import datetime, timedelta, timezone
from itertools import groupby
from typing import IO

from ahi.client.listing_calls import ListedImageSet

_BLOCK = 100_000
"""Image sets in memory, of about 150 bytes each."""

_EPOCH = datetime(1970, 1, 1, tzinfo=timezone.utc)
_MICROSECOND = timedelta(microseconds=1)
_ID_CHARACTERS = 32


class SortedImageSets:
    """Takes image sets in any order, and gives them sorted by ID. Safe to share between threads while it takes.

    An image set that comes more than once is given once, in its greatest version.
    """

    def __init__(self, block: int = _BLOCK) -> None:
        self._block = block
        self._lock = threading.Lock()
        self._lines: list[str] = []
        self._files: list[IO[str]] = []

    def add(self, image_sets: Iterable[ListedImageSet]) -> None:
        """Take image sets; OSError if the disk of the temporary folder is full."""
        lines = [_to_line(image_set) for image_set in image_sets]
        with self._lock:
            self._lines += lines
            if len(self._lines) >= self._block:
                self._write()

    def __iter__(self) -> Iterator[ListedImageSet]:
        """All image sets. Only one iteration at a time."""
        with self._lock:
            self._lines.sort()
            for file in self._files:
                file.seek(0)
            blocks: list[Iterable[str]] = [*self._files, self._lines]
        for _, same in groupby(heapq.merge(*blocks), key=lambda line: line[:_ID_CHARACTERS]):
            yield max(map(_from_line, same), key=lambda found: (found.version, found.updated_at))

    def close(self) -> None:
        """Delete the files."""
        for file in self._files:
            file.close()

    def _write(self) -> None:
        self._lines.sort()
        file = tempfile.TemporaryFile("w+", encoding="ascii", prefix="ahi-index-")  # noqa: SIM115 - `close` closes it
        file.writelines(self._lines)
        file.flush()
        self._files.append(file)
        self._lines = []


def _to_line(found: ListedImageSet) -> str:
    numbers = (
        found.version,
        int(found.is_primary),
        (found.created_at - _EPOCH) // _MICROSECOND,
        (found.updated_at - _EPOCH) // _MICROSECOND,
        int(found.is_archived),
        found.instances,
    )
    return f"{found.image_set_id} {' '.join(map(str, numbers))}\n"


def _from_line(line: str) -> ListedImageSet:
    image_set_id, *words = line.split()
    version, is_primary, created, updated, is_archived, instances = map(int, words)
    return ListedImageSet(
        image_set_id=image_set_id,
        version=version,
        is_primary=bool(is_primary),
        created_at=_EPOCH + created * _MICROSECOND,
        updated_at=_EPOCH + updated * _MICROSECOND,
        is_archived=bool(is_archived),
        instances=instances,
    )
