"""Image sets in a form that answers requests by slicing bytes: made once per version, in a fetcher, kept in the cache.

The file: a magic, the length of the index, the index (JSON), then the blocks that it points into. For each instance a
block holds its DICOM JSON and one its Explicit VR Little Endian data set up to the pixel data, as it is true for native
pixels and, where that differs, as it is true for the stored ones. In the JSON one raw byte 0x01, which JSON text never
holds by itself, stands for the public root, which each client may see under another name.
"""

import json
import mmap
import re
import struct
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, astuple, dataclass
from functools import cached_property
from itertools import accumulate
from typing import Any

from ahi.codecs import PixelFormat, delivered_photometric, jpeg_2000_has_colour_transform
from ahi.file_view import FileView
from ahi.image_set import Frame, ImageSet, Instance
from dicomweb import dicom_json
from dicomweb.data_set import CHARACTER_SET, UTF_8, Attribute, DataSet, Made, json_element
from dicomweb.explicit_le import encode_data_set, encode_text_value
from dicomweb.transfer_syntax import EXPLICIT_VR_LITTLE_ENDIAN, transfer_syntax

FORMAT = "4"
"""Part of the name of a prepared file: raise it when the form changes, and old files are simply not found."""

BULK_BYTES = 32 * 2**10
"""Binary and long-text values of more bytes are left out of the metadata, which tells where they are instead."""

_MAGIC = b"AHI prepared\0"
_PUBLIC_ROOT = b"\x01"
_PIXEL_DATA = "7FE00010"
_DOCUMENT, _DOCUMENT_TYPE = "00420011", "00420012"
_LONG_TEXT_VRS = frozenset({"LT", "ST", "UC", "UT"})
_MEDIA_TYPE = re.compile(r"[a-z]+/[a-z0-9.+-]+\Z")

Slice = tuple[int, int]
"""Offset and length in bytes."""

Source = bytes | memoryview | mmap.mmap | FileView
"""What blocks are cut out of: memory, or a file that is mapped or read."""

Probe = Callable[[Instance], bytes]
"""The stored bytes of the first frame of an instance: only the codestream knows whether colours were transformed."""


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
    data set before PixelData, `tail` is what follows it. `pixels` is None without pixel data. Instances of several
    image sets are merged by their `display_order`.
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

    @property
    def pixel_element(self) -> tuple[str, str]:
        """The tag and the VR of its pixel data."""
        return _pixel_element(self.pixels)

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
        return self.block(instance.json).replace(_PUBLIC_ROOT, public_root.encode())

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
        """What `encode_prepared` made."""
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


def encode_prepared(image_set: ImageSet, probe: Probe) -> bytes:
    """The prepared form of an image set."""
    blocks, rows = _Blocks(), []
    photometric, encoded, elements = _Photometric(probe), Made[bytes](), Made[dicom_json.Element]()
    for instance in sorted(image_set.instances, key=lambda one: (_display_order(one), one.sop_instance_uid)):
        forms = _Forms(instance, photometric)
        native_head = blocks.add(encode_data_set(_before_pixels(forms.native), encoded))
        stored_head = native_head
        if forms.stored != forms.native:
            stored_head = blocks.add(encode_data_set(_before_pixels(forms.stored), encoded))
        described = _Described(image_set, instance, forms, blocks, elements)
        prepared = PreparedInstance(
            sop_instance_uid=instance.sop_instance_uid,
            sop_class_uid=str(_first(instance.data_set, "00080016") or ""),
            transfer_syntax_uid=instance.stored_transfer_syntax_uid,
            display_order=_display_order(instance),
            pixels=forms.pixels,
            frames=(),
            json=blocks.add(described.json()),
            native_head=native_head,
            stored_head=stored_head,
            tail=blocks.add(encode_data_set(_after_pixels(forms.native))),
            bulk=tuple(described.bulk),
        )
        frames = [(frame.frame_id, frame.checksum) for frame in instance.frames]
        rows.append({**asdict(prepared), "frames": frames, "bulk": [astuple(value) for value in described.bulk]})
    study, series = image_set.study_instance_uid, image_set.series_instance_uid
    index = json.dumps({"study": study, "series": series, "instances": rows}, separators=(",", ":")).encode()
    return b"".join((_MAGIC, struct.pack("<Q", len(index)), index, *blocks.all))


