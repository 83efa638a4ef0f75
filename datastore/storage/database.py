"""The SQLite database of a data store folder, in WAL mode: connection, transactions and schema."""

import os
import sqlite3
import threading
import weakref
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

FORMAT = 1
"""The format of the folder, kept as SQLite's user_version; 0 is a new database."""

_BUSY_SECONDS = 60.0

_SCHEMA = """
CREATE TABLE datastore (
    datastore_id TEXT PRIMARY KEY, name TEXT NOT NULL, status TEXT NOT NULL, arn TEXT NOT NULL,
    created_at REAL NOT NULL, updated_at REAL NOT NULL, lossless_storage_format TEXT NOT NULL);
CREATE TABLE image_set (
    image_set_id TEXT PRIMARY KEY, latest INTEGER NOT NULL, created_at REAL NOT NULL,
    locked INTEGER NOT NULL DEFAULT 0, indexed_version INTEGER NOT NULL DEFAULT 0,
    study_instance_uid TEXT NOT NULL, series_instance_uid TEXT NOT NULL);
CREATE INDEX image_set_uids ON image_set (study_instance_uid, series_instance_uid);
CREATE TABLE version (
    image_set_id TEXT NOT NULL REFERENCES image_set ON DELETE CASCADE, version INTEGER NOT NULL,
    updated_at REAL NOT NULL, workflow_status TEXT NOT NULL, is_primary INTEGER NOT NULL, tags TEXT NOT NULL,
    PRIMARY KEY (image_set_id, version)) WITHOUT ROWID;
CREATE TABLE frame (
    image_set_id TEXT NOT NULL REFERENCES image_set ON DELETE CASCADE, frame_id TEXT NOT NULL,
    version INTEGER NOT NULL, content_type TEXT NOT NULL,
    PRIMARY KEY (image_set_id, frame_id)) WITHOUT ROWID;
"""

_INDEXES = """
CREATE INDEX IF NOT EXISTS image_set_created ON image_set (created_at, image_set_id);
CREATE INDEX IF NOT EXISTS version_updated ON version (updated_at, image_set_id)
"""
"""Indexes that a folder of before may lack; they are no part of its format."""


class CatalogueDatabase:
    """One connection for all threads of a process; a forked child opens its own."""

    def __init__(self, path: Path) -> None:
        """Open the database, or create it if it is missing; ValueError if it has another format.

        Only one process may do this at a time.
        """
        self._path = path
        self._lock = threading.RLock()
        self._connected_pid = 0
        with self.transaction() as connection:
            (user_version,) = connection.execute("PRAGMA user_version").fetchone()
            if user_version == 0:
                for statement in _SCHEMA.split(";"):
                    connection.execute(statement)
                connection.execute(f"PRAGMA user_version = {FORMAT}")
            elif user_version != FORMAT:
                raise ValueError(f"the data store has format {user_version}, this program knows {FORMAT}")
            for statement in _INDEXES.split(";"):
                connection.execute(statement)

    def rows(self, statement: str, *values: Any) -> list[sqlite3.Row]:
        """The rows of a SELECT."""
        with self._lock:
            return self._connection().execute(statement, values).fetchall()

    @contextmanager
    def transaction(self) -> Iterator[sqlite3.Connection]:
        """Write all or nothing; other writers wait."""
        with self._lock:
            connection = self._connection()
            connection.execute("BEGIN IMMEDIATE")
            try:
                yield connection
            except BaseException:
                connection.execute("ROLLBACK")
                raise
            connection.execute("COMMIT")

    def _connection(self) -> sqlite3.Connection:
        if self._connected_pid != os.getpid():
            connection = sqlite3.connect(
                self._path, timeout=_BUSY_SECONDS, isolation_level=None, check_same_thread=False
            )
            connection.row_factory = sqlite3.Row
            connection.execute("PRAGMA journal_mode = WAL")
            connection.execute("PRAGMA foreign_keys = ON")
            weakref.finalize(self, connection.close)
            self._connected, self._connected_pid = connection, os.getpid()
        return self._connected
