"""The cache: files under one folder, shared by all processes, valid after a restart.

A file is written aside and renamed, so that it is whole or not there. The operating system's page cache is the memory
tier. What has not been used for longest goes first when the bytes exceed the bound.
"""

import errno
import fcntl
import logging
import os
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO, NamedTuple

log = logging.getLogger(__name__)

_ASIDE = ".aside-"
_LOCK = ".evicting"
_ABANDONED_SECONDS = 3600  # a file written aside for this long belongs to a process that was killed
_TOUCH_SECONDS = 60  # how exactly "last used" is known


class _Entry(NamedTuple):
    used_at: float
    size_bytes: int
    path: Path


class Cache:
    """Byte strings by name; a name is a relative path of harmless characters, made by us and never by a client."""

    def __init__(self, root: Path, max_bytes: int) -> None:
        """`max_bytes` bounds what is kept; the bound may be exceeded by a twentieth between two evictions."""
        self.root = root
        self._max_bytes = max_bytes
        self._written_bytes = 0
        root.mkdir(parents=True, exist_ok=True, mode=0o700)

    def find(self, name: str) -> Path | None:
        """The file of that name, noted as used, or None."""
        path = self.root / name
        try:
            age_seconds = time.time() - path.stat().st_mtime
            if age_seconds > _TOUCH_SECONDS:
                os.utime(path)
        except OSError:  # not there, or evicted this moment
            return None
        return path

    def has(self, name: str) -> bool:
        """Whether there is a file of that name; that is no use of it."""
        return (self.root / name).exists()

    def open(self, name: str) -> BinaryIO | None:
        """The file of that name, open for reading, or None; what is open stays readable when it is evicted."""
        path = self.find(name)
        try:
            return path.open("rb") if path else None
        except FileNotFoundError:
            return None

    def read(self, name: str) -> bytes | None:
        """The bytes of that name, or None."""
        file = self.open(name)
        if file is None:
            return None
        with file:
            return file.read()

    def put(self, name: str, blob: bytes) -> Path | None:
        """Keep the bytes; None where the disk is full, and then the caller goes on with what it has."""
        path = self.root / name
        aside = None
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            handle, aside = tempfile.mkstemp(prefix=_ASIDE, dir=path.parent)
            with os.fdopen(handle, "wb") as file:
                file.write(blob)
            Path(aside).replace(path)
        except OSError as error:
            if aside:
                Path(aside).unlink(missing_ok=True)
            if error.errno not in (errno.ENOSPC, errno.EDQUOT):
                raise
            log.warning("cache full on disk, serving without it")
            return None
        self._written_bytes += len(blob)
        if self._written_bytes * 20 > self._max_bytes:
            self._written_bytes = 0
            self.evict()
        return path

    def drop(self, name: str) -> None:
        """Forget it, if it is there."""
        (self.root / name).unlink(missing_ok=True)

    def evict(self) -> None:
        """Delete the least recently used files until nine tenths of the bound are left; one process at a time."""
        with (self.root / _LOCK).open("w") as lock:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                return
            entries = sorted(self._entries())
            kept_bytes = sum(entry.size_bytes for entry in entries)
            if kept_bytes <= self._max_bytes:
                return
            for entry in entries:
                if kept_bytes <= self._max_bytes * 0.9:
                    break
                entry.path.unlink(missing_ok=True)
                kept_bytes -= entry.size_bytes

    def _entries(self) -> Iterator[_Entry]:
        now = time.time()
        for folder, _, names in os.walk(self.root):
            for name in set(names) - {_LOCK}:
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