class _Blocks:
    """Byte strings one after another."""

    def __init__(self) -> None:
        self.all: list[bytes] = []
        self._length_bytes = 0

    def add(self, block: bytes) -> Slice:
        where = (self._length_bytes, len(block))
        self.all.append(block)
        self._length_bytes += len(block)
        return where


class _Photometric:
    """What the codestreams of an image set hold, looked up once per kind of instance."""

    def __init__(self, probe: Probe) -> None:
        self._probe = probe
        self._known: dict[tuple[str, str], tuple[str, str]] = {}

    def of(self, instance: Instance, pixels: PixelFormat) -> tuple[str, str]:
        """PhotometricInterpretation of the native and of the stored pixels."""
        label = pixels.photometric_interpretation
        if pixels.samples_per_pixel != 3 or not instance.frames:
            return label, label
        kind = (label, instance.stored_transfer_syntax_uid)
        if kind not in self._known:
            self._known[kind] = self._look(instance, pixels)
        return self._known[kind]

    def _look(self, instance: Instance, pixels: PixelFormat) -> tuple[str, str]:
        uid, label = instance.stored_transfer_syntax_uid, pixels.photometric_interpretation
        syntax = transfer_syntax(uid)
        if syntax.native or syntax.video:
            return label, label
        stored = self._probe(instance)
        native = delivered_photometric(stored, uid, pixels)
        if syntax.lossy:
            return native, label
        return native, "YBR_RCT" if jpeg_2000_has_colour_transform(stored) else native


class _Forms:
    """The data set of an instance as it is true for native pixels, for the stored ones, and for the metadata.

    AHI keeps the labels of the source file while the frames are interleaved and may be RGB by now (PS3.5 Section 8.2).
    """

    def __init__(self, instance: Instance, photometric: _Photometric) -> None:
        data_set = instance.data_set
        syntax = transfer_syntax(instance.stored_transfer_syntax_uid)
        self.pixels = _pixel_format(instance) if instance.frames else None
        self.native = self.stored = self.described = data_set
        if self.pixels is None:
            return
        native, stored = photometric.of(instance, self.pixels)
        changes: dict[str, str | int] = {}
        if self.pixels.samples_per_pixel > 1:
            changes["00280006"] = 0
        if syntax.lossy and not _first(data_set, "00282110"):
            changes["00282110"] = "01"
        self.native = _changed(data_set, {**changes, "00280004": native})
        self.stored = _changed(data_set, {**changes, "00280004": stored})
        self.described = self.stored if syntax.lossy else self.native


_CHANGED_VRS = {"00280004": "CS", "00280006": "US", "00282110": "CS"}


def _changed(data_set: DataSet, changes: Mapping[str, str | int]) -> DataSet:
    """The data set with these values; what it has already stays the same object, so that equal forms compare fast."""
    kept = [attribute for attribute in data_set if attribute.tag not in changes]
    new = [Attribute(tag, _CHANGED_VRS[tag], (value,)) for tag, value in changes.items()]
    return tuple(sorted(kept + new, key=lambda attribute: attribute.tag))


def _pixel_format(instance: Instance) -> PixelFormat | None:
    data_set = instance.data_set
    numbers = [_first(data_set, tag) for tag in ("00280010", "00280011", "00280002", "00280100", "00280103")]
    rows, columns, samples, bits, signed = (number if isinstance(number, int) else None for number in numbers)
    if not rows or not columns or not bits or bits > 64:
        return None
    syntax = transfer_syntax(instance.stored_transfer_syntax_uid)
    if instance.floating and not (syntax.native and bits in (32, 64)):
        return None  # no codec of DICOM has floating-point samples
    photometric = str(_first(data_set, "00280004") or "")
    return PixelFormat(rows, columns, samples or 1, bits, signed or 0, photometric, instance.floating)


def _pixel_element(pixels: PixelFormat | None) -> tuple[str, str]:
    return pixels.element if pixels else (_PIXEL_DATA, "OW")


def _first(data_set: DataSet, tag: str) -> str | int | float | None:
    attribute = next((attribute for attribute in data_set if attribute.tag == tag), None)
    return attribute.words[0] if attribute and attribute.words else None


