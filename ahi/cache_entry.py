"""One file of the cache: the bytes, and behind them what proves that they are whole and those of this name.

    content | magic | digest of the name | length of the content | CRC-32 of the content | proof

The proof says that the checksum is known to hold: it follows from the boot of this machine, and from the device and the
inode of the file. What was written or checked since the machine booted is thus trusted. A file of before that, after
which the power may have failed, has its checksum computed once; so has a file that was copied or restored. Lengths are
compared at each use. A file is replaced by renaming and removed by unlinking, and never cut in place.
"""

import hashlib
import os
import stat
import struct
import zlib
from contextlib import suppress
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import BinaryIO, cast

FORMAT = "v2"
"""The folder of entries of this form: raise it when the form changes. Programs of both forms may share a cache."""

_MAGIC = b"AHIcach2"
_SEAL = struct.Struct("<8s8sQI4x8s")
SEAL_BYTES = _SEAL.size
_PROOF_BYTES = 8
_PIECE_BYTES = 2**20
_FLAGS = os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK  # neither a link nor a FIFO in its place leads anywhere
_BOOT_ID = Path("/proc/sys/kernel/random/boot_id")


class DamagedError(Exception):
    """What is in the place of an entry is none, or not the one that was written."""


@dataclass(frozen=True)
class Entry:
    """An open entry that is whole: the caller closes the file. What comes behind its content is none of it."""

    file: BinaryIO
    length_bytes: int
    used_at: float

    def read(self, start: int = 0, length_bytes: int | None = None) -> bytes:
        """A part of the content, which is all of it by default; OSError where the file has become shorter."""
        wanted = max(0, min(self.length_bytes - start, self.length_bytes if length_bytes is None else length_bytes))
        blob = os.pread(self.file.fileno(), wanted, start)
        while len(blob) < wanted:  # 2 GiB at a time
            more = os.pread(self.file.fileno(), wanted - len(blob), start + len(blob))
            if not more:
                raise OSError("a cached file is shorter than it was")
            blob += more
        return blob


def open_entry(path: str, name: str) -> Entry:
    """The entry at a path; DamagedError where it is not what was written, OSError where it cannot be opened."""
    handle = os.open(path, os.O_RDONLY | _FLAGS)
    try:
        status = os.fstat(handle)
        _verify(handle, status, path, name)
        file = cast(BinaryIO, os.fdopen(handle, "rb", buffering=0))
    except BaseException:
        os.close(handle)
        raise
    return Entry(file, status.st_size - SEAL_BYTES, status.st_mtime)


def write_entry(handle: int, name: str, blob: bytes) -> None:
    """Write an entry into a new file."""
    status = os.fstat(handle)
    proof = _proof(status.st_dev, status.st_ino)
    seal = _SEAL.pack(_MAGIC, _digest(name), len(blob), zlib.crc32(blob), proof)
    for part in (blob, seal):
        left = memoryview(part)
        while left:
            left = left[os.write(handle, left) :]


def _verify(handle: int, status: os.stat_result, path: str, name: str) -> None:
    length_bytes = status.st_size - SEAL_BYTES
    if not stat.S_ISREG(status.st_mode) or length_bytes < 0:
        raise DamagedError
    seal = os.pread(handle, SEAL_BYTES, length_bytes)
    if len(seal) < SEAL_BYTES:
        raise DamagedError
    magic, digest, written_bytes, checksum, proof = _SEAL.unpack(seal)
    if magic != _MAGIC or digest != _digest(name) or written_bytes != length_bytes:
        raise DamagedError
    expected = _proof(status.st_dev, status.st_ino)
    if proof != expected:
        if _checksum(handle, length_bytes) != checksum:
            raise DamagedError
        _write_proof(path, status, expected)


def _checksum(handle: int, length_bytes: int) -> int:
    checksum, at = 0, 0
    while at < length_bytes:
        piece = os.pread(handle, min(_PIECE_BYTES, length_bytes - at), at)
        if not piece:
            raise DamagedError
        checksum, at = zlib.crc32(piece, checksum), at + len(piece)
    return checksum


def _write_proof(path: str, status: os.stat_result, proof: bytes) -> None:
    """Remember that the checksum holds; where that cannot be written it is computed again the next time."""
    with suppress(OSError):
        handle = os.open(path, os.O_WRONLY | _FLAGS)
        try:
            now = os.fstat(handle)
            if (now.st_dev, now.st_ino, now.st_size) == (status.st_dev, status.st_ino, status.st_size):
                os.pwrite(handle, proof, status.st_size - _PROOF_BYTES)
                os.utime(handle, ns=(status.st_atime_ns, status.st_mtime_ns))
        finally:
            os.close(handle)


def _digest(name: str) -> bytes:
    return hashlib.blake2b(name.encode(), digest_size=8).digest()


def _proof(device: int, inode: int) -> bytes:
    return hashlib.blake2b(b"%d %d" % (device, inode), digest_size=_PROOF_BYTES, key=boot()).digest()


@cache
def boot() -> bytes:
    """Something that is different after each boot of the machine; without it, nothing written before is trusted."""
    try:
        return _BOOT_ID.read_bytes().strip()[:64]
    except OSError:
        return os.urandom(16)
