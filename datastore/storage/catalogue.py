"""The catalogue of a data store folder: which image sets, versions and frames there are.

A commit here makes a version of an image set exist. Files without a row do not count.
"""

import json
import secrets
import sqlite3
import time
from collections.abc import Iterator, Mapping, Sequence

from datastore.storage.database import CatalogueDatabase
from datastore.storage.records import (
    LOSSLESS_STORAGE_FORMATS,
    DatastoreProperties,
    ImageSetVersion,
    Tags,
    UnknownImageSet,
)

_IS_LATEST = "version.version = image_set.latest"
_OLDEST_FIRST = "ORDER BY image_set.rowid"
_ROWS_AT_ONCE = 200
_MARK_INDEXED = "UPDATE image_set SET indexed_version = ? WHERE image_set_id = ?"
_SORTED = {
    "created_at": "SELECT * FROM image_set CROSS JOIN version USING (image_set_id)",
    "updated_at": "SELECT * FROM version CROSS JOIN image_set USING (image_set_id)",
}
"""For each time that can be sorted by: the tables in the order in which its index is read, which CROSS keeps."""


class Catalogue:
    """The statements on the database of one folder. Safe to share between threads."""

    def __init__(self, database: CatalogueDatabase) -> None:
        self._database = database

    def datastore(self, lossless_storage_format: str | None) -> DatastoreProperties:
        """The one data store of the folder, created if it is missing.

        `lossless_storage_format` is decided when it is created, by default what this Python can encode. ValueError if
        it is not one of AHI's, or if the data store has another.
        """
        if lossless_storage_format not in (None, *LOSSLESS_STORAGE_FORMATS):
            formats = ", ".join(LOSSLESS_STORAGE_FORMATS)
            raise ValueError(f"lossless storage format {lossless_storage_format} is not one of {formats}")
        rows = self._database.rows("SELECT * FROM datastore")
        if not rows:
            self._create_datastore(lossless_storage_format or _encodable_format())
            rows = self._database.rows("SELECT * FROM datastore")
        datastore = DatastoreProperties(**dict(rows[0]))
        if lossless_storage_format not in (None, datastore.lossless_storage_format):
            raise ValueError(f"the lossless storage format of the data store is {datastore.lossless_storage_format}")
        return datastore

    def image_set(self, image_set_id: str, version: int | None) -> ImageSetVersion:
        """One version, None for the latest; UnknownImageSet."""
        if version is None:
            versions = self._versions(f"image_set_id = ? AND {_IS_LATEST}", image_set_id)
        else:
            versions = self._versions("image_set_id = ? AND version.version = ?", image_set_id, version)
        if not versions:
            raise UnknownImageSet(image_set_id)
        return versions[0]

    def versions(self, image_set_id: str) -> list[ImageSetVersion]:
        """All versions of an image set, newest first; UnknownImageSet."""
        versions = self._versions("image_set_id = ? ORDER BY version.version DESC", image_set_id)
        if not versions:
            raise UnknownImageSet(image_set_id)
        return versions

    def latest(self) -> list[ImageSetVersion]:
        """The latest version of each image set, oldest image set first."""
        return self._versions(f"{_IS_LATEST} {_OLDEST_FIRST}")

    def latest_by(
        self,
        column: str,
        *,
        descending: bool,
        bounds: Sequence[tuple[float, float]],
        after: tuple[float, str] | None,
    ) -> Iterator[ImageSetVersion]:
        """The latest version of each image set in the order of a time, then of the ID: `Storage.image_sets_by`."""
        statement, key = _SORTED[column], f"({column}, image_set_id)"
        comparison, order = ("<", "DESC") if descending else (">", "ASC")
        conditions = [_IS_LATEST, *(f"{column} BETWEEN ? AND ?" for _ in bounds)]
        values: list[float | str] = [end for ends in bounds for end in ends]
        while True:
            behind = [f"{key} {comparison} (?, ?)"] if after else []
            rows = self._database.rows(
                f"{statement} WHERE {' AND '.join(conditions + behind)}"  # noqa: S608 - ours
                f" ORDER BY {column} {order}, image_set_id {order} LIMIT {_ROWS_AT_ONCE}",
                *values,
                *(after or ()),
            )
            yield from map(_from_row, rows)
            if len(rows) < _ROWS_AT_ONCE:
                return
            after = (rows[-1][column], rows[-1]["image_set_id"])

    def latest_of(self, study_instance_uid: str, series_instance_uid: str | None) -> list[ImageSetVersion]:
        """The latest versions of the image sets of a study, or of one of its series, oldest image set first."""
        return self._versions(
            f"{_IS_LATEST} AND study_instance_uid = ? AND series_instance_uid = ifnull(?, series_instance_uid)"
            f" {_OLDEST_FIRST}",
            study_instance_uid,
            series_instance_uid,
        )

    def unindexed(self) -> list[ImageSetVersion]:
        """The latest versions that are not indexed yet, oldest image set first."""
        return self._versions(f"{_IS_LATEST} AND indexed_version < latest {_OLDEST_FIRST}")

    def all_versions(self) -> set[tuple[str, int]]:
        """The ID of the image set and the number of each version that exists."""
        rows = self._database.rows("SELECT image_set_id, version FROM version")
        return {(row["image_set_id"], row["version"]) for row in rows}

    def frame(self, image_set_id: str, frame_id: str) -> tuple[int, str] | None:
        """The version that a frame came with, and its Content-Type; None if there is no such frame."""
        rows = self._database.rows(
            "SELECT version, content_type FROM frame WHERE image_set_id = ? AND frame_id = ?", image_set_id, frame_id
        )
        return (rows[0]["version"], rows[0]["content_type"]) if rows else None

    def frame_ids(self, image_set_id: str) -> frozenset[str]:
        """The frames of all versions of an image set."""
        rows = self._database.rows("SELECT frame_id FROM frame WHERE image_set_id = ?", image_set_id)
        return frozenset(row["frame_id"] for row in rows)

    def add_version(
        self,
        image_set_id: str,
        version: int,
        content_types: Mapping[str, str],
        *,
        is_primary: bool,
        tags: Tags,
        is_indexed: bool = False,
    ) -> None:
        """Add a version, and its new frames with their Content-Types by ID.

        UnknownImageSet if the image set was deleted meanwhile.
        """
        now = time.time()
        with self._database.transaction() as connection:
            _set_latest(connection, image_set_id, version, tags, now)
            status = "CREATED" if version == 1 else "UPDATED"
            connection.execute(
                "INSERT INTO version VALUES (?, ?, ?, ?, ?, ?)",
                (image_set_id, version, now, status, is_primary, json.dumps(tags)),
            )
            frames = [(image_set_id, frame_id, version, kind) for frame_id, kind in content_types.items()]
            connection.executemany("INSERT INTO frame VALUES (?, ?, ?, ?)", frames)
            if is_indexed:
                connection.execute(_MARK_INDEXED, (version, image_set_id))

    def delete(self, image_set_id: str) -> None:
        """Delete an image set with all its versions. UnknownImageSet."""
        self._change("DELETE FROM image_set WHERE image_set_id = ?", image_set_id)

    def set_locked(self, image_set_id: str, locked: bool) -> None:
        """Set the state of an image set to LOCKED or ACTIVE. UnknownImageSet."""
        self._change("UPDATE image_set SET locked = ? WHERE image_set_id = ?", locked, image_set_id)

    def mark_indexed(self, image_set_id: str, version: int) -> None:
        """Note that a version is indexed. UnknownImageSet."""
        self._change(_MARK_INDEXED, version, image_set_id)

    def _create_datastore(self, lossless_storage_format: str) -> None:
        datastore_id, now = secrets.token_hex(16), time.time()
        arn = f"arn:aws:medical-imaging:us-east-1:000000000000:datastore/{datastore_id}"
        row = (datastore_id, "local", "ACTIVE", arn, now, now, lossless_storage_format)
        with self._database.transaction() as connection:
            connection.execute("INSERT INTO datastore VALUES (?, ?, ?, ?, ?, ?, ?)", row)

    def _change(self, statement: str, *values: object) -> None:
        """Change one image set, the ID of which is the last value; UnknownImageSet."""
        with self._database.transaction() as connection:
            if not connection.execute(statement, values).rowcount:
                raise UnknownImageSet(values[-1])

    def _versions(self, condition: str, *values: object) -> list[ImageSetVersion]:
        statement = f"SELECT * FROM image_set JOIN version USING (image_set_id) WHERE {condition}"  # noqa: S608 - ours
        return [_from_row(row) for row in self._database.rows(statement, *values)]