def _display_order(instance: Instance) -> tuple[float, ...]:
    """By InstanceNumber, then by ImagePositionPatient, feet to head first."""
    position = next((attribute.words for attribute in instance.data_set if attribute.tag == "00200032"), ())
    return tuple(_float(word) for word in (_first(instance.data_set, "00200013"), *reversed(position)))


def _float(word: str | int | float | None) -> float:
    try:
        return float(word) if word is not None else 0.0
    except ValueError:
        return 0.0


def _before_pixels(data_set: DataSet) -> DataSet:
    return tuple(attribute for attribute in data_set if attribute.tag < _PIXEL_DATA)


def _after_pixels(data_set: DataSet) -> DataSet:
    return tuple(attribute for attribute in data_set if attribute.tag > _PIXEL_DATA)


def _bulk(attribute: Attribute) -> bytes | None:
    """The value as bytes, if it is of a kind that may be kept apart: numbers are needed where pictures are drawn."""
    if isinstance(attribute.value, bytes):
        return attribute.value
    return encode_text_value(attribute) if attribute.vr in _LONG_TEXT_VRS else None


class _Described:
    """The DICOM JSON of an instance (PS3.18 Annex F); what is too long for it becomes a block of its own."""

    def __init__(
        self,
        image_set: ImageSet,
        instance: Instance,
        forms: _Forms,
        blocks: _Blocks,
        made: Made[dicom_json.Element],
    ) -> None:
        self.bulk: list[BulkValue] = []
        self._made = made
        self._instance = instance
        self._data_set = forms.described
        self._pixel_element = _pixel_element(forms.pixels)
        self._blocks = blocks
        self._path = (
            f"/studies/{image_set.study_instance_uid}/series/{image_set.series_instance_uid}"
            f"/instances/{instance.sop_instance_uid}"
        )

    def json(self) -> bytes:
        """Its text, with a placeholder for the public root."""
        elements = self._elements(self._data_set, "")
        elements[CHARACTER_SET] = dicom_json.element("CS", [UTF_8])
        elements["00081190"] = dicom_json.element("UR", ["\x01" + self._path])
        elements["00083002"] = dicom_json.element("UI", list(_available_transfer_syntaxes(self._instance)))
        if self._instance.frames:
            tag, vr = self._pixel_element
            elements[tag] = {"vr": vr, "BulkDataURI": self._uri(tag)}
        text = dicom_json.encode({tag: elements[tag] for tag in sorted(elements)})
        return text.replace(b"\\u0001" + self._path.encode(), _PUBLIC_ROOT + self._path.encode())

    def _elements(self, data_set: DataSet, above: str) -> dicom_json.DataSet:
        return {attribute.tag: self._element(attribute, above + attribute.tag) for attribute in data_set}

    def _element(self, attribute: Attribute, path: str) -> dicom_json.Element:
        value = _bulk(attribute)
        if value is not None and (len(value) > BULK_BYTES or path == _DOCUMENT):
            self.bulk.append(BulkValue(path, self._media_type(path), self._blocks.add(value)))
            return {"vr": attribute.vr, "BulkDataURI": self._uri(path)}
        if attribute.vr == "SQ" and attribute.items:
            items = [self._elements(item, f"{path}/{number}/") for number, item in enumerate(attribute.items, 1)]
            return {"vr": "SQ", "Value": items}
        return self._made.of(attribute, None, lambda: json_element(attribute))

    def _uri(self, path: str) -> str:
        return f"\x01{self._path}/bulkdata/{path}"

    def _media_type(self, path: str) -> str | None:
        """What the data set says that its document is (PS3.3 Section C.24.2)."""
        stated = str(_first(self._data_set, _DOCUMENT_TYPE) or "").strip().lower()
        return stated if path == _DOCUMENT and _MEDIA_TYPE.match(stated) else None


def _available_transfer_syntaxes(instance: Instance) -> Iterator[str]:
    stored = transfer_syntax(instance.stored_transfer_syntax_uid)
    if instance.frames and not stored.native:
        yield stored.uid
    if not stored.video:
        yield EXPLICIT_VR_LITTLE_ENDIAN
