"""One file of the cache: the bytes of an entry, then a magic, their number, and a CRC-32 over its name and them.

The checksum is compared once in each boot of the machine, as after a power loss a file may have its length and not its
bytes. A file that was written or checked since the boot carries a seal: its modification time is a number made from the
boot ID, the name, the inode and the length, as seconds between 1970 and 2004. So whatever writes to a file, replaces,
copies or restores it breaks the seal, and so does a reboot. When a file was last used is its access time. A file is
replaced by renaming and removed by unlinking, and never cut in place.
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
"""The folder of entries of this form: raise it when the form changes. Programs of both forms may share a cache."""

ASIDE = ".aside-"
"""The beginning of the names of files that are being written."""

BOOT_ID = "MACHINE_BOOT_ID"
"""A variable of the environment that takes the place of the kernel's boot ID: tests reboot with it."""

_BOOT_ID_PATH = Path("/proc/sys/kernel/random/boot_id")
_TRAILER = struct.Struct("<8sQI")
_MAGIC = b"AHIcache"
_NEW = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC
_BLOCK_BYTES = 2**18
_SEALS = 2**30 - 1  # seconds: no file is modified so early, and every file system can tell them
_RUN, _numbers = secrets.token_hex(8), count()  # with the process ID, no file of any run has the same name

TRAILER_BYTES = _TRAILER.size
"""How many bytes a file has more than its entry."""


def boot_id() -> str:
    """The identifier of this boot of the machine; where there is none, one for the processes of this start."""
    try:
        return os.environ.get(BOOT_ID) or _BOOT_ID_PATH.read_text().strip()
    except OSError:
        return _RUN


class DamagedError(Exception):
    """What stands in the place of an entry is none, or not the one that was written."""


class Seals:
    """Tells which files were written or checked since a boot, and marks them."""

    def __init__(self, boot: str) -> None:
        self._boot = zlib.crc32(boot.encode())

    def holds(self, name: str, status: os.stat_result) -> bool:
        """Whether it is a regular file that nobody has changed since it was sealed in this boot."""
        return status.st_mtime_ns == self._seal(name, status) and stat.S_ISREG(status.st_mode)

    def mark(self, name: str, status: os.stat_result, file: int | str) -> None:
        """Seal a file, open or named by its path, and note that it is used now."""
        os.utime(file, ns=(time.time_ns(), self._seal(name, status)))

    def _seal(self, name: str, status: os.stat_result) -> int:
        """A time in nanoseconds."""
        told = f"{name}\0{status.st_dev}\0{status.st_ino}\0{status.st_size}"
        return (zlib.crc32(told.encode(), self._boot) % _SEALS + 1) * 10**9


def open_entry(path: str, name: str, seals: Seals) -> tuple[int, os.stat_result]:
    """The file of an entry, open for reading; DamagedError where it is not what was written under the name.

    OSError where it cannot be opened or read. Neither a link nor a FIFO in its place leads anywhere.
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
            with suppress(OSError):  # where it cannot be written, it is checked again the next time
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
    found, start = zlib.crc32(name.encode()), 0
    while start < length_bytes:
        block = os.pread(handle, min(_BLOCK_BYTES, length_bytes - start), start)
        if not block:
            return False
        found, start = zlib.crc32(block, found), start + len(block)
    return bool(found == checksum)


def write_entry(folder: str, path: str, name: str, blob: bytes, seals: Seals) -> None:
    """Write a whole file, sealed, or none. In terms of `os`: this is done for each picture and frame."""
    aside = f"{folder}/{ASIDE}{_RUN}.{os.getpid()}.{next(_numbers)}"
    handle = os.open(aside, _NEW, 0o600)
    try:
        try:
            for part in (blob, _TRAILER.pack(_MAGIC, len(blob), zlib.crc32(blob, zlib.crc32(name.encode())))):
                left = memoryview(part)
                while left:
                    left = left[os.write(handle, left) :]
            seals.mark(name, os.fstat(handle), handle)
        finally:
            os.close(handle)
        _rename(aside, path)
    except OSError:
        Path(aside).unlink(missing_ok=True)
        raise


def _rename(aside: str, path: str) -> None:
    try:
        os.rename(aside, path)  # noqa: PTH104
    except IsADirectoryError:
        remove(path)
        os.rename(aside, path)  # noqa: PTH104


def remove(path: str) -> None:
    """Remove what is there, if anything is: a file, a link, a whole folder. OSError when it cannot be removed."""
    try:
        os.unlink(path)  # noqa: PTH108
    except FileNotFoundError:
        pass
    except OSError:
        if not stat.S_ISDIR(os.lstat(path).st_mode):
            raise
        _remove_folder(path)


def _remove_folder(path: str) -> None:
    """Links are not followed."""
    for folder, folders, names in os.walk(path, topdown=False):
        for one in names:
            Path(folder, one).unlink()
        for one in folders:
            inner = Path(folder, one)
            inner.unlink() if inner.is_symlink() else inner.rmdir()
    Path(path).rmdir()


def make_folder(root: str, folder: str) -> None:
    """Make a folder below `root`; a file or a dangling link that stands in its way is removed."""
    try:
        os.makedirs(folder, mode=0o700, exist_ok=True)  # noqa: PTH103
    except OSError:
        above = root
        for part in folder[len(root) :].strip("/").split("/"):
            above = f"{above}/{part}"
            if os.path.lexists(above) and not Path(above).is_dir():
                os.unlink(above)  # noqa: PTH108
        os.makedirs(folder, mode=0o700, exist_ok=True)  # noqa: PTH103
