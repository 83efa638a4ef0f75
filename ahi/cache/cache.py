"""The cache: files under one folder, shared by all processes, valid after a restart and after a power loss.

A file is written under a temporary name and renamed. It shows whether it is intact (`ahi.cache.entry`); a damaged file
is removed and fetched again. A cache that cannot be read or written acts as an empty one. The page cache of the
operating system keeps files in memory. The least recently used files are evicted first (`ahi.cache.limits`).
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

_TOUCH_SECONDS = 60  # the precision of the last use
_LOG_SECONDS = 60  # the least time between two equal log lines
_NO_ROOM = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
_FULL = "the disk of the cache is full, serving without caching"
_UNUSABLE = "the cache cannot be used, serving without it: %s"
_DAMAGED = "files of the cache are damaged, and are fetched again"


class Cache:
    """Byte strings by name. A name is a relative path that the service makes, never a client.

    Safe to share between threads. Errors of files and disk are logged and not raised, except in `make_root`: the caller
    goes on without the cache.
    """

    def __init__(
        self,
        root: Path,
        max_bytes: int,
        min_free_bytes: int = 0,
        process_metrics: ProcessMetrics | None = None,
        boot: str | None = None,
    ) -> None:
        """`max_bytes` bounds all files; all processes together may exceed it by a tenth for a moment.

        Nothing is written while the disk has less than `min_free_bytes` left and eviction does not help. `boot`
        replaces the ID of this boot.
        """
        self.root = root / FORMAT
        self._base = root
        self._prefix = f"{self.root}/"
        self._seals = Seals(boot or boot_id())
        self.process_metrics = process_metrics or ProcessMetrics.alone()
        self._logged_at: dict[str, float] = {}
        self._limits = CacheLimits(root, max_bytes, min_free_bytes, self.process_metrics, self._report)
        with suppress(OSError):  # reported by the first write
            self.make_root()

    def make_root(self) -> None:
        """Make the folder of the cache. OSError where it cannot be made."""
        self._base.mkdir(parents=True, exist_ok=True, mode=0o700)

    def has(self, name: str) -> bool:
        """Whether there is an entry that was verified since the boot. This does not count as its use."""
        try:
            return self._seals.holds(name, os.lstat(self._prefix + name))
        except OSError:
            return False

    def use(self, name: str) -> bool:
        """Whether there is an entry. This counts as its use."""
        return self.length(name) is not None

    def length(self, name: str) -> int | None:
        """Return the length of an entry in bytes, or None. This counts as its use."""
        path = self._prefix + name
        try:
            status = os.lstat(path)
        except OSError:
            status = None
        if status and self._seals.holds(name, status):
            self._touch(name, status, path)
            return status.st_size - TRAILER_BYTES
        opened = self._open(name)
        if opened is None:
            return None
        os.close(opened[0])
        return opened[1]

    def open(self, name: str) -> FilePiece | None:
        """Return an entry, open for reading, or None. It stays readable when it is evicted."""
        opened = self._open(name)
        return None if opened is None else self._piece(name, *opened)

    def read(self, name: str) -> bytes | None:
        """Return the bytes of an entry, or None."""
        opened = self._open(name)
        return None if opened is None else self._read_and_close(opened[0], 0, opened[1])

    def piece(self, name: str, start: int, length_bytes: int) -> bytes | None:
        """Return a part of the bytes of an entry, or None. At its end there are fewer bytes."""
        opened = self._open(name)
        return None if opened is None else self._read_and_close(opened[0], start, min(opened[1], start + length_bytes))

    def chunk(self, name: str, piece_bytes: int) -> Chunk | None:
        """Return an entry, or None: its bytes, or open for reading if it has `piece_bytes` or more."""
        opened = self._open(name)
        if opened is None:
            return None
        return self._piece(name, *opened) if opened[1] >= piece_bytes else self._read_and_close(opened[0], 0, opened[1])

    def _piece(self, name: str, handle: int, length_bytes: int) -> FilePiece:
        file = cast(BinaryIO, os.fdopen(handle, "rb", buffering=0))
        return FilePiece(file, 0, length_bytes, partial(self._drop_file, name, file))

    def _read_and_close(self, handle: int, start: int, stop: int) -> bytes | None:
        try:
            return read_exactly(handle, start, stop)
        except OSError as error:
            self._report(error)
            return None
        finally:
            os.close(handle)

    def _open(self, name: str) -> tuple[int, int] | None:
        """Return a file descriptor, which the caller closes, and the length of the entry in bytes."""
        path = self._prefix + name
        try:
            handle, status = open_entry(path, name, self._seals)
        except FileNotFoundError:
            return None
        except DamagedError:
            self.process_metrics.add(Metric.CACHE_DAMAGED)
            self._log(_DAMAGED)
            self._remove(path)
            return None
        except OSError as error:
            self._report(error)
            if error.errno == errno.EIO:  # a new file is elsewhere on the disk
                self._remove(path)
            return None
        self._touch(name, status, handle)
        return handle, status.st_size - TRAILER_BYTES

    def _touch(self, name: str, status: os.stat_result, file: int | str) -> None:
        if time.time() - status.st_atime > _TOUCH_SECONDS:
            try:
                self._seals.mark(name, status, file)
            except FileNotFoundError:  # just evicted
                pass
            except OSError as error:
                self._report(error)

    def count_use(self, *, hit: bool) -> None:
        """Count that a client requested an entry, which was there or was not."""
        self.process_metrics.add(Metric.CACHE_HITS if hit else Metric.CACHE_MISSES)
        looked_up(hit=hit)

    def put(self, name: str, blob: bytes) -> bool:
        """Write an entry. Return whether that was possible; if not, the caller goes on with the bytes that it has."""
        try:
            if not self._limits.has_room(len(blob)):
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
            self._write(name, blob)
        except OSError as error:
            self.process_metrics.add(Metric.CACHE_REFUSED)
            self._report(error)
            return False
        self._limits.note_written(len(blob))
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
        """Return why nothing can be written now, or None."""
        try:
            self._write(".trouble", b"")
            os.unlink(self._prefix + ".trouble")  # noqa: PTH108
        except FileNotFoundError:  # another process tests it, too
            return None
        except OSError as error:
            return error
        return None

    def evict(self) -> None:
        """Delete the least recently used files until the limits hold, unless another process does."""
        self._limits.evict()

    def empty(self) -> None:
        """Delete all files, except those that are being written. Open files stay readable."""
        self._limits.empty()

    def kinds(self) -> dict[str, CacheStats]:
        """Return the statistics of the files by kind."""
        return self._limits.kinds()

    def drop(self, name: str) -> None:
        """Remove an entry, if it exists."""
        self._remove(self._prefix + name)

    def _drop_file(self, name: str, file: BinaryIO) -> None:
        """Remove an entry, unless another file has replaced this one."""
        with suppress(OSError):  # removed already
            if os.path.samestat(os.fstat(file.fileno()), os.lstat(self._prefix + name)):
                self._remove(self._prefix + name)

    def _remove(self, path: str) -> None:
        try:
            remove(path)
        except OSError as error:
            self._report(error)

    def _report(self, error: OSError) -> None:
        self._log(_FULL if error.errno in _NO_ROOM else _UNUSABLE % (error.strerror or "no reason given"))

    def _log(self, message: str) -> None:
        now = time.monotonic()
        if now - self._logged_at.get(message, float("-inf")) > _LOG_SECONDS:
            self._logged_at[message] = now
            log.warning("%s", message)
