"""The prepared file of an image set: requests are answered by slicing its bytes. Read in all processes.

A FrameFetcher writes it once per version (`prepared_writer`), and the cache keeps it. The file has a magic number, the
length of the index, the index (JSON), and blocks. Each instance has a block for its DICOM JSON. Another one has its
Explicit VR Little Endian data set up to the pixel data: for native pixels and, where that differs, for stored frames. A
byte 0x01 in the JSON, which JSON text cannot contain, stands for the public root, which differs among clients.
"""

import json
import struct
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import accumulate
from typing import Any

from ahi.cache.file_view import FileView
from ahi.codecs.pixel_format import PixelFormat
from ahi.image_sets.image_set import Frame, ImageSetKey

FORMAT = "6"
"""Part of the name of a prepared file. Raise it when the format changes: old files are no longer found."""

PUBLIC_ROOT = b"\x01"
"""The placeholder for the public root in the DICOM JSON."""

PIXEL_DATA = "7FE00010"
"""The tag of PixelData."""

Slice = tuple[int, int]
"""Offset and length in bytes."""

Source = bytes | memoryview | FileView
"""The bytes of a prepared file: in memory, or in an open file."""

_MAGIC = b"AHI prepared\0"


@dataclass(frozen=True)
class BulkValue:
    """A bulk data value. `path` is its tag, or tag/item number/tag within a sequence; item numbers start at 1.

    `media_type` is None for plain bytes.
    """

    path: str
    media_type: str | None
    where: Slice


@dataclass(frozen=True)
class PreparedInstance:
    """One instance: the attributes that requests need, and the places of its blocks.

    `bulk` has the bulk data values without PixelData. `native_head` and `stored_head` are the data set before
    PixelData, and `tail` is the data set after it. `pixels` is None without pixel data; `lacks_frames`: there should be
    some. Instances of several image sets are merged by their `display_order`.
    """

    sop_instance_uid: str
    sop_class_uid: str
    transfer_syntax_uid: str
    display_order: tuple[float, ...]
    pixels: PixelFormat | None
    frames: tuple[Frame, ...]
    json: Slice
    native_head: Slice
    stored_head: Slice
    tail: Slice
    bulk: tuple[BulkValue, ...]
    lacks_frames: bool = False

    @property
    def pixel_element(self) -> tuple[str, str]:
        """The tag and VR of its pixel data."""
        return pixel_element(self.pixels)

    def bulk_value(self, path: str) -> BulkValue | None:
        """Return the bulk value at a path of tags, in upper or lower case."""
        return next((value for value in self.bulk if value.path == path.upper()), None)


@dataclass(frozen=True)
class PreparedImageSet:
    """The instances of an image set in display order: by InstanceNumber, then by position, then by UID.

    Their blocks begin at the byte `blocks_at` of `blocks`.
    """

    study_instance_uid: str
    series_instance_uid: str
    instances: tuple[PreparedInstance, ...]
    blocks: Source
    blocks_at: int = 0

    @cached_property
    def by_uid(self) -> Mapping[str, PreparedInstance]:
        """The instances by SOP Instance UID."""
        return {instance.sop_instance_uid: instance for instance in self.instances}

    @cached_property
    def frame_order(self) -> Sequence[tuple[PreparedInstance, int]]:
        """All frames in display order: each an instance and a frame number, from 1."""
        return [(instance, index + 1) for instance in self.instances for index in range(len(instance.frames))]

    @cached_property
    def first_frame(self) -> Mapping[str, int]:
        """The index in `frame_order` of the first frame of each instance, by SOP Instance UID."""
        starts = accumulate((len(one.frames) for one in self.instances), initial=0)
        return {one.sop_instance_uid: start for one, start in zip(self.instances, starts, strict=False)}

    def metadata(self, instance: PreparedInstance, public_root: str) -> bytes:
        """Return the DICOM JSON of an instance."""
        return self.block(instance.json).replace(PUBLIC_ROOT, public_root.encode())

    def block(self, where: Slice) -> bytes:
        """Return the bytes of one block."""
        start, length_bytes = self.place(where)
        return bytes(self.blocks[start : start + length_bytes])

    def place(self, where: Slice) -> Slice:
        """Return the place of a block within the whole prepared file."""
        offset, length_bytes = where
        return self.blocks_at + offset, length_bytes

    @classmethod
    def from_bytes(cls, blob: Source) -> "PreparedImageSet":
        """Read a prepared file, as `serialize` makes it."""
        start = len(_MAGIC) + 8
        (index_bytes,) = struct.unpack("<Q", blob[len(_MAGIC) : start])
        index = json.loads(bytes(blob[start : start + index_bytes]))
        instances = tuple(_instance(row) for row in index["instances"])
        return cls(index["study"], index["series"], instances, blob, start + index_bytes)


def _instance(row: Mapping[str, Any]) -> PreparedInstance:
    pixels = PixelFormat(**row["pixels"]) if row["pixels"] else None
    frames = tuple(Frame(*frame) for frame in row["frames"])
    tuples = {name: tuple(row[name]) for name in ("display_order", "json", "native_head", "stored_head", "tail")}
    bulk = tuple(BulkValue(path, media_type, tuple(where)) for path, media_type, where in row["bulk"])
    return PreparedInstance(**{**row, **tuples, "pixels": pixels, "frames": frames, "bulk": bulk})


def serialize(study: str, series: str, instances: Sequence[Mapping[str, Any]], blocks: Iterable[bytes]) -> bytes:
    """Return the whole file. `instances` are the fields of PreparedInstance, as lists and dictionaries."""
    index = json.dumps({"study": study, "series": series, "instances": instances}, separators=(",", ":")).encode()
    return b"".join((_MAGIC, struct.pack("<Q", len(index)), index, *blocks))


def pixel_element(pixels: PixelFormat | None) -> tuple[str, str]:
    """Return the tag and VR of pixel data of this format."""
    return pixels.element if pixels else (PIXEL_DATA, "OW")


def prepared_cache_name(key: ImageSetKey, version: str) -> str:
    """Return the name of a prepared file in the cache."""
    return f"prepared/{key.datastore_id}/{key.image_set_id}.{version}.{FORMAT}"


@dataclass(frozen=True)
class BlockReference:
    """The place of a block in a prepared file. A process that can read the cache needs no more than that."""

    image_set: ImageSetKey
    version: str
    start: int
    length_bytes: int


Block = bytes | BlockReference
"""The bytes of a block, or its place."""
