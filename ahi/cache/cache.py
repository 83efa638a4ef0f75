"""The cache: files under one folder, shared by all processes, valid after a restart and after a loss of power.

A file is written aside and renamed, and tells whether it is whole (`ahi.cache.entry`); what is damaged is removed and
had anew. A cache that cannot be read or written is as if it were empty. The operating system's page cache is the memory
tier. What has not been used for longest goes first (`ahi.cache.limits`).
"""

import errno
import logging
import os
import time
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import BinaryIO, cast

from ahi.cache.entry import (
    FORMAT,
    TRAILER_BYTES,
    DamagedError,
    Seals,
    boot_id,
    make_folder,
    open_entry,
    remove,
    write_entry,
)
from ahi.cache.limits import CacheLimits, CacheStats
from runtime.file_piece import Chunk, FilePiece, read_exactly
from runtime.shared_metrics import Metric, ProcessMetrics
from runtime.timing import looked_up

log = logging.getLogger(__name__)

_TOUCH_SECONDS = 60  # how exactly "last used" is known
_TELL_SECONDS = 60  # how often the log says that something is wrong with the cache
_NO_ROOM = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
_FULL = "the disk of the cache is full, serving without caching"
_UNUSABLE = "the cache cannot be used, serving without it: %s"
_DAMAGED = "files of the cache are damaged, and are fetched again"