def _set_latest(connection: sqlite3.Connection, image_set_id: str, version: int, tags: Tags, now: float) -> None:
    """Make a version the latest one; the first creates the image set. UnknownImageSet."""
    if version == 1:
        uids = (tags["DICOMStudyInstanceUID"], tags["DICOMSeriesInstanceUID"])
        connection.execute(
            "INSERT INTO image_set (image_set_id, latest, created_at, study_instance_uid, series_instance_uid)"
            " VALUES (?, 1, ?, ?, ?)",
            (image_set_id, now, *uids),
        )
    elif not connection.execute(
        "UPDATE image_set SET latest = ? WHERE image_set_id = ? AND latest = ?", (version, image_set_id, version - 1)
    ).rowcount:
        raise UnknownImageSet(image_set_id)


def _from_row(row: sqlite3.Row) -> ImageSetVersion:
    return ImageSetVersion(
        image_set_id=row["image_set_id"],
        version=row["version"],
        created_at=row["created_at"],
        updated_at=row["updated_at"],
        deleted_at=None,
        state="LOCKED" if row["locked"] else "ACTIVE",
        workflow_status=row["workflow_status"],
        is_primary=bool(row["is_primary"]),
        tags=json.loads(row["tags"]),
    )


def _encodable_format() -> str:
    import imagecodecs  # noqa: PLC0415 - slow to load, and readers of a data store have no use for it

    has_openjph = getattr(getattr(imagecodecs, "HTJ2K", None), "available", False)  # not in the builds for 3.10
    return "HTJ2K" if has_openjph else "JPEG_2000_LOSSLESS"
