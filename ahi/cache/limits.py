"""The bounds of the cache: how much it may hold, and how much of the disk it leaves free."""

import fcntl
import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from ahi.cache.entry import ASIDE, FORMAT, TRAILER_BYTES
from runtime.shared_metrics import Metric, ProcessMetrics

OLD, OTHER = "old", "other"
"""The kinds of files that are not of this form: those of the form before FORMAT, and of any other."""

_ABANDONED_SECONDS = 3600  # a file written aside for this long belongs to a process that was killed
_OLD_SECONDS = 86400  # a file of an earlier form that nobody has used for this long belongs to nobody
_OLD_FOLDERS = ("frames", "prepared", "encoded", "rendered", "gone")
_LOOK_SECONDS = 1.0  # how often a full disk is looked at for something to delete


class _File(NamedTuple):
    used_at: float
    size_bytes: int
    path: Path
    kind: str

    @property
    def is_forgotten(self) -> bool:
        """Whether it is of an earlier form, and no program uses it any more."""
        return self.kind == OLD and time.time() - self.used_at > _OLD_SECONDS


@dataclass
class CacheStats:
    """The files of one kind: how many, their bytes, and when the oldest was used, in Unix time."""

    entries: int = 0
    size_bytes: int = 0
    oldest_used_at: float = float("inf")


class CacheLimits:
    """Keeps what lies below a folder within its bounds, together with all processes that write there."""

    def __init__(
        self,
        root: Path,
        max_bytes: int,
        min_free_bytes: int,
        process_metrics: ProcessMetrics,
        tell_of: Callable[[OSError], None],
    ) -> None:
        """`tell_of` is called with what is wrong with the disk; nothing of that is raised."""
        self._root = root
        self._max_bytes = max_bytes
        self._min_free_bytes = min_free_bytes
        self._process_metrics = process_metrics
        self._tell_of = tell_of
        self._evicted_at = float("-inf")

    def has_room(self, size_bytes: int) -> bool:
        """Whether so many bytes more may be written, if need be after an eviction."""
        if not self._min_free_bytes or self._free_bytes() - size_bytes >= self._min_free_bytes:
            return True
        if time.monotonic() - self._evicted_at > _LOOK_SECONDS:
            self._evicted_at = time.monotonic()
            self.evict()
        return self._free_bytes() - size_bytes >= self._min_free_bytes

    def note_written(self, size_bytes: int) -> None:
        """So many bytes were written: what is too much by now is evicted."""
        self._process_metrics.add(Metric.CACHE_WRITTEN_BYTES, size_bytes)
        written_bytes = self._written_bytes()
        if written_bytes * 20 > self._max_bytes:
            self.evict(wait=written_bytes * 10 > self._max_bytes)

    def evict(self, *, wait: bool = False) -> None:
        """Delete the least recently used files until both bounds hold with a tenth to spare; one process at a time.

        While another one is at it: nothing, or `wait` until it is done, so that writing is not faster than deleting.
        """
        try:
            with self._alone(wait) as alone:
                if alone and not (wait and self._written_bytes() * 20 <= self._max_bytes):
                    self._evict()
        except OSError as error:
            self._tell_of(error)

    def _evict(self) -> None:
        self._process_metrics.set(
            Metric.CACHE_LOOKED_AT, self._process_metrics.counters.total(Metric.CACHE_WRITTEN_BYTES)
        )
        files = sorted(self._files())
        self._delete([file for file in files if file.is_forgotten], None)
        files = [file for file in files if not file.is_forgotten]
        kept_bytes, free_bytes = sum(file.size_bytes for file in files), self._free_bytes()
        excess = kept_bytes - int(self._max_bytes * 0.9) if kept_bytes > self._max_bytes else 0
        lacking = int(self._min_free_bytes * 1.1) - free_bytes if free_bytes < self._min_free_bytes else 0
        self._delete(files, max(excess, lacking))

    def empty(self) -> None:
        """Delete everything but what is being written; what is being read stays readable."""
        self._delete(list(self._files()), None)

    def kinds(self) -> dict[str, CacheStats]:
        """What is kept, by kind."""
        kinds: dict[str, CacheStats] = {}
        for file in self._files():
            kept = kinds.setdefault(file.kind, CacheStats())
            kept.entries += 1
            kept.size_bytes += file.size_bytes if file.kind in (OLD, OTHER) else max(0, file.size_bytes - TRAILER_BYTES)
            kept.oldest_used_at = min(kept.oldest_used_at, file.used_at)
        return kinds

    def _written_bytes(self) -> int:
        """What all processes have written since one of them looked at the size of the cache."""
        counters = self._process_metrics.counters
        return counters.total(Metric.CACHE_WRITTEN_BYTES) - counters.highest(Metric.CACHE_LOOKED_AT)

    def _free_bytes(self) -> int:
        try:
            disk = os.statvfs(self._root)
        except OSError:  # what is wrong shows where it is written to
            return 2**63
        return disk.f_bavail * disk.f_frsize

    @contextmanager
    def _alone(self, wait: bool) -> Iterator[bool]:
        """Whether no other process evicts; a disk that has no room for the lock either is one to evict from."""
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
        """Delete the first of these, together at least that many bytes; all for None."""
        deleted_bytes = 0
        for file in files:
            if size_bytes is not None and deleted_bytes >= size_bytes:
                break
            try:
                file.path.unlink(missing_ok=True)
            except OSError as error:
                self._tell_of(error)
                continue
            deleted_bytes += file.size_bytes
        self._process_metrics.add(Metric.CACHE_EVICTED_BYTES, deleted_bytes)

    def _files(self) -> Iterator[_File]:
        """All files, and links and what else is no folder; those that were left aside are deleted on the way."""
        now = time.time()
        for folder, _, names in os.walk(self._root):
            for name in names:
                path = Path(folder, name)
                try:
                    status = path.lstat()
                except OSError:
                    continue
                used_at = max(status.st_atime, status.st_mtime)  # an earlier form told it by the latter
                if not name.startswith(ASIDE):
                    yield _File(used_at, status.st_size, path, self._kind(path))
                elif now - used_at > _ABANDONED_SECONDS:
                    with suppress(OSError):
                        path.unlink(missing_ok=True)

    def _kind(self, path: Path) -> str:
        parts = path.relative_to(self._root).parts
        if parts[0] != FORMAT or len(parts) == 1:
            return OLD if parts[0] in _OLD_FOLDERS else OTHER
        return parts[1]
