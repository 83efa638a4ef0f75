"""Changes of a file of users or tokens, which people edit, too: one line is added or removed, and all else stays.

The new file takes the place of the old one at once, and lasts when that is told. It has the same owner, mode and access
list. Another process that changes the file is awaited. What a person has saved meanwhile is never overwritten.
"""

import fcntl
import os
import secrets
import stat
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from dicomweb.errors import Conflict, UpstreamBusy

_LOCK_SECONDS = 5.0
_LARGEST_BYTES = 16 * 2**20
_ACCESS_LIST = "system.posix_acl_access"

Lines = list[str]


def obstacle(path: Path) -> str:
    """The reason why this process cannot change a file; "" if it seems that it can."""
    try:
        real = path.resolve(strict=True)
        found, folder = real.stat(), real.parent.stat()
    except OSError as error:
        return f"{path}: {error.strerror}"
    if not stat.S_ISREG(found.st_mode):
        return f"{path} is no file"
    if not os.access(real, os.R_OK | os.W_OK):
        return f"{real} may not be written by the user of this service"
    if not os.access(real.parent, os.W_OK | os.X_OK):
        return f"the folder {real.parent} may not be written by the user of this service"
    if os.geteuid() not in (0, found.st_uid):
        return f"{real} belongs to another user, who would lose it"
    if found.st_dev != folder.st_dev:
        return f"{real} is mounted into its folder, so that no other file can take its place"
    return ""


def edit(path: Path, change: Callable[[Lines], Lines], check: Callable[[Path], object]) -> None:
    """Change the lines of a file, which have their ends. `check` reads the new file before it counts.

    Conflict if a person has saved the file meanwhile, UpstreamBusy if it cannot be written now. Errors of `change` and
    `check` are raised, and nothing is changed.
    """
    try:
        real = path.resolve(strict=True)
        with _locked(real) as before:
            lines = _read(real).splitlines(keepends=True)
            if lines and not lines[-1].endswith("\n"):
                lines[-1] += "\n"
            _replace(real, before, "".join(change(lines)).encode(), check)
    except OSError as error:
        raise UpstreamBusy(f"the file cannot be changed: {error.strerror}") from error


def _read(real: Path) -> str:
    with real.open("rb") as file:
        content = file.read(_LARGEST_BYTES + 1)
    if len(content) > _LARGEST_BYTES:
        raise Conflict("the file is too large to be changed here")
    try:
        return content.decode()
    except UnicodeDecodeError:
        raise Conflict("the file is not UTF-8") from None


@contextmanager
def _locked(real: Path) -> Iterator[os.stat_result]:
    """Alone among the processes that change the file here; the state of the file."""
    give_up = time.monotonic() + _LOCK_SECONDS
    while True:
        descriptor = os.open(real, os.O_RDWR | os.O_CLOEXEC)
        try:
            found = _lock(descriptor, give_up)
            if found.st_ino == real.stat().st_ino:  # else another process has put a new file in its place
                yield found
                return
        finally:
            os.close(descriptor)


def _lock(descriptor: int, give_up: float) -> os.stat_result:
    while not _is_locked(descriptor):
        if time.monotonic() >= give_up:
            raise UpstreamBusy("another process is changing the file")
        time.sleep(0.02)
    return os.fstat(descriptor)


def _is_locked(descriptor: int) -> bool:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _replace(real: Path, before: os.stat_result, content: bytes, check: Callable[[Path], object]) -> None:
    new = real.with_name(f".{real.name}.{secrets.token_hex(8)}")
    try:
        _write(new, content, before, real)
        check(new)
        if _version(real.stat()) != _version(before):
            raise Conflict("somebody has changed the file meanwhile: look at it, and try again")
        new.replace(real)
    except BaseException:
        with suppress(OSError):
            new.unlink()
        raise
    folder = os.open(real.parent, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)


def _write(new: Path, content: bytes, before: os.stat_result, real: Path) -> None:
    descriptor = os.open(new, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    with os.fdopen(descriptor, "wb") as file:
        made = os.fstat(descriptor)
        if (made.st_uid, made.st_gid) != (before.st_uid, before.st_gid):
            os.fchown(descriptor, before.st_uid, before.st_gid)
        os.fchmod(descriptor, stat.S_IMODE(before.st_mode))
        if _ACCESS_LIST in os.listxattr(real):
            os.setxattr(descriptor, _ACCESS_LIST, os.getxattr(real, _ACCESS_LIST))
        file.write(content)
        file.flush()
        os.fsync(descriptor)


def _version(found: os.stat_result) -> tuple[int, int, int]:
    return found.st_ino, found.st_size, found.st_mtime_ns
