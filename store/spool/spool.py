"""A spool as its users see it: web processes add entries, the forwarder removes them, commands list them."""

import errno
import json
import logging
import os
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import BinaryIO

from dicomweb.errors import NotFound
from store.outcome import Outcome, ReceivedInstance, Sender
from store.spool.entry_file import read_manifest
from store.spool.layout import Layout, SpoolFull, is_entry_name, is_waited_for, outcomes_beside
from store.spool.manifest import Manifest

log = logging.getLogger(__name__)

OLD_SECONDS = 900
"""The age of an entry that says that something is wrong."""

_RETRY_SECONDS = 60
_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)


@dataclass(frozen=True)
class Entry:
    """One store request in the spool."""

    name: str
    path: Path
    manifest: Manifest
    size_bytes: int
    """The size of the body."""

    def open_body(self) -> BinaryIO:
        """The body, open for reading, with further bytes behind it; OSError."""
        return self.path.open("rb")


@dataclass(frozen=True)
class SpoolStatus:
    """The length and the age of a spool."""

    entries: int = 0
    instances: int = 0
    size_bytes: int = 0
    oldest_seconds: float = 0.0
    """The time since the oldest entry was received; 0 if there is none."""
    refused: int = 0
    unknown: int = 0
    """Things in the queue that are no entries. They are left alone."""

    @classmethod
    def sum(cls, statuses: Iterable["SpoolStatus"]) -> "SpoolStatus":
        """The status of several spools together."""
        found = list(statuses)
        oldest_seconds = max((one.oldest_seconds for one in found), default=0.0)
        counts = {name: sum(vars(one)[name] for one in found) for name in vars(cls()) if name != "oldest_seconds"}
        return cls(oldest_seconds=oldest_seconds, **counts)


