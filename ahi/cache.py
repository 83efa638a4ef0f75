"""The cache: files under one folder, shared by all processes, valid after a restart and after a loss of power.

A file is written aside and renamed, and proves that it is whole (`ahi.cache_entry`); what is damaged is removed and had
anew. A cache that cannot be read or written is as if it were empty. The operating system's page cache is the memory
tier. What has not been used for longest goes first when the bytes exceed the bound, or the disk has too little left.
"""

import errno
import fcntl
import logging
import os
import secrets
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from itertools import count
from pathlib import Path
from typing import NamedTuple

from ahi.cache_entry import FORMAT, SEAL_BYTES, DamagedError, Entry, open_entry, write_entry
from ahi.counters import Count, Tally
from dicomweb.timing import looked_up

log = logging.getLogger(__name__)

_ASIDE = ".aside-"
_NEW = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC
_RUN, _numbers = secrets.token_hex(8), count()  # with the process ID, no file of any run has the same name
_ABANDONED_SECONDS = 3600  # a file written aside for this long belongs to a process that was killed
_TOUCH_SECONDS = 60  # how exactly "last used" is known
_TELL_SECONDS = 60  # how often the log says that something is wrong with the cache
_LOOK_SECONDS = 1.0  # how often a full disk is looked at for something to delete
_NO_ROOM = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
_FULL = "the disk of the cache is full, serving without caching"


