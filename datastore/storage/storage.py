"""A data store folder: frames and metadata as files, and the catalogue of what exists.

    catalogue.sqlite                                     what exists
    image_sets/<id[:2]>/<id>/<version>/metadata.json.gz  the blob of GetImageSetMetadata
    image_sets/<id[:2]>/<id>/<version>/<frame id>        the frames that came with this version
    staging/                                             what is being imported
    import.unfinished                                    an import has begun and not ended

A version is written aside as one folder. Then the folder is renamed into place, and one short transaction makes it
exist. A process that is killed before that leaves files without a row; the next import or open deletes them. Any
number of processes and threads may read meanwhile.
"""

import gzip
import secrets
import shutil
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from datastore.storage.catalogue import Catalogue
from datastore.storage.database import CatalogueDatabase
from datastore.storage.records import (
    DatastoreProperties,
    ImageSetVersion,
    StoredFrame,
    Tags,
    UnknownFrame,
    UnknownImageSet,
)
from datastore.storage.staging import Staging
from runtime.durable_files import lock_file, sync_files, sync_folder

_METADATA = "metadata.json.gz"
_GZIP_LEVEL = 6
_UNFINISHED = "import.unfinished"


class Storage:
    """The image sets of a folder. Safe to share between threads; only one process at a time may be `importing`."""

    def __init__(self, root: Path, catalogue: Catalogue, datastore: DatastoreProperties) -> None:
        self.root = root
        self.datastore = datastore
        self._catalogue = catalogue

    @classmethod
    def open(cls, root: Path, *, lossless_storage_format: str | None = None) -> "Storage":
        """The data store in a folder, created if it is missing; what a killed import left behind is deleted.

        ValueError for a lossless storage format as `Catalogue.datastore`.
        """
        root = root.absolute()
        for folder in (root / "image_sets", root / "staging"):
            folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        with lock_file(root / "open.lock"):
            catalogue = Catalogue(CatalogueDatabase(root / "catalogue.sqlite"))
            datastore = catalogue.datastore(lossless_storage_format)
        storage = cls(root, catalogue, datastore)
        try:
            with storage._import_lock(wait=False):
                storage._delete_leftovers()
        except BlockingIOError:  # another process imports, and did this before
            pass
        return storage

    def image_set(self, image_set_id: str, version: int | None = None) -> ImageSetVersion:
        """One version, by default the latest; UnknownImageSet."""
        return self._catalogue.image_set(image_set_id, version)

    def versions(self, image_set_id: str) -> list[ImageSetVersion]:
        """All versions, newest first; UnknownImageSet."""
        return self._catalogue.versions(image_set_id)

    def image_sets(self) -> list[ImageSetVersion]:
        """The latest version of each image set, oldest image set first."""
        return self._catalogue.latest()

    def image_sets_by(
        self,
        column: str,
        *,
        descending: bool = False,
        bounds: Sequence[tuple[float, float]] = (),
        after: tuple[float, str] | None = None,
    ) -> Iterator[ImageSetVersion]:
        """The latest version of each image set in the order of `created_at` or `updated_at`, then of the ID.

        `bounds` are ranges of that time that hold it, both ends included. `after` is the time and the ID of the image
        set behind which to begin.
        """
        return self._catalogue.latest_by(column, descending=descending, bounds=bounds, after=after)

    def image_sets_of(self, study_instance_uid: str, series_instance_uid: str | None = None) -> list[ImageSetVersion]:
        """The latest versions of the image sets of a study, or of one of its series, oldest image set first."""
        return self._catalogue.latest_of(study_instance_uid, series_instance_uid)

    def metadata(self, image_set_id: str, version: int | None = None) -> bytes:
        """The gzip bytes of the metadata blob; UnknownImageSet."""
        image_set = self.image_set(image_set_id, version)
        try:
            return (self._folder(image_set_id, image_set.version) / _METADATA).read_bytes()
        except FileNotFoundError:  # deleted since the query
            raise UnknownImageSet(image_set_id) from None

    def frame(self, image_set_id: str, frame_id: str) -> StoredFrame:
        """The file of a frame; UnknownImageSet, UnknownFrame."""
        frame = self._catalogue.frame(image_set_id, frame_id)
        if frame is None:
            self.image_set(image_set_id)
            raise UnknownFrame(frame_id)
        version, content_type = frame
        return StoredFrame(self._folder(image_set_id, version) / frame_id, content_type)

    @contextmanager
    def importing(self) -> Iterator[None]:
        """Be the process that stages and publishes; waits for another one, and deletes what a killed one left."""
        mark = self.root / _UNFINISHED
        with self._import_lock(wait=True):
            if mark.exists():
                self._delete_leftovers()
            mark.touch(mode=0o600)
            yield
            mark.unlink()  # not after an error: it may have left files

    @contextmanager
    def stage(self, image_set_id: str | None = None) -> Iterator[Staging]:
        """Begin the next version of an image set, or a new image set; it is deleted afterwards unless published.

        Only within `importing`. UnknownImageSet if the image set does not exist.
        """
        version, stored_frame_ids = 1, frozenset[str]()
        if image_set_id is None:
            image_set_id = secrets.token_hex(16)
        else:
            version = self.image_set(image_set_id).version + 1
            stored_frame_ids = self._catalogue.frame_ids(image_set_id)
        folder = self.root / "staging" / f"{image_set_id}.{version}"
        folder.mkdir(mode=0o700)
        try:
            yield Staging(folder, image_set_id, version, stored_frame_ids)
        finally:
            shutil.rmtree(folder, ignore_errors=True)

    def publish(
        self, staging: Staging, metadata: bytes, *, is_primary: bool, tags: Tags, is_indexed: bool = False
    ) -> ImageSetVersion:
        """Make a staged version exist, all of it or nothing; `metadata` is the JSON of the blob, not compressed yet.

        `tags` name the study and the series. With `is_indexed`, its rows are none of our business. UnknownImageSet if
        the image set was deleted meanwhile.
        """
        image_set_id, version = staging.image_set_id, staging.version
        (staging.folder / _METADATA).write_bytes(gzip.compress(metadata, _GZIP_LEVEL, mtime=0))
        sync_files([*staging.folder.iterdir(), staging.folder])
        place = self._folder(image_set_id, version)
        made = [folder for folder in (place.parent.parent, place.parent) if not folder.exists()]
        place.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        staging.folder.rename(place)
        for folder in (place.parent, *(folder.parent for folder in reversed(made))):
            sync_folder(folder)
        self._catalogue.add_version(
            image_set_id, version, staging.content_types, is_primary=is_primary, tags=tags, is_indexed=is_indexed
        )
        return self.image_set(image_set_id, version)

    def delete(self, image_set_id: str) -> None:
        """Delete an image set with all its versions. UnknownImageSet."""
        self._catalogue.delete(image_set_id)
        shutil.rmtree(self._folder(image_set_id, 0).parent, ignore_errors=True)

    def lock(self, image_set_id: str, locked: bool) -> None:
        """Set the state of an image set to LOCKED, or back to ACTIVE. UnknownImageSet."""
        self._catalogue.set_locked(image_set_id, locked)

    def unindexed(self) -> list[ImageSetVersion]:
        """The latest versions that are not indexed yet, oldest image set first."""
        return self._catalogue.unindexed()

    def mark_indexed(self, image_set_id: str, version: int) -> None:
        """Note that a version is indexed. UnknownImageSet."""
        self._catalogue.mark_indexed(image_set_id, version)

    def _folder(self, image_set_id: str, version: int) -> Path:
        return self.root / "image_sets" / image_set_id[:2] / image_set_id / str(version)

    @contextmanager
    def _import_lock(self, *, wait: bool) -> Iterator[None]:
        with lock_file(self.root / "import.lock", wait=wait):
            yield

    def _delete_leftovers(self) -> None:
        """Delete the files that have no row; the import lock is held."""
        for folder in (self.root / "staging").iterdir():
            shutil.rmtree(folder)
        existing = {(image_set_id, str(version)) for image_set_id, version in self._catalogue.all_versions()}
        for folder in (self.root / "image_sets").glob("*/*"):
            for version in folder.iterdir():
                if (folder.name, version.name) not in existing:
                    shutil.rmtree(version)
            if not any(folder.iterdir()):
                folder.rmdir()
        (self.root / _UNFINISHED).unlink(missing_ok=True)
