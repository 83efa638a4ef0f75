"""The folders of a spool: entries are made, moved and deleted so that each is whole or not there."""

import errno
import fcntl
import os
import re
import secrets
import shutil
import time
from contextlib import suppress
from pathlib import Path

from dicomweb.errors import UpstreamBusy
from runtime.durable_files import replace_durably, sync_folder, write_durably
from store.spool.entry_file import append_manifest

SERVICE_LOCK, FORWARDER_LOCK = "lock", "forwarder.lock"
_IDENTITY = "identity"
_OUTCOMES = ".outcomes.json"

_WAITED_FOR = "-waits"
_ENTRY = re.compile(rf"[0-9]{{13}}-[0-9a-f]{{16}}({_WAITED_FOR})?", re.ASCII)
_OCTAL = re.compile(r"\\([0-7]{3})")
_IN_MEMORY = ("tmpfs", "ramfs")
_ON_NETWORK = ("nfs", "nfs4", "lustre", "cifs", "smb3")
LOCK_SECONDS = 15.0
"""The longest wait for a lock: the processes of a service that was killed end within 10 seconds."""

_LOCK_ROUND_SECONDS = 0.2
_ABANDONED_SECONDS = 300.0


class SpoolFull(UpstreamBusy):
    """The spool cannot take more: the disk is full, or cannot be written."""


class SpoolInUse(Exception):
    """Another service uses the spool."""


class Layout:
    """The folders below `root`. Each method is safe in any process, if the caller is the only one for an entry."""

    def __init__(self, root: Path) -> None:
        self.root = root.absolute()
        self.incoming = self.root / "incoming"
        self.queue = self.root / "queue"
        self.refused = self.root / "refused"

    def make(self) -> None:
        """Make the folders that are missing; OSError, also if `incoming` has files of somebody else: it is emptied."""
        if not self.identity() and self.incoming.is_dir() and any(self.incoming.iterdir()):
            raise FileExistsError(errno.EEXIST, "this is no spool, and has a folder incoming with other files in it")
        for folder in (self.root, self.incoming, self.queue, self.refused):
            folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        if not self.identity():
            replace_durably(self.root / _IDENTITY, secrets.token_hex(16).encode())
        sync_folder(self.root)

    def identity(self) -> str:
        """A random name that the spool keeps; "" before it was made. OSError."""
        with suppress(FileNotFoundError):
            return (self.root / _IDENTITY).read_text("ascii")
        return ""

    def empty_incoming(self) -> None:
        """Delete what a killed service left unfinished. Only the holder of the lock may call this."""
        for path in self.incoming.iterdir():
            if path.is_dir() and not path.is_symlink():
                shutil.rmtree(path)
            else:
                path.unlink()

    def delete_orphans(self) -> None:
        """Delete outcomes whose entry is not among the refused ones: a process was killed between two steps."""
        for path in self.refused.glob(f"*{_OUTCOMES}"):
            name = path.name.removesuffix(_OUTCOMES)
            if is_entry_name(name) and not (self.refused / name).exists():
                path.unlink()

    def sweep(self) -> None:
        """Delete what killed processes were receiving: old files of `incoming` that nobody has locked; OSError."""
        for path in self.incoming.iterdir():
            with suppress(FileNotFoundError, BlockingIOError):
                if path.is_file() and time.time() - path.stat().st_mtime > _ABANDONED_SECONDS:
                    with path.open("rb") as file:
                        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                        path.unlink()

    def add(self, body: Path, manifest: bytes, *, lasts: bool = True) -> str:
        """Move a body and its manifest into the queue as one entry; its name.

        The body must be in `incoming`. If it `lasts`, the entry is on disk when this returns. Else it may be damaged by
        a loss of power, and has a name that says so (`is_waited_for`). OSError if the entry cannot be made; the body is
        deleted then. If only the last step fails, the entry may be there after all: what was not accepted may be
        stored, but never the other way.
        """
        name = _new_name() if lasts else f"{_new_name()}{_WAITED_FOR}"
        try:
            append_manifest(body, manifest, sync=lasts)
            body.rename(self.queue / name)
        except OSError:
            body.unlink(missing_ok=True)
            raise
        if lasts:
            sync_folder(self.queue)
        return name

    def refuse(self, entry: Path, outcomes: bytes) -> None:
        """Move an entry of the queue to those that were refused, with the text form of its outcomes; OSError."""
        aside = self.incoming / f"{entry.name}.{secrets.token_hex(4)}"
        write_durably(aside, outcomes)
        aside.rename(outcomes_beside(self.refused / entry.name))
        sync_folder(self.refused)
        self._move(entry, self.refused)

    def retry(self, entry: Path) -> None:
        """Move an entry that was refused to the queue; OSError."""
        self._move(entry, self.queue)
        outcomes_beside(entry).unlink(missing_ok=True)

    def adopt(self, entry: Path) -> None:
        """Move an entry of another spool to the folder of the same name; OSError."""
        folder = self.root / entry.parent.name
        with suppress(FileNotFoundError):
            outcomes_beside(entry).rename(outcomes_beside(folder / entry.name))
        self._move(entry, folder)

    def _move(self, entry: Path, folder: Path) -> None:
        entry.rename(folder / entry.name)
        sync_folder(folder)
        sync_folder(entry.parent)

    def delete(self, entry: Path) -> None:
        """Delete an entry; OSError."""
        entry.unlink()
        if entry.parent == self.refused:
            outcomes_beside(entry).unlink(missing_ok=True)