class Spool:
    """The entries below one folder. Safe to share between threads and processes.

    Only the process that forwards may remove or refuse an entry while the service runs.
    """

    def __init__(self, root: Path, min_free_bytes: int = 0, *, lasts: bool = True) -> None:
        """`min_free_bytes` is the room that the disk must keep when an entry is added.

        If it `lasts`, entries are on disk when `accept` returns. Else a loss of power may take them, and their clients
        must wait until they are stored.
        """
        self._layout = Layout(root)
        self._lasts = lasts
        self._min_free_bytes = min_free_bytes

    @property
    def layout(self) -> Layout:
        """Its folders."""
        return self._layout

    @property
    def incoming(self) -> Path:
        """The folder for bodies that are being received. It is emptied at each start of the service."""
        return self._layout.incoming

    def open(self) -> None:
        """Make the folders, and delete what a killed service did not finish; OSError. The caller holds the lock.

        So are entries that a loss of power has damaged, if nobody was told that they are kept.
        """
        self._layout.make()
        self._layout.empty_incoming()
        self._layout.delete_orphans()
        for path in self._layout.queue.iterdir():
            if is_waited_for(path.name) and path.is_file() and self._try(path) is None:
                self._layout.delete(path)

    def check_room(self, size_bytes: int) -> None:
        """SpoolFull if the disk has no room for a body of this size."""
        try:
            disk = os.statvfs(self.incoming)
        except OSError as error:
            raise full(error) from error
        if disk.f_bavail * disk.f_frsize < size_bytes + self._min_free_bytes:
            raise SpoolFull("the service has no room for more at the moment", _RETRY_SECONDS)

    def accept(self, body: Path, instances: Sequence[ReceivedInstance], sender: Sender) -> Entry:
        """Make an entry of a body in `incoming`.

        SpoolFull if it cannot be written. The body is no longer in `incoming` then either. There must be an instance.
        """
        if not instances:
            raise ValueError("an entry has at least one instance")
        manifest = Manifest(sender, time.time(), tuple(instances))
        try:
            size_bytes = body.stat().st_size
            name = self._layout.add(body, manifest.to_json(), lasts=self._lasts)
        except OSError as error:
            raise full(error) from error
        return Entry(name, self._layout.queue / name, manifest, size_bytes)

    def entry(self, name: str) -> Entry:
        """An entry of the queue; NotFound if there is none of this name."""
        return self._read(self._layout.queue, name)

    def entries(self) -> list[Entry]:
        """All entries of the queue, oldest first."""
        return list(self._entries(self._layout.queue))

    def refused(self) -> list[Entry]:
        """All entries that were refused, oldest first."""
        return list(self._entries(self._layout.refused))

    def unknown(self) -> list[Path]:
        """What is in the queue and is no entry."""
        return [path for path in sorted(self._layout.queue.iterdir()) if self._try(path) is None]

    def names(self) -> list[str]:
        """The names of what may be an entry of the queue, oldest first. Quick: no manifest is read."""
        return _names(self._layout.queue)

    def refused_names(self) -> list[str]:
        """The names of what may be an entry that was refused, oldest first. Quick, as `names`; OSError."""
        return _names(self._layout.refused)

    def has(self, name: str) -> bool:
        """Whether an entry of this name waits or was refused."""
        folders = (self._layout.queue, self._layout.refused)
        return is_entry_name(name) and any((folder / name).is_file() for folder in folders)

    def remove(self, entry: Entry) -> None:
        """Delete an entry that is stored, or that an operator does not want; NotFound."""
        with _found(entry.name):
            self._layout.delete(entry.path)

    def refuse(self, entry: Entry, outcomes: Sequence[Outcome]) -> None:
        """Set an entry aside with the outcome of each instance, in the order of the manifest; NotFound, OSError."""
        with _found(entry.name):
            self._layout.refuse(entry.path, _outcomes_json(outcomes))

    def outcomes(self, entry: Entry) -> list[Outcome]:
        """The outcomes with which an entry was refused; none if they cannot be read."""
        return _read_outcomes(outcomes_beside(entry.path))

    def refused_at(self, name: str) -> int:
        """When the outcomes of a refused entry were written, in nanoseconds since 1970; 0 if they are lost. OSError."""
        with suppress(FileNotFoundError):
            return outcomes_beside(self._layout.refused / name).stat().st_mtime_ns
        return 0

    def refused_entry(self, name: str) -> Entry:
        """An entry that was refused; NotFound if there is none of this name."""
        return self._read(self._layout.refused, name)

    def retry(self, entry: Entry) -> None:
        """Put an entry that was refused back into the queue; NotFound, OSError."""
        with _found(entry.name):
            self._layout.retry(entry.path)

    def status(self, now: Callable[[], float] = time.time) -> SpoolStatus:
        """Its length and age. Reads all manifests."""
        entries = self.entries()
        oldest = min((entry.manifest.received_at for entry in entries), default=None)
        return SpoolStatus(
            entries=len(entries),
            instances=sum(len(entry.manifest.instances) for entry in entries),
            size_bytes=sum(entry.size_bytes for entry in entries),
            oldest_seconds=0.0 if oldest is None else max(0.0, now() - oldest),
            refused=len(self.refused()),
            unknown=len(self.unknown()),
        )

    def _entries(self, folder: Path) -> Iterator[Entry]:
        for path in sorted(folder.iterdir()):
            if entry := self._try(path):
                yield entry

    def _read(self, folder: Path, name: str) -> Entry:
        entry = self._try(folder / name) if is_entry_name(name) else None
        if entry is None:
            raise NotFound(f"the spool has no entry {name[:100]!r}")
        return entry

    def _try(self, path: Path) -> Entry | None:
        """The entry in a file; None if it is no entry, or cannot be read."""
        if not is_entry_name(path.name):
            return None
        try:
            text, size_bytes = read_manifest(path)
            entry = Entry(path.name, path, Manifest.from_json(text), size_bytes)
            return entry if size_bytes >= entry.manifest.end else None
        except (OSError, ValueError):
            return None


def _names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir() if is_entry_name(path.name))


@contextmanager
def _found(name: str) -> Iterator[None]:
    """A context in which FileNotFoundError means that another process has removed the entry."""
    try:
        yield
    except FileNotFoundError as error:
        raise NotFound(f"the spool has no entry {name!r} any more") from error


def full(error: OSError) -> SpoolFull:
    """The error for a client where the spool cannot be written; the log has the reason."""
    log.error("the spool cannot be written: %s", error.strerror)
    if error.errno in _FULL:
        return SpoolFull("the service has no room for more at the moment", _RETRY_SECONDS)
    return SpoolFull("the service cannot store at the moment", _RETRY_SECONDS)


def _outcomes_json(outcomes: Sequence[Outcome]) -> bytes:
    return json.dumps([asdict(outcome) for outcome in outcomes], separators=(",", ":")).encode()


def _read_outcomes(path: Path) -> list[Outcome]:
    with suppress(OSError, ValueError, TypeError):
        return [Outcome(**outcome) for outcome in json.loads(path.read_bytes())]
    return []
