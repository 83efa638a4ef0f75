"""Image sets on disk: frames and metadata as files, the catalogue beside them.

    catalogue.sqlite                                     what exists
    image_sets/<id[:2]>/<id>/<version>/metadata.json.gz  the blob of GetImageSetMetadata
    image_sets/<id[:2]>/<id>/<version>/<frame id>        the frames that came with this version
    staging/                                             what is being imported

A version is written aside as one folder, the folder is renamed into place, and one short transaction makes it exist.
Whoever is killed before that leaves files without a row, which the next import or open takes away. Any number of
processes and threads may read meanwhile.
"""

import fcntl
import gzip
import json
import os
import secrets
import shutil
import sqlite3
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from datastore.storage.catalogue import Catalogue

LOSSLESS_STORAGE_FORMATS = ("HTJ2K", "JPEG_2000_LOSSLESS")
_METADATA = "metadata.json.gz"
_GZIP_LEVEL = 6

Tags = Mapping[str, str | int | None]


@dataclass(frozen=True)
class DatastoreProperties:
    """What GetDatastore tells; moments are seconds since 1970."""

    datastore_id: str
    name: str
    status: str
    arn: str
    created_at: float
    updated_at: float
    lossless_storage_format: str


@dataclass(frozen=True)
class ImageSetVersion:
    """What GetImageSet tells of one version; `tags` are the DICOMTags of SearchImageSets. Seconds since 1970."""

    image_set_id: str
    version: int
    created_at: float
    updated_at: float
    deleted_at: float | None
    state: str
    workflow_status: str
    is_primary: bool
    tags: Tags


@dataclass(frozen=True)
class StoredFrame:
    """The file that holds one frame, and the Content-Type that AHI gives it."""

    path: Path
    content_type: str


class UnknownImageSet(LookupError):
    """There is no such image set or version, or no longer."""


class UnknownFrame(LookupError):
    """The image set has no such frame."""


class Staging:
    """A version of an image set that is being written; `Storage.publish` makes it exist."""

    def __init__(self, folder: Path, image_set_id: str, version: int, known: frozenset[str]) -> None:
        self.folder = folder
        self.image_set_id = image_set_id
        self.version = version
        self.content_types: dict[str, str] = {}
        self._known = known
        self._lock = threading.Lock()

    def add_frame(self, frame_id: str, stored: bytes, content_type: str) -> None:
        """Write one frame, unless it is there already: what is behind a frame ID never changes. For any thread."""
        with self._lock:
            if frame_id in self._known or frame_id in self.content_types:
                return
            self.content_types[frame_id] = content_type
        _write(self.folder / frame_id, stored)

    def keep_only(self, frame_ids: frozenset[str]) -> None:
        """Give up the frames that turned out not to be needed."""
        for frame_id in self.content_types.keys() - frame_ids:
            (self.folder / frame_id).unlink()
            del self.content_types[frame_id]