class Cache:
    """Byte strings by name; a name is a relative path of harmless characters, made by us and never by a client.

    Nothing that is wrong with files or disk is raised, apart from `make_root`: the caller goes on without the cache.
    """

    def __init__(
        self,
        root: Path,
        max_bytes: int,
        min_free_bytes: int = 0,
        process_metrics: ProcessMetrics | None = None,
        boot: str | None = None,
    ) -> None:
        """`max_bytes` bounds what is kept; all processes together may exceed it by a tenth for a moment.

        Nothing is kept while the disk has less than `min_free_bytes` left and deleting does not help. `boot` takes the
        place of the identifier of this boot.
        """
        self.root = root / FORMAT
        self._base = root
        self._prefix = f"{self.root}/"
        self._seals = Seals(boot or boot_id())
        self.process_metrics = process_metrics or ProcessMetrics.alone()
        self._told_at: dict[str, float] = {}
        self._bounds = CacheLimits(root, max_bytes, min_free_bytes, self.process_metrics, self._tell_of)
        with suppress(OSError):  # told when something is to be kept
            self.make_root()

    def make_root(self) -> None:
        """Make the folder of the cache; OSError where that cannot be."""
        self._base.mkdir(parents=True, exist_ok=True, mode=0o700)

    def has(self, name: str) -> bool:
        """Whether there is a file of that name that was checked since the boot; that is no use of it."""
        try:
            return self._seals.holds(name, os.lstat(self._prefix + name))
        except OSError:
            return False

    def use(self, name: str) -> bool:
        """Whether the bytes of that name are there, which are noted as used."""
        return self.length(name) is not None

    def length(self, name: str) -> int | None:
        """How many bytes there are of that name, which are noted as used; None where there are none."""
        path = self._prefix + name
        try:
            status = os.lstat(path)
        except OSError:
            status = None
        if status and self._seals.holds(name, status):
            self._touch(name, status, path)
            return status.st_size - TRAILER_BYTES
        found = self._open(name)
        if found is None:
            return None
        os.close(found[0])
        return found[1]

    def open(self, name: str) -> FilePiece | None:
        """The bytes of that name, open for reading, or None; what is open stays readable when it is evicted."""
        found = self._open(name)
        return None if found is None else self._piece(name, *found)

    def read(self, name: str) -> bytes | None:
        """The bytes of that name, or None."""
        found = self._open(name)
        return None if found is None else self._taken(found[0], 0, found[1])

    def piece(self, name: str, start: int, length_bytes: int) -> bytes | None:
        """A part of the bytes of that name, or None; fewer where there are fewer."""
        found = self._open(name)
        return None if found is None else self._taken(found[0], start, min(found[1], start + length_bytes))

    def chunk(self, name: str, piece_bytes: int) -> Chunk | None:
        """The bytes of that name, or None; where they are `piece_bytes` or more, open for reading."""
        found = self._open(name)
        if found is None:
            return None
        return self._piece(name, *found) if found[1] >= piece_bytes else self._taken(found[0], 0, found[1])

    def _piece(self, name: str, handle: int, length_bytes: int) -> FilePiece:
        file = cast(BinaryIO, os.fdopen(handle, "rb", buffering=0))
        return FilePiece(file, 0, length_bytes, partial(self._drop_file, name, file))

    def _taken(self, handle: int, start: int, stop: int) -> bytes | None:
        try:
            return read_exactly(handle, start, stop)
        except OSError as error:
            self._tell_of(error)
            return None
        finally:
            os.close(handle)

    def _open(self, name: str) -> tuple[int, int] | None:
        """A file descriptor, which is the caller's to close, and how many bytes the entry has."""
        path = self._prefix + name
        try:
            handle, status = open_entry(path, name, self._seals)
        except FileNotFoundError:
            return None
        except DamagedError:
            self.process_metrics.add(Metric.CACHE_DAMAGED)
            self._tell(_DAMAGED)
            self._remove(path)
            return None
        except OSError as error:
            self._tell_of(error)
            if error.errno == errno.EIO:  # what takes its place lies elsewhere on the disk
                self._remove(path)
            return None
        self._touch(name, status, handle)
        return handle, status.st_size - TRAILER_BYTES

    def _touch(self, name: str, status: os.stat_result, file: int | str) -> None:
        if time.time() - status.st_atime > _TOUCH_SECONDS:
            try:
                self._seals.mark(name, status, file)
            except FileNotFoundError:  # evicted this moment
                pass
            except OSError as error:
                self._tell_of(error)

    def count_use(self, *, hit: bool) -> None:
        """A client asked for something, which was there or was not."""
        self.process_metrics.add(Metric.CACHE_HITS if hit else Metric.CACHE_MISSES)
        looked_up(hit=hit)

    def put(self, name: str, blob: bytes) -> bool:
        """Keep the bytes; whether that was possible. Where it was not, the caller goes on with what it has."""
        try:
            if not self._bounds.has_room(len(blob)):
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
            self._write(name, blob)
        except OSError as error:
            self.process_metrics.add(Metric.CACHE_REFUSED)
            self._tell_of(error)
            return False
        self._bounds.note_written(len(blob))
        return True

    def _write(self, name: str, blob: bytes) -> None:
        path = self._prefix + name
        folder = path.rpartition("/")[0]
        try:
            write_entry(folder, path, name, blob, self._seals)
        except OSError as error:
            if error.errno not in (errno.ENOENT, errno.ENOTDIR, errno.ELOOP):
                raise
            self.make_root()
            make_folder(str(self._base), folder)
            write_entry(folder, path, name, blob, self._seals)

    def write_error(self) -> OSError | None:
        """Why nothing can be kept now, or None."""
        try:
            self._write(".trouble", b"")
            os.unlink(self._prefix + ".trouble")  # noqa: PTH108
        except FileNotFoundError:  # another process looks, too
            return None
        except OSError as error:
            return error
        return None

    def evict(self) -> None:
        """Delete the least recently used files until the bounds hold, unless another process is at it."""
        self._bounds.evict()

    def empty(self) -> None:
        """Delete everything but what is being written; what is being read stays readable."""
        self._bounds.empty()

    def kinds(self) -> dict[str, CacheStats]:
        """What is kept, by kind."""
        return self._bounds.kinds()

    def drop(self, name: str) -> None:
        """Forget it, if it is there."""
        self._remove(self._prefix + name)

    def _drop_file(self, name: str, file: BinaryIO) -> None:
        """Forget the entry, unless another file has taken the place of this one."""
        with suppress(OSError):  # it is gone already
            if os.path.samestat(os.fstat(file.fileno()), os.lstat(self._prefix + name)):
                self._remove(self._prefix + name)

    def _remove(self, path: str) -> None:
        try:
            remove(path)
        except OSError as error:
            self._tell_of(error)

    def _tell_of(self, error: OSError) -> None:
        self._tell(_FULL if error.errno in _NO_ROOM else _UNUSABLE % (error.strerror or "no reason given"))

    def _tell(self, what: str) -> None:
        now = time.monotonic()
        if now - self._told_at.get(what, float("-inf")) > _TELL_SECONDS:
            self._told_at[what] = now
            log.warning("%s", what)
