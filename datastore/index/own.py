"""The index of a data store folder: our own tables, in a file. It follows from the image sets, and can be made again.

A folder of an earlier version has AWS's tables in this file. They are deleted, and the index is made of the image sets.
"""

import gzip
import json
import sqlite3
from collections.abc import Callable, Iterator, Mapping
from contextlib import closing
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

from datastore.storage.records import ImageSetVersion, UnknownImageSet
from datastore.storage.storage import Storage
from index.writing.ledger import Recorded, Revision, utc
from index.writing.writer import IndexWriter
from runtime.durable_files import lock_file

_OF_SQLITE = ("-wal", "-shm", "-journal", "")
"""The files of a database, by what follows its name. A log that outlives its database would be read into the next."""


class OwnIndex:
    """The index of a storage. Not safe for several threads."""

    def __init__(self, path: Path, storage: Storage) -> None:
        """Open the index in a file, and create its tables if they are missing.

        UpstreamBusy if the file cannot be opened, UpstreamFailed if it is something else.
        """
        self._storage = storage
        self._datastore_id = storage.datastore.datastore_id
        self._writer = IndexWriter(f"sqlite:///{path}")
        with lock_file(storage.root / "index.lock"):  # or another process deletes what this one makes
            if _has_tables_of_before(path):
                for end in _OF_SQLITE:
                    path.with_name(path.name + end).unlink(missing_ok=True)
            self._writer.create_or_migrate()

    def put(self, datastore_id: str, metadata: Mapping[str, Any]) -> None:
        """Insert or update the latest version of an image set, which has this metadata."""
        version = self._storage.image_set(metadata["ImageSetID"])
        revision = _revision(version)
        self._writer.put(datastore_id, metadata, revision.version, revision.is_primary, revision.updated_at)

    def catch_up(self, on_progress: Callable[[int, int], object] = lambda done, of: None) -> int:
        """Index what the storage has and the index lacks, and the other way round; returns the number of changes.

        `on_progress` is called with the number of changes made, and of all, after each.
        """
        recorded = {one.image_set_id: one for one in self._recorded() if not one.is_deleted}
        latest = {one.image_set_id: one for one in self._storage.image_sets()}
        missing = [one for one in latest.values() if not _has(recorded.get(one.image_set_id), one)]
        gone = [one for one, row in recorded.items() if one not in latest and row.revision]
        for done, one in enumerate(missing, start=1):
            self._put_again(one)
            on_progress(done, len(missing) + len(gone))
        for done, image_set_id in enumerate(gone, start=len(missing) + 1):
            self._writer.remove(self._datastore_id, image_set_id)
            on_progress(done, len(missing) + len(gone))
        return len(missing) + len(gone)

    def close(self) -> None:
        """Close the connections."""
        self._writer.close()

    def _put_again(self, version: ImageSetVersion) -> None:
        try:
            blob = self._storage.metadata(version.image_set_id, version.version)
        except UnknownImageSet:  # deleted meanwhile
            return
        self.put(self._datastore_id, json.loads(gzip.decompress(blob)))
        self._storage.mark_indexed(version.image_set_id, version.version)

    def _recorded(self) -> Iterator[Recorded]:
        after = ""
        while page := self._writer.recorded_after(self._datastore_id, after):
            yield from page
            after = page[-1].image_set_id


def _has(recorded: Recorded | None, version: ImageSetVersion) -> bool:
    """Whether the index has this version, or a newer one."""
    return bool(recorded and recorded.revision and recorded.revision.order >= _revision(version).order)


def _revision(version: ImageSetVersion) -> Revision:
    updated_at = datetime.fromtimestamp(version.updated_at, timezone.utc)
    return Revision(version.version, utc(updated_at), version.is_primary)


def _has_tables_of_before(path: Path) -> bool:
    """Whether a file is a database with AWS's tables; what is something else stays for an error to tell."""
    if not path.is_file():
        return False
    try:
        with closing(sqlite3.connect(path)) as connection:
            names = {name for (name,) in connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'")}
    except sqlite3.DatabaseError:
        return False
    return "study" in names and "schema_version" not in names
