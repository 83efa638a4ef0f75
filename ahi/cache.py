"""The cache: files under one folder, shared by all processes, valid after a restart.

A file is written aside and renamed, so that it is whole or not there. The operating system's page cache is the memory
tier. What has not been used for longest goes first when the bytes exceed the bound, or the disk has too little left.
"""

import errno
import fcntl
import logging
import os
import secrets
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import count
from pathlib import Path
from typing import BinaryIO, NamedTuple, cast

from ahi.counters import Count, Tally
from dicomweb.timing import looked_up

log = logging.getLogger(__name__)

_ASIDE = ".aside-"
_NEW = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC
_RUN, _numbers = secrets.token_hex(8), count()  # with the process ID, no file of any run has the same name
_ABANDONED_SECONDS = 3600  # a file written aside for this long belongs to a process that was killed
_TOUCH_SECONDS = 60  # how exactly "last used" is known
_TELL_SECONDS = 60  # how often the log says that the disk is full
_LOOK_SECONDS = 1.0  # how often a full disk is looked at for something to delete
_NO_ROOM = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)


class _Entry(NamedTuple):
    used_at: float
    size_bytes: int
    path: Path


@dataclass
class Kept:
    """What the cache keeps of one kind: how many files, their bytes, and when the oldest was used, in Unix time."""

    entries: int = 0
    size_bytes: int = 0
    oldest_used_at: float = float("inf")


