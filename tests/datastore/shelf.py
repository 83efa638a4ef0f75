"""A storage in memory, with whatever image sets a test needs; frames are files, as in the real one."""

import gzip
import json
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from datastore.storage.records import DatastoreProperties, ImageSetVersion, StoredFrame, UnknownFrame, UnknownImageSet

DATASTORE_ID = "d" * 32
ARN = f"arn:aws:medical-imaging:us-east-1:111122223333:datastore/{DATASTORE_ID}"


def identifier(number: int) -> str:
    """The ID of an image set."""
    return f"{number:032x}"


def frame_id(number: int) -> str:
    """The ID of a frame."""
    return f"f{number:031x}"


def image_set(number: int, *, tags: Mapping[str, str | int | None] | None = None, **changes: Any) -> ImageSetVersion:
    """An image set created and updated `number` seconds after the beginning of 2024."""
    moment = 1_704_067_200.25 + number
    made = ImageSetVersion(
        image_set_id=identifier(number),
        version=1,
        created_at=moment,
        updated_at=moment,
        deleted_at=None,
        state="ACTIVE",
        workflow_status="CREATED",
        is_primary=True,
        tags=tags or {"DICOMPatientId": f"P{number}", "DICOMStudyInstanceUID": f"1.{number}", "DICOMSeriesNumber": 2},
    )
    return replace(made, **changes)


class Shelf:
    """Reads like a `Storage`."""

    def __init__(self, *versions: ImageSetVersion, frames: Mapping[str, tuple[Path, str]] | None = None) -> None:
        self._versions = versions
        self._frames = frames or {}

    datastore = DatastoreProperties(
        datastore_id=DATASTORE_ID,
        name="shelf",
        status="ACTIVE",
        arn=ARN,
        created_at=1_704_067_200.5,
        updated_at=1_704_067_201.5,
        lossless_storage_format="HTJ2K",
    )

    def image_sets(self) -> Sequence[ImageSetVersion]:
        latest = {version.image_set_id: version for version in self._versions}
        return list(latest.values())

    def image_sets_of(self, study_instance_uid: str) -> Sequence[ImageSetVersion]:
        return [found for found in self.image_sets() if found.tags.get("DICOMStudyInstanceUID") == study_instance_uid]

    def image_sets_by(
        self,
        column: str,
        *,
        descending: bool = False,
        bounds: Sequence[tuple[float, float]] = (),
        after: tuple[float, str] | None = None,
    ) -> Sequence[ImageSetVersion]:
        def place(found: ImageSetVersion) -> tuple[float, str]:
            return getattr(found, column), found.image_set_id

        within = [
            found for found in self.image_sets() if all(first <= place(found)[0] <= last for first, last in bounds)
        ]
        behind = [found for found in within if after is None or (place(found) > after) != descending]
        return [found for found in sorted(behind, key=place, reverse=descending) if place(found) != after]

    def versions(self, image_set_id: str) -> Sequence[ImageSetVersion]:
        return [version for version in self._versions if version.image_set_id == image_set_id]

    def image_set(self, image_set_id: str, version: int | None = None) -> ImageSetVersion:
        found = [each for each in self.versions(image_set_id) if version in (None, each.version)]
        if not found:
            raise UnknownImageSet(image_set_id)
        return found[-1]

    def metadata(self, image_set_id: str, version: int | None = None) -> bytes:
        found = self.image_set(image_set_id, version)
        return gzip.compress(json.dumps({"ImageSetID": image_set_id, "Version": found.version}).encode())

    def frame(self, image_set_id: str, frame_id: str) -> StoredFrame:
        if frame_id not in self._frames:
            raise UnknownFrame(frame_id)
        return StoredFrame(*self._frames[frame_id])