class _File(NamedTuple):
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
        self._base = root
        self.root = root / FORMAT
        self._prefix = f"{self.root}/"
        self.tally = tally or Tally.alone()
        self._max_bytes = max_bytes
        self._min_free_bytes = min_free_bytes
        self._told_at: dict[str, float] = {}
        self._evicted_at = float("-inf")
        self.root.mkdir(parents=True, exist_ok=True, mode=0o700)

    def has(self, name: str) -> bool:
        """Whether there is a file of that name, whatever is in it; that is no use of it."""
        return os.access(self._prefix + name, os.F_OK)

    def use(self, name: str) -> bool:
        """Whether the bytes of that name are there, which are noted as used."""
        return self.length(name) is not None

    def length(self, name: str) -> int | None:
        """How many bytes there are of that name, which are noted as used; None where there are none."""
        entry = self.open(name)
        if entry is None:
            return None
        entry.file.close()
        return entry.length_bytes

    def open(self, name: str) -> Entry | None:
        """The bytes of that name, open for reading, or None; what is open stays readable when it is evicted."""
        path = self._prefix + name
        try:
            entry = open_entry(path, name)
        except FileNotFoundError:
            return None
        except DamagedError:
            self._remove_damaged(path)
            return None
        except OSError as error:
            if error.errno in (errno.ELOOP, errno.ENXIO):  # a symbolic link, a FIFO or a device
                self._remove_damaged(path)
            else:
                self._tell(f"the cache cannot be read: {os.strerror(error.errno or errno.EIO)}")
            return None
        if time.time() - entry.used_at > _TOUCH_SECONDS:
            with suppress(OSError):
                os.utime(entry.file.fileno())
        return entry

    def read(self, name: str) -> bytes | None:
        """The bytes of that name, or None."""
        return self.piece(name, 0, None)

    def piece(self, name: str, start: int, length_bytes: int | None) -> bytes | None:
        """A part of the bytes of that name, or None; fewer where there are fewer."""
        entry = self.open(name)
        if entry is None:
            return None
        with entry.file:
            try:
                return entry.read(start, length_bytes)
            except OSError as error:
                self._tell(f"the cache cannot be read: {error.strerror or error}")
                return None

    def count_use(self, *, hit: bool) -> None:
        """A client asked for something, which was there or was not."""
        self.tally.add(Count.CACHE_HITS if hit else Count.CACHE_MISSES)
        looked_up(hit=hit)

    def put(self, name: str, blob: bytes) -> bool:
        """Keep the bytes; whether that was possible. Where it was not, the caller goes on with what it has."""
        if not self._has_room(len(blob)):
            self._refuse(_FULL)
            return False
        try:
            self._write(name, blob)
        except OSError as error:
            full = error.errno in _NO_ROOM
            self._refuse(_FULL if full else f"the cache cannot be written: {os.strerror(error.errno or errno.EIO)}")
            return False
        self.tally.add(Count.CACHE_WRITTEN_BYTES, len(blob))
        written_bytes = self._written_bytes()
        if written_bytes * 20 > self._max_bytes:
            self.evict(wait=written_bytes * 10 > self._max_bytes)
        return True

    def _write(self, name: str, blob: bytes) -> None:
        """A whole file, or none. In terms of `os`: this is done for each picture and frame."""
        path = self._prefix + name
        folder = path.rpartition("/")[0]
        aside = f"{folder}/{_ASIDE}{_RUN}.{os.getpid()}.{next(_numbers)}"
        try:
            handle = os.open(aside, _NEW, 0o600)
        except FileNotFoundError:
            os.makedirs(folder, exist_ok=True)  # noqa: PTH103
            handle = os.open(aside, _NEW, 0o600)
        try:
            try:
                write_entry(handle, name, blob)
            finally:
                os.close(handle)
            try:
                os.rename(aside, path)  # noqa: PTH104
            except IsADirectoryError:
                os.rmdir(path)  # noqa: PTH106 - whoever made it; with something in it, it stays
                os.rename(aside, path)  # noqa: PTH104
        except OSError:
            with suppress(OSError):
                os.unlink(aside)  # noqa: PTH108
            raise

    def drop(self, name: str) -> None:
        """Forget it, if it is there."""
        with suppress(OSError):
            os.unlink(self._prefix + name)  # noqa: PTH108

    def _remove_damaged(self, path: str) -> None:
        self.tally.add(Count.CACHE_DAMAGED)
        self._tell("the cache has damaged files, which are removed and had anew")
        with suppress(OSError):
            os.unlink(path)  # noqa: PTH108 - a folder in its place stays: it is none of ours

    def _tell(self, what: str) -> None:
        now = time.monotonic()
        if now - self._told_at.get(what, float("-inf")) > _TELL_SECONDS:
            self._told_at[what] = now
            log.warning(what)

    def evict(self, *, wait: bool = False) -> None:
        """Delete the least recently used files until both bounds hold with a tenth to spare; one process at a time.

        While another one is at it: nothing, or `wait` until it is done, so that writing is not faster than deleting.
        """
        with suppress(OSError), self._alone(wait) as alone:
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
            own = entry.path.is_relative_to(self.root)
            kept = kinds.setdefault(entry.path.relative_to(self.root).parts[0] if own else "old", Kept())
            kept.entries += 1
            kept.size_bytes += entry.size_bytes - (SEAL_BYTES if own else 0)
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
        try:
            disk = os.statvfs(self._base)
        except OSError:  # what is wrong shows where it is written to
            return 2**63
        return disk.f_bavail * disk.f_frsize

    def _refuse(self, why: str) -> None:
        self.tally.add(Count.CACHE_REFUSED)
        self._tell(why)

    @contextmanager
    def _alone(self, wait: bool) -> Iterator[bool]:
        """Whether no other process evicts; a disk that has no room for the lock either is one to evict from."""
        folder = os.open(self._base, os.O_RDONLY | os.O_DIRECTORY)
        try:
            fcntl.flock(folder, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
        except BlockingIOError:
            yield False
        else:
            yield True
        finally:
            os.close(folder)

    def _delete(self, entries: list[_File], size_bytes: int | None) -> None:
        """Delete the first of these, together at least that many bytes; all for None."""
        deleted_bytes = 0
        for entry in entries:
            if size_bytes is not None and deleted_bytes >= size_bytes:
                break
            try:
                entry.path.unlink(missing_ok=True)
            except OSError as error:
                self._tell(f"files of the cache cannot be deleted: {error.strerror}")
                continue
            deleted_bytes += entry.size_bytes
        self.tally.add(Count.CACHE_EVICTED_BYTES, deleted_bytes)

    def _entries(self) -> Iterator[_File]:
        now = time.time()
        for folder, _, names in os.walk(self._base):
            for name in names:
                path = Path(folder, name)
                try:
                    status = path.lstat()
                except OSError:
                    continue
                if name.startswith(_ASIDE):
                    if now - status.st_mtime > _ABANDONED_SECONDS:
                        with suppress(OSError):
                            path.unlink(missing_ok=True)
                    continue
                yield _File(status.st_mtime, status.st_size, path)