class Storage:
    """A data store folder. Safe to share between threads; `importing` is what one process at a time may do."""

    def __init__(self, root: Path, catalogue: Catalogue, datastore: DatastoreProperties) -> None:
        self.root = root
        self.datastore = datastore
        self._catalogue = catalogue

    @classmethod
    def open(cls, root: Path, *, lossless_storage_format: str | None = None) -> "Storage":
        """The data store in a folder, made when it is missing; what a killed import left behind is taken away.

        `lossless_storage_format` is settled when the data store is made, by default what this Python can encode;
        ValueError if it is not one of AHI's, or if the data store has another.
        """
        root = root.absolute()
        for folder in (root / "image_sets", root / "staging"):
            folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        with _locked(root / "open.lock"):
            catalogue = Catalogue(root / "catalogue.sqlite")
            datastore = _datastore(catalogue, lossless_storage_format)
        storage = cls(root, catalogue, datastore)
        try:
            with storage._import_lock(wait=False):
                storage._clean()
        except BlockingIOError:  # another process is importing, and cleaned before it began
            pass
        return storage

    def image_set(self, image_set_id: str, version: int | None = None) -> ImageSetVersion:
        """One version, by default the latest; UnknownImageSet."""
        chosen = "image_set.latest" if version is None else "?"
        rows = self._versions(
            f"image_set_id = ? AND version.version = {chosen}", image_set_id, *([] if version is None else [version])
        )
        if not rows:
            raise UnknownImageSet(image_set_id)
        return rows[0]

    def versions(self, image_set_id: str) -> list[ImageSetVersion]:
        """All versions, newest first; UnknownImageSet."""
        rows = self._versions("image_set_id = ? ORDER BY version.version DESC", image_set_id)
        if not rows:
            raise UnknownImageSet(image_set_id)
        return rows

    def image_sets(self) -> list[ImageSetVersion]:
        """The latest version of each image set, oldest image set first."""
        return self._versions("version.version = image_set.latest ORDER BY image_set.rowid")

    def image_sets_of(self, study_instance_uid: str, series_instance_uid: str | None = None) -> list[ImageSetVersion]:
        """The latest versions of the image sets of a study, or of one series of it, oldest image set first."""
        return self._versions(
            "version.version = image_set.latest AND study_instance_uid = ?"
            " AND series_instance_uid = ifnull(?, series_instance_uid) ORDER BY image_set.rowid",
            study_instance_uid,
            series_instance_uid,
        )

    def metadata(self, image_set_id: str, version: int | None = None) -> bytes:
        """The gzip bytes of the metadata blob; UnknownImageSet."""
        found = self.image_set(image_set_id, version)
        try:
            return (self._folder(image_set_id, found.version) / _METADATA).read_bytes()
        except FileNotFoundError:  # deleted between two moments
            raise UnknownImageSet(image_set_id) from None

    def frame(self, image_set_id: str, frame_id: str) -> StoredFrame:
        """Where a frame is; UnknownImageSet, UnknownFrame."""
        rows = self._catalogue.rows(
            "SELECT version, content_type FROM frame WHERE image_set_id = ? AND frame_id = ?", image_set_id, frame_id
        )
        if not rows:
            self.image_set(image_set_id)
            raise UnknownFrame(frame_id)
        return StoredFrame(self._folder(image_set_id, rows[0]["version"]) / frame_id, rows[0]["content_type"])

    @contextmanager
    def importing(self) -> Iterator[None]:
        """Be the one who stages and publishes; waits while another process is. What a killed one left is taken away."""
        with self._import_lock(wait=True):
            self._clean()
            yield

    @contextmanager
    def stage(self, image_set_id: str | None = None) -> Iterator[Staging]:
        """Begin the next version of an image set, or a new image set; what is not published is gone afterwards.

        Only within `importing`. UnknownImageSet if the image set does not exist.
        """
        version, known = 1, frozenset[str]()
        if image_set_id is None:
            image_set_id = secrets.token_hex(16)
        else:
            version = self.image_set(image_set_id).version + 1
            rows = self._catalogue.rows("SELECT frame_id FROM frame WHERE image_set_id = ?", image_set_id)
            known = frozenset(row["frame_id"] for row in rows)
        folder = self.root / "staging" / f"{image_set_id}.{version}"
        folder.mkdir(mode=0o700)
        try:
            yield Staging(folder, image_set_id, version, known)
        finally:
            shutil.rmtree(folder, ignore_errors=True)

    def publish(self, staging: Staging, metadata: bytes, *, is_primary: bool, tags: Tags) -> ImageSetVersion:
        """Make a staged version exist, all of it or nothing; `metadata` is the JSON of the blob, not yet compressed.

        `tags` name the study and the series. UnknownImageSet if the image set was deleted meanwhile.
        """
        _write(staging.folder / _METADATA, gzip.compress(metadata, _GZIP_LEVEL, mtime=0))
        _sync(staging.folder)
        place = self._folder(staging.image_set_id, staging.version)
        place.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        staging.folder.rename(place)
        for folder in (place.parent, place.parent.parent, self.root / "image_sets"):
            _sync(folder)
        with self._catalogue.transaction() as connection:
            _insert(connection, staging, is_primary, tags)
        return self.image_set(staging.image_set_id, staging.version)

    def delete(self, image_set_id: str) -> None:
        """Remove an image set with all its versions; later reads find nothing. UnknownImageSet."""
        with self._catalogue.transaction() as connection:
            gone = connection.execute("DELETE FROM image_set WHERE image_set_id = ?", (image_set_id,)).rowcount
        if not gone:
            raise UnknownImageSet(image_set_id)
        shutil.rmtree(self._folder(image_set_id, 0).parent, ignore_errors=True)

    def lock(self, image_set_id: str, locked: bool) -> None:
        """Set the state of an image set to LOCKED, or back to ACTIVE. UnknownImageSet."""
        self._update("UPDATE image_set SET locked = ? WHERE image_set_id = ?", locked, image_set_id)

    def unindexed(self) -> list[ImageSetVersion]:
        """The latest versions that the index has not been told of, oldest image set first."""
        return self._versions(
            "version.version = image_set.latest AND indexed_version < latest ORDER BY image_set.rowid"
        )

    def mark_indexed(self, image_set_id: str, version: int) -> None:
        """Note that the index has been told of a version. UnknownImageSet."""
        self._update("UPDATE image_set SET indexed_version = ? WHERE image_set_id = ?", version, image_set_id)

    def _update(self, statement: str, value: int, image_set_id: str) -> None:
        with self._catalogue.transaction() as connection:
            if not connection.execute(statement, (value, image_set_id)).rowcount:
                raise UnknownImageSet(image_set_id)

    def _versions(self, condition: str, *values: object) -> list[ImageSetVersion]:
        statement = f"SELECT * FROM image_set JOIN version USING (image_set_id) WHERE {condition}"  # noqa: S608 - ours
        return [_version(row) for row in self._catalogue.rows(statement, *values)]

    def _folder(self, image_set_id: str, version: int) -> Path:
        return self.root / "image_sets" / image_set_id[:2] / image_set_id / str(version)

    @contextmanager
    def _import_lock(self, *, wait: bool) -> Iterator[None]:
        with _locked(self.root / "import.lock", wait=wait):
            yield

    def _clean(self) -> None:
        """Take away what no row speaks of; the import lock is held."""
        for left in (self.root / "staging").iterdir():
            shutil.rmtree(left)
        rows = self._catalogue.rows("SELECT image_set_id, version FROM version")
        exist = {(row["image_set_id"], str(row["version"])) for row in rows}
        for folder in (self.root / "image_sets").glob("*/*"):
            for version in folder.iterdir():
                if (folder.name, version.name) not in exist:
                    shutil.rmtree(version)
            if not any(folder.iterdir()):
                folder.rmdir()


