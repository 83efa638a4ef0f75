"""The image sets of one series while files are added to them."""

import gzip
import json
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field
from typing import Any

from datastore.importing.grouping import Member, NewImageSet, choose
from datastore.importing.instance import WrittenInstance
from datastore.importing.json_values import JsonObject
from datastore.importing.metadata import Dialect, Levels, document, encode, search_tags
from datastore.storage.records import ImageSetVersion
from datastore.storage.staging import Staging
from datastore.storage.storage import Storage


@dataclass(frozen=True)
class OpenImageSet(Member):
    """An image set that gets a new version; `instances` has the nodes of all its instances, old and new."""

    staging: Staging
    instances: dict[str, JsonObject]
    written: set[str] = field(default_factory=set)

    def put(self, instance: WrittenInstance) -> bool:
        """Add an instance; whether it replaces one with the same SOP Instance UID."""
        replaces = instance.sop_instance_uid in self.instances
        self.instances[instance.sop_instance_uid] = instance.node
        self.written.add(instance.sop_instance_uid)
        return replaces

    def frame_ids(self) -> Iterator[str]:
        """The frames of the new version."""
        return (frame["ID"] for node in self.instances.values() for frame in node["ImageFrames"])


class DocumentReader:
    """Reads the metadata of image sets. It remembers the last one, which is asked for several times."""

    def __init__(self, storage: Storage) -> None:
        self._storage = storage
        self._last: tuple[tuple[str, int], dict[str, Any]] | None = None

    def document(self, found: ImageSetVersion) -> dict[str, Any]:
        """The metadata of a version, which the caller does not change."""
        key = (found.image_set_id, found.version)
        if self._last is None or self._last[0] != key:
            whole: dict[str, Any] = json.loads(gzip.decompress(self._storage.metadata(*key)))
            self._last = key, whole
        return self._last[1]


class SeriesWriter:
    """Finds the image set for each instance of a series, and publishes the changed ones. A context manager."""

    def __init__(
        self,
        storage: Storage,
        documents: DocumentReader,
        dialect: Dialect,
        study_uid: str,
        series_uid: str,
        primaries_of_study: list[Levels],
    ) -> None:
        """`primaries_of_study` has the levels of the primary image sets of the study; new ones are added to it."""
        self._storage = storage
        self._documents = documents
        self._dialect = dialect
        self._primaries = primaries_of_study
        self._stagings = ExitStack()
        self._open: list[OpenImageSet] = []
        self._stored = [
            Member(found.image_set_id, found.is_primary, Levels.from_document(documents.document(found)))
            for found in storage.image_sets_of(study_uid, series_uid)
        ]

    def __enter__(self) -> "SeriesWriter":
        return self

    def __exit__(self, *_error: object) -> None:
        self._stagings.close()

    def open_for(self, levels: Levels) -> OpenImageSet:
        """The image set that an instance with these levels joins, opened for writing."""
        opened = {image_set.image_set_id for image_set in self._open}
        members = [*(member for member in self._stored if member.image_set_id not in opened), *self._open]
        chosen = choose(levels, members, self._primaries)
        if isinstance(chosen, OpenImageSet):
            return chosen
        image_set = self._created(levels, chosen) if isinstance(chosen, NewImageSet) else self._reopened(chosen)
        self._open.append(image_set)
        return image_set

    def _created(self, levels: Levels, new: NewImageSet) -> OpenImageSet:
        staging = self._stagings.enter_context(self._storage.stage())
        return OpenImageSet(staging.image_set_id, new.is_primary, levels, staging, {})

    def _reopened(self, member: Member) -> OpenImageSet:
        staging = self._stagings.enter_context(self._storage.stage(member.image_set_id))
        whole = self._documents.document(self._storage.image_set(member.image_set_id))
        (series,) = whole["Study"]["Series"].values()
        return OpenImageSet(member.image_set_id, member.is_primary, member.levels, staging, dict(series["Instances"]))

    def publish(self, *, is_indexed: bool) -> Iterator[tuple[ImageSetVersion, JsonObject]]:
        """Make the new versions exist, each with its metadata; the primary image set first."""
        for image_set in sorted(self._open, key=lambda image_set: not image_set.is_primary):
            if not image_set.written:
                continue
            staging, levels, instances = image_set.staging, image_set.levels, image_set.instances
            datastore_id = self._storage.datastore.datastore_id
            metadata = document(datastore_id, image_set.image_set_id, levels, instances, self._dialect)
            staging.keep_only(frozenset(image_set.frame_ids()))
            tags = search_tags(levels, len(instances))
            is_primary = image_set.is_primary
            version = self._storage.publish(
                staging, encode(metadata), is_primary=is_primary, tags=tags, is_indexed=is_indexed
            )
            if is_primary and version.version == 1:
                self._primaries.append(levels)
            yield version, metadata


def primary_levels(storage: Storage, documents: DocumentReader, study_uid: str) -> list[Levels]:
    """The levels of the primary image sets of a study."""
    found = storage.image_sets_of(study_uid)
    return [Levels.from_document(documents.document(each)) for each in found if each.is_primary]
