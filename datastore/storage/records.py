"""The values that a storage gives: a data store, a version of an image set, a frame. Times are seconds since 1970."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

LOSSLESS_STORAGE_FORMATS = ("HTJ2K", "JPEG_2000_LOSSLESS")

Tags = Mapping[str, str | int | None]


@dataclass(frozen=True)
class DatastoreProperties:
    """The properties that GetDatastore gives."""

    datastore_id: str
    name: str
    status: str
    arn: str
    created_at: float
    updated_at: float
    lossless_storage_format: str


@dataclass(frozen=True)
class ImageSetVersion:
    """The properties that GetImageSet gives for one version; `tags` are the DICOMTags of SearchImageSets."""

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
    """The file of one frame, and the Content-Type that AHI gives it."""

    path: Path
    content_type: str


class UnknownImageSet(LookupError):
    """There is no such image set or version, or no longer."""


class UnknownFrame(LookupError):
    """The image set has no such frame."""
