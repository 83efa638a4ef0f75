"""The limits of the cache, and the eviction of files: its size, and the free space on its disk."""

import fcntl
import os
import re
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from ahi.cache.entry import FORMAT, TEMPORARY, TRAILER_BYTES
from runtime.shared_metrics import Metric, ProcessMetrics

OLD, OTHER = "old", "other"
"""The kinds of files of another format: those of the format before FORMAT, and those of any other one."""

_ABANDONED_SECONDS = 3600  # a temporary file of this age belongs to a process that was killed
_OLD_SECONDS = 86400  # a file of an earlier format, unused for this long, is deleted
_OLD_FOLDERS = ("frames", "prepared", "encoded", "rendered", "gone")
_OURS = re.compile(rf"v[0-9]+|{'|'.join(_OLD_FOLDERS)}")
"""The folders of caches, of any format. What else an operator keeps beside them is neither counted nor deleted."""
_FULL_DISK_SECONDS = 1.0  # the least time between two evictions for a full disk


class _File(NamedTuple):
    used_at: float
    size_bytes: int
    path: Path
    kind: str

    @property
    def is_obsolete(self) -> bool:
        """Whether it has an earlier format and no program uses it any more."""
        return self.kind == OLD and time.time() - self.used_at > _OLD_SECONDS


@dataclass
class CacheStats:
    """The files of one kind: their number, their bytes, and the last use of the oldest (Unix time)."""

    entries: int = 0
    size_bytes: int = 0
    oldest_used_at: float = float("inf")


class CacheLimits:
    """Keeps the files below a folder within the limits, together with all processes that write there."""

    def __init__(
        self,
        root: Path,
        max_bytes: int,
        min_free_bytes: int,
        process_metrics: ProcessMetrics,
        report: Callable[[OSError], None],
    ) -> None:
        """`report` is called with each error of the disk. Such errors are not raised."""
        self._root = root
        self._max_bytes = max_bytes
        self._min_free_bytes = min_free_bytes
        self._process_metrics = process_metrics
        self._report = report
        self._evicted_at = float("-inf")

    def has_room(self, size_bytes: int) -> bool:
        """Whether so many more bytes may be written. On a full disk, files are evicted first."""
        if not self._min_free_bytes or self._free_bytes() - size_bytes >= self._min_free_bytes:
            return True
        if time.monotonic() - self._evicted_at > _FULL_DISK_SECONDS:
            self._evicted_at = time.monotonic()
            self.evict()
        return self._free_bytes() - size_bytes >= self._min_free_bytes

    def note_written(self, size_bytes: int) -> None:
        """Count bytes that were written, and evict files when they may exceed the limit."""
        self._process_metrics.add(Metric.CACHE_WRITTEN_BYTES, size_bytes)
        written_bytes = self._written_bytes()
        if written_bytes * 20 > self._max_bytes:
            self.evict(wait=written_bytes * 10 > self._max_bytes)

    def evict(self, *, wait: bool = False) -> None:
        """Delete the least recently used files until both limits hold with a tenth to spare.

        One process does this at a time. The others return at once, or `wait`, so that writing is not faster than
        deleting.
        """
        try:
            with self._exclusive(wait) as is_exclusive:
                if is_exclusive and not (wait and self._written_bytes() * 20 <= self._max_bytes):
                    self._evict()
        except OSError as error:
            self._report(error)

    def _evict(self) -> None:
        self._process_metrics.set(
            Metric.CACHE_LOOKED_AT, self._process_metrics.counters.total(Metric.CACHE_WRITTEN_BYTES)
        )
        files = sorted(self._files())
        self._delete([file for file in files if file.is_obsolete], None)
        files = [file for file in files if not file.is_obsolete]
        total_bytes, free_bytes = sum(file.size_bytes for file in files), self._free_bytes()
        excess = total_bytes - int(self._max_bytes * 0.9) if total_bytes > self._max_bytes else 0
        shortage = int(self._min_free_bytes * 1.1) - free_bytes if free_bytes < self._min_free_bytes else 0
        self._delete(files, max(excess, shortage))

    def empty(self) -> None:
        """Delete all files, except those that are being written. Open files stay readable."""
        self._delete(list(self._files()), None)

    def kinds(self) -> dict[str, CacheStats]:
        """Return the statistics of the files by kind."""
        kinds: dict[str, CacheStats] = {}
        for file in self._files():
            stats = kinds.setdefault(file.kind, CacheStats())
            stats.entries += 1
            stats.size_bytes += (
                file.size_bytes if file.kind in (OLD, OTHER) else max(0, file.size_bytes - TRAILER_BYTES)
            )
            stats.oldest_used_at = min(stats.oldest_used_at, file.used_at)
        return kinds

    def _written_bytes(self) -> int:
        """Bytes that all processes have written since one of them measured the cache."""
        counters = self._process_metrics.counters
        return counters.total(Metric.CACHE_WRITTEN_BYTES) - counters.highest(Metric.CACHE_LOOKED_AT)

    def _free_bytes(self) -> int:
        try:
            disk = os.statvfs(self._root)
        except OSError:  # the next write reports the error
            return 2**63
        return disk.f_bavail * disk.f_frsize

    @contextmanager
    def _exclusive(self, wait: bool) -> Iterator[bool]:
        """Lock the eviction; False while another process has the lock. A full disk has no room for a lock file."""
        folder = os.open(self._root, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            fcntl.flock(folder, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
        except BlockingIOError:
            yield False
        else:
            yield True
        finally:
            os.close(folder)

    def _delete(self, files: list[_File], size_bytes: int | None) -> None:
        """Delete files in their order until `size_bytes` are deleted; all of them for None."""
        deleted_bytes = 0
        for file in files:
            if size_bytes is not None and deleted_bytes >= size_bytes:
                break
            try:
                file.path.unlink(missing_ok=True)
            except OSError as error:
                self._report(error)
                continue
            deleted_bytes += file.size_bytes
        self._process_metrics.add(Metric.CACHE_EVICTED_BYTES, deleted_bytes)

    def _files(self) -> Iterator[_File]:
        """Yield all files, links and other entries that are no folders. Abandoned temporary files are deleted."""
        now, root = time.time(), str(self._root)
        for folder, folders, names in os.walk(root):
            if folder == root:
                folders[:] = filter(_OURS.fullmatch, folders)
                names = [name for name in names if name.startswith(TEMPORARY)]
            for name in names:
                path = Path(folder, name)
                try:
                    status = path.lstat()
                except OSError:
                    continue
                used_at = max(status.st_atime, status.st_mtime)  # an earlier format used the latter
                if not name.startswith(TEMPORARY):
                    yield _File(used_at, status.st_size, path, self._kind(path))
                elif now - used_at > _ABANDONED_SECONDS:
                    with suppress(OSError):
                        path.unlink(missing_ok=True)

    def _kind(self, path: Path) -> str:
        parts = path.relative_to(self._root).parts
        if parts[0] != FORMAT or len(parts) == 1:
            return OLD if parts[0] in _OLD_FOLDERS else OTHER
        return parts[1]
