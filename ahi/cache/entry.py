"""The format of one cache file: its content, then a magic number, the length, and a CRC-32 of name and content.

Runs in all processes. The checksum is verified once after each boot: after a power loss a file may have its length but
not its bytes. A file that was written or verified since the boot has a seal. This is its modification time, a number
made from boot ID, name, inode and length, as seconds between 1970 and 2004. Any write, replacement, copy or restore
breaks the seal, and so does a reboot. The access time tells the last use. Files are replaced by renaming, removed by
unlinking, and never truncated in place.
"""

import errno
import os
import secrets
import stat
import struct
import time
import zlib
from contextlib import suppress
from itertools import count
from pathlib import Path

FORMAT = "v2"
"""The folder of entries in this format. Raise it when the format changes: programs of both may share a cache."""

TEMPORARY = ".aside-"
"""The prefix of the names of files that are being written."""

BOOT_ID = "MACHINE_BOOT_ID"
"""An environment variable that replaces the boot ID of the kernel: tests simulate a reboot with it."""

_BOOT_ID_PATH = Path("/proc/sys/kernel/random/boot_id")
_TRAILER = struct.Struct("<8sQI")
_MAGIC = b"AHIcache"
_NEW = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC
_BLOCK_BYTES = 2**18
_SEALS = 2**30 - 1  # seconds: no file is modified so early, and every file system can store them
_RUN_ID, _numbers = secrets.token_hex(8), count()  # with the process ID, unique names of temporary files

TRAILER_BYTES = _TRAILER.size
"""The length of a file minus that of its content."""


def boot_id() -> str:
    """Return the ID of this boot of the machine; without one, an ID of this start of the service."""
    try:
        return os.environ.get(BOOT_ID) or _BOOT_ID_PATH.read_text().strip()
    except OSError:
        return _RUN_ID


class DamagedError(Exception):
    """A file is not the entry that was written under its name."""


class Seals:
    """The marks of files that were written or verified since a boot."""

    def __init__(self, boot: str) -> None:
        self._boot = zlib.crc32(boot.encode())

    def holds(self, name: str, status: os.stat_result) -> bool:
        """Whether a regular file has its seal of this boot: nobody has changed it since."""
        return status.st_mtime_ns == self._seal(name, status) and stat.S_ISREG(status.st_mode)

    def mark(self, name: str, status: os.stat_result, file: int | str) -> None:
        """Seal a file, given by descriptor or path, and set its last use to now."""
        os.utime(file, ns=(time.time_ns(), self._seal(name, status)))

    def _seal(self, name: str, status: os.stat_result) -> int:
        """Return the seal as a time in nanoseconds."""
        facts = f"{name}\0{status.st_dev}\0{status.st_ino}\0{status.st_size}"
        return (zlib.crc32(facts.encode(), self._boot) % _SEALS + 1) * 10**9


def open_entry(path: str, name: str, seals: Seals) -> tuple[int, os.stat_result]:
    """Open the file of an entry; return its descriptor and status. Links and FIFOs are not followed.

    DamagedError where it is not the entry that was written; OSError where it cannot be opened or read.
    """
    try:
        handle = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK)
    except OSError as error:
        if error.errno in (errno.ELOOP, errno.ENXIO):  # a link; a socket or a device
            raise DamagedError from error
        raise
    try:
        status = os.fstat(handle)
        if not seals.holds(name, status):
            if not (stat.S_ISREG(status.st_mode) and _is_intact(handle, name, status.st_size)):
                raise DamagedError
            with suppress(OSError):  # without the right to write, it is verified again next time
                seals.mark(name, status, handle)
    except BaseException:
        os.close(handle)
        raise
    return handle, status


def _is_intact(handle: int, name: str, size_bytes: int) -> bool:
    length_bytes = size_bytes - TRAILER_BYTES
    if length_bytes < 0:
        return False
    trailer = os.pread(handle, TRAILER_BYTES, length_bytes)
    if len(trailer) < TRAILER_BYTES:
        return False
    magic, stated_bytes, checksum = _TRAILER.unpack(trailer)
    if magic != _MAGIC or stated_bytes != length_bytes:
        return False
    actual, start = zlib.crc32(name.encode()), 0
    while start < length_bytes:
        block = os.pread(handle, min(_BLOCK_BYTES, length_bytes - start), start)
        if not block:
            return False
        actual, start = zlib.crc32(block, actual), start + len(block)
    return bool(actual == checksum)


def write_entry(folder: str, path: str, name: str, blob: bytes, seals: Seals) -> None:
    """Write a whole sealed file, or none. It uses `os` for speed: every frame and rendered image is written here."""
    temporary = f"{folder}/{TEMPORARY}{_RUN_ID}.{os.getpid()}.{next(_numbers)}"
    handle = os.open(temporary, _NEW, 0o600)
    try:
        try:
            for part in (blob, _TRAILER.pack(_MAGIC, len(blob), zlib.crc32(blob, zlib.crc32(name.encode())))):
                unwritten = memoryview(part)
                while unwritten:
                    unwritten = unwritten[os.write(handle, unwritten) :]
            seals.mark(name, os.fstat(handle), handle)
        finally:
            os.close(handle)
        _rename(temporary, path)
    except OSError:
        Path(temporary).unlink(missing_ok=True)
        raise


def _rename(temporary: str, path: str) -> None:
    try:
        os.rename(temporary, path)  # noqa: PTH104
    except IsADirectoryError:
        remove(path)
        os.rename(temporary, path)  # noqa: PTH104


def remove(path: str) -> None:
    """Remove a file, link or whole folder, if it exists. OSError when it cannot be removed."""
    try:
        os.unlink(path)  # noqa: PTH108
    except FileNotFoundError:
        pass
    except OSError:
        if not stat.S_ISDIR(os.lstat(path).st_mode):
            raise
        _remove_folder(path)


def _remove_folder(path: str) -> None:
    """Remove a folder. Links are not followed."""
    for folder, folders, names in os.walk(path, topdown=False):
        for name in names:
            Path(folder, name).unlink()
        for name in folders:
            inner = Path(folder, name)
            inner.unlink() if inner.is_symlink() else inner.rmdir()
    Path(path).rmdir()


def make_folder(root: str, folder: str) -> None:
    """Make a folder below `root`. Files and dangling links in its place are removed."""
    try:
        os.makedirs(folder, mode=0o700, exist_ok=True)  # noqa: PTH103
    except OSError:
        above = root
        for part in folder[len(root) :].strip("/").split("/"):
            above = f"{above}/{part}"
            if os.path.lexists(above) and not Path(above).is_dir():
                os.unlink(above)  # noqa: PTH108
        os.makedirs(folder, mode=0o700, exist_ok=True)  # noqa: PTH103