class Cache:
    """Byte strings by name; a name is a relative path of harmless characters, made by us and never by a client."""

    def __init__(self, root: Path, max_bytes: int, min_free_bytes: int = 0, tally: Tally | None = None) -> None:
        """`max_bytes` bounds what is kept; all processes together may exceed it by a tenth for a moment.

        Nothing is kept while the disk has less than `min_free_bytes` left and deleting does not help.
        """
        self.root = root
        self._prefix = f"{root}/"
        self.tally = tally or Tally.alone()
        self._max_bytes = max_bytes
        self._min_free_bytes = min_free_bytes
        self._told_at = self._evicted_at = float("-inf")
        root.mkdir(parents=True, exist_ok=True, mode=0o700)

    def find(self, name: str) -> Path | None:
        """The file of that name, noted as used, or None."""
        return Path(self._prefix + name) if self.use(name) else None

    def use(self, name: str) -> bool:
        """Whether there is a file of that name, which is noted as used."""
        path = self._prefix + name
        try:
            if time.time() - os.stat(path).st_mtime > _TOUCH_SECONDS:  # noqa: PTH116 - often
                os.utime(path)
        except OSError:  # not there, or evicted this moment
            return False
        return True

    def has(self, name: str) -> bool:
        """Whether there is a file of that name; that is no use of it."""
        return os.access(self._prefix + name, os.F_OK)

    def open(self, name: str) -> BinaryIO | None:
        """The file of that name, open for reading, or None; what is open stays readable when it is evicted."""
        try:
            file = open(self._prefix + name, "rb", buffering=0)  # noqa: SIM115, PTH123 - the caller's; and often
        except FileNotFoundError:
            return None
        if time.time() - os.fstat(file.fileno()).st_mtime > _TOUCH_SECONDS:
            os.utime(file.fileno())
        return cast(BinaryIO, file)

    def read(self, name: str) -> bytes | None:
        """The bytes of that name, or None. In terms of `os`: this is done for each picture and frame."""
        try:
            handle = os.open(self._prefix + name, os.O_RDONLY | os.O_CLOEXEC)
        except FileNotFoundError:
            return None
        try:
            status = os.fstat(handle)
            if time.time() - status.st_mtime > _TOUCH_SECONDS:
                os.utime(handle)
            blob = os.read(handle, status.st_size)
            while len(blob) < status.st_size and (more := os.read(handle, status.st_size)):  # 2 GiB at a time
                blob += more
            return blob
        finally:
            os.close(handle)

    def piece(self, name: str, start: int, length_bytes: int) -> bytes | None:
        """A part of the bytes of that name, or None; fewer where there are fewer."""
        file = self.open(name)
        if file is None:
            return None
        with file:
            return os.pread(file.fileno(), length_bytes, start)

    def count_use(self, *, hit: bool) -> None:
        """A client asked for something, which was there or was not."""
        self.tally.add(Count.CACHE_HITS if hit else Count.CACHE_MISSES)
        looked_up(hit=hit)

    def put(self, name: str, blob: bytes) -> Path | None:
        """Keep the bytes; None where the disk is full, and then the caller goes on with what it has."""
        if not self._has_room(len(blob)):
            self._refuse()
            return None
        path = self._prefix + name
        try:
            self._write(path, blob)
        except OSError as error:
            if error.errno not in _NO_ROOM:
                raise
            self._refuse()
            return None
        self.tally.add(Count.CACHE_WRITTEN_BYTES, len(blob))
        written_bytes = self._written_bytes()
        if written_bytes * 20 > self._max_bytes:
            self.evict(wait=written_bytes * 10 > self._max_bytes)
        return Path(path)

    @staticmethod
    def _write(path: str, blob: bytes) -> None:
        """A whole file, or none. In terms of `os`: this is done for each picture and frame."""
        folder = path.rpartition("/")[0]
        aside = f"{folder}/{_ASIDE}{_RUN}.{os.getpid()}.{next(_numbers)}"
        try:
            handle = os.open(aside, _NEW, 0o600)
        except FileNotFoundError:
            os.makedirs(folder, exist_ok=True)  # noqa: PTH103
            handle = os.open(aside, _NEW, 0o600)
        try:
            try:
                left = memoryview(blob)
                while left:
                    left = left[os.write(handle, left) :]
            finally:
                os.close(handle)
            os.rename(aside, path)  # noqa: PTH104
        except OSError:
            Path(aside).unlink(missing_ok=True)
            raise

    def drop(self, name: str) -> None:
        """Forget it, if it is there."""
        (self.root / name).unlink(missing_ok=True)

    def evict(self, *, wait: bool = False) -> None:
        """Delete the least recently used files until both bounds hold with a tenth to spare; one process at a time.

        While another one is at it: nothing, or `wait` until it is done, so that writing is not faster than deleting.
        """
        with self._alone(wait) as alone:
            if not alone or (wait and self._written_bytes() * 20 <= self._max_bytes):
                return
            self.tally.set(Count.CACHE_LOOKED_AT, self.tally.counters.total(Count.CACHE_WRITTEN_BYTES))
            entries = sorted(self._entries())
            kept_bytes, free_bytes = sum(entry.size_bytes for entry in entries), self._free_bytes()
            excess = kept_bytes - int(self._max_bytes * 0.9) if kept_bytes > self._max_bytes else 0
            lacking = int(self._min_free_bytes * 1.1) - free_bytes if free_bytes < self._min_free_bytes else 0
            self._delete(entries, max(excess, lacking))

    def empty(self) -> None:
        """Delete everything but what is being written; what is being read stays readable."""
        self._delete(list(self._entries()), None)

    def kinds(self) -> dict[str, Kept]:
        """What is kept, by kind."""
        kinds: dict[str, Kept] = {}
        for entry in self._entries():
            kept = kinds.setdefault(entry.path.relative_to(self.root).parts[0], Kept())
            kept.entries += 1
            kept.size_bytes += entry.size_bytes
            kept.oldest_used_at = min(kept.oldest_used_at, entry.used_at)
        return kinds

    def _written_bytes(self) -> int:
        """What all processes have written since one of them looked at the size of the cache."""
        counters = self.tally.counters
        return counters.total(Count.CACHE_WRITTEN_BYTES) - counters.highest(Count.CACHE_LOOKED_AT)

    def _has_room(self, size_bytes: int) -> bool:
        if not self._min_free_bytes or self._free_bytes() - size_bytes >= self._min_free_bytes:
            return True
        if time.monotonic() - self._evicted_at > _LOOK_SECONDS:
            self._evicted_at = time.monotonic()
            self.evict()
        return self._free_bytes() - size_bytes >= self._min_free_bytes

    def _free_bytes(self) -> int:
        disk = os.statvfs(self.root)
        return disk.f_bavail * disk.f_frsize

    def _refuse(self) -> None:
        self.tally.add(Count.CACHE_REFUSED)
        if time.monotonic() - self._told_at > _TELL_SECONDS:
            self._told_at = time.monotonic()
            log.warning("the disk of the cache is full, serving without caching")

    @contextmanager
    def _alone(self, wait: bool) -> Iterator[bool]:
        """Whether no other process evicts; a disk that has no room for the lock either is one to evict from."""
        folder = os.open(self.root, os.O_RDONLY | os.O_DIRECTORY)
        try:
            fcntl.flock(folder, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
        except BlockingIOError:
            yield False
        else:
            yield True
        finally:
            os.close(folder)

    def _delete(self, entries: list[_Entry], size_bytes: int | None) -> None:
        """Delete the first of these, together at least that many bytes; all for None."""
        deleted_bytes = 0
        for entry in entries:
            if size_bytes is not None and deleted_bytes >= size_bytes:
                break
            entry.path.unlink(missing_ok=True)
            deleted_bytes += entry.size_bytes
        self.tally.add(Count.CACHE_EVICTED_BYTES, deleted_bytes)

    def _entries(self) -> Iterator[_Entry]:
        now = time.time()
        for folder, _, names in os.walk(self.root):
            for name in names:
                path = Path(folder, name)
                try:
                    status = path.stat()
                except FileNotFoundError:
                    continue
                if name.startswith(_ASIDE):
                    if now - status.st_mtime > _ABANDONED_SECONDS:
                        path.unlink(missing_ok=True)
                    continue
                yield _Entry(status.st_mtime, status.st_size, path)