class SpoolLock:
    """A lock of a spool. All processes forked by its holder hold it, too, until the last of them has ended."""

    def __init__(self, layout: Layout, wait_seconds: float = LOCK_SECONDS, name: str = SERVICE_LOCK) -> None:
        """Take the lock. It waits for the processes of a service that ends; then SpoolInUse."""
        self.layout = layout
        self._descriptor = os.open(layout.root / name, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        give_up_at = time.monotonic() + wait_seconds
        while not self._take():
            if time.monotonic() >= give_up_at:
                os.close(self._descriptor)
                raise SpoolInUse("another service uses it")
            time.sleep(_LOCK_ROUND_SECONDS)

    def _take(self) -> bool:
        try:
            fcntl.flock(self._descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        return True

    def close(self) -> None:
        """Close this process's part of the lock."""
        os.close(self._descriptor)


def outcomes_beside(entry: Path) -> Path:
    """The file with the outcomes of an entry that was refused."""
    return entry.with_name(f"{entry.name}{_OUTCOMES}")


def is_entry_name(name: str) -> bool:
    """Whether a text can be the name of an entry."""
    return _ENTRY.fullmatch(name) is not None


def is_waited_for(name: str) -> bool:
    """Whether nobody was told that this entry is kept: its client waits until it is stored."""
    return is_entry_name(name) and name.endswith(_WAITED_FOR)


def _new_name() -> str:
    """A name that no other entry has. Names sort by the time at which they were made."""
    return f"{time.time_ns() // 1_000_000:013d}-{secrets.token_hex(8)}"


def _character(escape: re.Match[str]) -> str:
    """The character that the kernel writes as a backslash and three digits: a blank, for example."""
    return chr(int(escape[1], 8))


def passing_file_system(folder: Path) -> str:
    """The kind of the file system of a folder if it ends with the machine or the container; "" if it lasts."""
    mounts = [line.split() for line in Path("/proc/self/mountinfo").read_text().splitlines()]
    kinds = {_OCTAL.sub(_character, mount[4]): mount[mount.index("-") + 1] for mount in mounts}
    resolved = folder.resolve()
    kind = next((kinds[str(path)] for path in (resolved, *resolved.parents) if str(path) in kinds), "")
    is_in_task = "ECS_CONTAINER_METADATA_URI_V4" in os.environ  # whose own layer is deleted with it
    is_on_fargate = os.environ.get("AWS_EXECUTION_ENV") == "AWS_ECS_FARGATE"  # whose disks are deleted with the task
    passes = kind in _IN_MEMORY or (is_in_task and kind == "overlay") or (is_on_fargate and kind not in _ON_NETWORK)
    return kind if passes else ""
