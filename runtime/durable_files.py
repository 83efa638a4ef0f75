"""Durable writes and lock files. Errors are OSError."""

import fcntl
import os
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

_SYNCS_AT_ONCE = 4  # the disk writes what several wait for in one go


def write_durably(path: Path, content: bytes) -> None:
    """Write a new file and wait until its bytes are on disk; FileExistsError."""
    with path.open("xb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())


def replace_durably(path: Path, content: bytes) -> None:
    """Replace a file: it has its old bytes or all of the new ones, which are on disk. One caller at a time."""
    aside = path.with_name(f"{path.name}.part")
    aside.unlink(missing_ok=True)  # of a caller that was killed
    write_durably(aside, content)
    aside.rename(path)


def sync_file(path: Path) -> None:
    """Wait until the bytes of a file are on disk."""
    _sync(path, os.O_RDONLY)


def sync_files(paths: Iterable[Path]) -> None:
    """Wait until the bytes of all these files, and the names in these folders, are on disk.

    It is much quicker than one after the other.
    """
    some = list(paths)
    with ThreadPoolExecutor(min(len(some), _SYNCS_AT_ONCE) or 1, thread_name_prefix="sync") as pool:
        for _ in pool.map(sync_file, some):
            pass


def sync_folder(folder: Path) -> None:
    """Wait until the names in a folder are on disk."""
    _sync(folder, os.O_RDONLY | os.O_DIRECTORY)


def _sync(path: Path, flags: int) -> None:
    descriptor = os.open(path, flags | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


@contextmanager
def lock_file(path: Path, *, wait: bool = True) -> Iterator[None]:
    """Hold a lock file, which the operating system releases when the process ends.

    BlockingIOError if another process holds it and `wait` is false.
    """
    with path.open("wb") as file:
        fcntl.flock(file, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
        yield
