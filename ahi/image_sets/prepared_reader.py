"""Image sets in a form that answers requests by slicing bytes: made once per version, in a fetcher, kept in the cache.

The file: a magic, the length of the index, the index (JSON), then the blocks that it points into. For each instance a
block holds its DICOM JSON and one its Explicit VR Little Endian data set up to the pixel data, as it is true for native
pixels and, where that differs, as it is true for the stored ones. In the JSON one raw byte 0x01, which JSON text never
holds by itself, stands for the public root, which each client may see under another name.
"""

import json
import struct
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import accumulate
from typing import Any

from ahi.cache.file_view import FileView
from ahi.codecs.frames import PixelFormat
from ahi.image_sets.image_set import Frame, ImageSetKey

FORMAT = "6"
"""Part of the name of a prepared file: raise it when the form changes, and old files are simply not found."""

PUBLIC_ROOT = b"\x01"
"""Stands for the public root in the DICOM JSON."""

PIXEL_DATA = "7FE00010"
"""The tag that most pixel data has."""

Slice = tuple[int, int]
"""Offset and length in bytes."""

Source = bytes | memoryview | FileView
"""What blocks are cut out of: memory, or a file that is read."""

_MAGIC = b"AHI prepared\0"


@dataclass(frozen=True)
class BulkValue:
    """A value outside of the metadata. `path` is its tag; inside of sequences tag/item number/tag, items from 1.

    `media_type` is None for mere bytes.
    """

    path: str
    media_type: str | None
    where: Slice


@dataclass(frozen=True)
class PreparedInstance:
    """One instance: what requests need to know of it, and where its blocks are.

    `bulk` has the values that the metadata only points to, without PixelData. `native_head` and `stored_head` are the
    data set before PixelData, `tail` is what follows it. `pixels` is None without pixel data, and `lacks_frames` says
    that there should be some. Instances of several image sets are merged by their `display_order`.
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
        """The tag and the VR of its pixel data."""
        return pixel_element(self.pixels)

    def bulk_value(self, path: str) -> BulkValue | None:
        """The bulk value at a path of tags, in either case."""
        return next((value for value in self.bulk if value.path == path.upper()), None)


@dataclass(frozen=True)
class PreparedImageSet:
    """The instances of an image set in display order: by InstanceNumber, then by position, then by UID.

    `blocks` is where their blocks are, from the byte `blocks_at` on.
    """

    study_instance_uid: str
    series_instance_uid: str
    instances: tuple[PreparedInstance, ...]
    blocks: Source
    blocks_at: int = 0

    @cached_property
    def by_uid(self) -> Mapping[str, PreparedInstance]:
        """The instances by their SOP Instance UID."""
        return {instance.sop_instance_uid: instance for instance in self.instances}

    @cached_property
    def frame_order(self) -> Sequence[tuple[PreparedInstance, int]]:
        """All frames in display order, each by its instance and its number in it, from 1."""
        return [(one, number + 1) for one in self.instances for number in range(len(one.frames))]

    @cached_property
    def first_frame(self) -> Mapping[str, int]:
        """Where in `frame_order` the frames of an instance begin, by its SOP Instance UID."""
        starts = accumulate((len(one.frames) for one in self.instances), initial=0)
        return {one.sop_instance_uid: start for one, start in zip(self.instances, starts, strict=False)}

    def metadata(self, instance: PreparedInstance, public_root: str) -> bytes:
        """The DICOM JSON of an instance."""
        return self.block(instance.json).replace(PUBLIC_ROOT, public_root.encode())

    def block(self, where: Slice) -> bytes:
        """The bytes of one block."""
        start, length_bytes = self.place(where)
        return bytes(self.blocks[start : start + length_bytes])

    def place(self, where: Slice) -> Slice:
        """Where one block is in all the bytes that this was made from."""
        offset, length_bytes = where
        return self.blocks_at + offset, length_bytes

    @classmethod
    def from_bytes(cls, blob: Source) -> "PreparedImageSet":
        """What `serialize` made."""
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
    """The whole file. Of each instance what a PreparedInstance has, in lists and dictionaries."""
    index = json.dumps({"study": study, "series": series, "instances": instances}, separators=(",", ":")).encode()
    return b"".join((_MAGIC, struct.pack("<Q", len(index)), index, *blocks))


def pixel_element(pixels: PixelFormat | None) -> tuple[str, str]:
    """The tag and the VR of pixel data of this format."""
    return pixels.element if pixels else (PIXEL_DATA, "OW")


def prepared_cache_name(key: ImageSetKey, version: str) -> str:
    """The name of a prepared image set."""
    return f"prepared/{key.datastore_id}/{key.image_set_id}.{version}.{FORMAT}"


@dataclass(frozen=True)
class BlockReference:
    """Where in a prepared image set a block of bytes is: as good as the bytes for who can read the cache."""

    image_set: ImageSetKey
    version: str
    start: int
    length_bytes: int


Block = bytes | BlockReference
"""The bytes themselves, or where they are."""