def _insert(connection: sqlite3.Connection, staging: Staging, is_primary: bool, tags: Tags) -> None:
    image_set_id, version, now = staging.image_set_id, staging.version, time.time()
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
    status = "CREATED" if version == 1 else "UPDATED"
    connection.execute(
        "INSERT INTO version VALUES (?, ?, ?, ?, ?, ?)",
        (image_set_id, version, now, status, is_primary, json.dumps(tags)),
    )
    rows = [(image_set_id, frame_id, version, kind) for frame_id, kind in staging.content_types.items()]
    connection.executemany("INSERT INTO frame VALUES (?, ?, ?, ?)", rows)


def _version(row: sqlite3.Row) -> ImageSetVersion:
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


def _datastore(catalogue: Catalogue, wanted_format: str | None) -> DatastoreProperties:
    """The one data store of a catalogue, made when it is missing."""
    if wanted_format not in (None, *LOSSLESS_STORAGE_FORMATS):
        raise ValueError(f"lossless storage format {wanted_format} is not one of {', '.join(LOSSLESS_STORAGE_FORMATS)}")
    rows = catalogue.rows("SELECT * FROM datastore")
    if not rows:
        datastore_id, now = secrets.token_hex(16), time.time()
        arn = f"arn:aws:medical-imaging:us-east-1:000000000000:datastore/{datastore_id}"
        chosen = wanted_format or _encodable_format()
        with catalogue.transaction() as connection:
            row = (datastore_id, "local", "ACTIVE", arn, now, now, chosen)
            connection.execute("INSERT INTO datastore VALUES (?, ?, ?, ?, ?, ?, ?)", row)
        rows = catalogue.rows("SELECT * FROM datastore")
    datastore = DatastoreProperties(**dict(rows[0]))
    if wanted_format not in (None, datastore.lossless_storage_format):
        raise ValueError(f"the lossless storage format of the data store is {datastore.lossless_storage_format}")
    return datastore


def _encodable_format() -> str:
    import imagecodecs  # noqa: PLC0415 - slow to load, and readers of a data store have no use for it

    has_openjph = getattr(getattr(imagecodecs, "HTJ2K", None), "available", False)  # not in the builds for 3.10
    return "HTJ2K" if has_openjph else "JPEG_2000_LOSSLESS"


@contextmanager
def _locked(path: Path, *, wait: bool = True) -> Iterator[None]:
    """Hold a lock file, which the operating system gives up for whoever is killed; BlockingIOError."""
    with path.open("wb") as file:
        fcntl.flock(file, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
        yield


def _write(path: Path, content: bytes) -> None:
    with path.open("xb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())


def _sync(folder: Path) -> None:
    """Put the names in a folder on disk."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
