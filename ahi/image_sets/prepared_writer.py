"""Writes the prepared file of an image set, once per version. Runs in the FrameFetcher processes."""

import math
import re
from collections.abc import Iterator
from dataclasses import asdict, astuple

from ahi.image_sets.data_set_variants import DataSetVariants, Photometric, Probe, first_value, lacks_frames
from ahi.image_sets.image_set import ImageSet, Instance
from ahi.image_sets.prepared_reader import (
    PIXEL_DATA,
    PUBLIC_ROOT,
    BulkValue,
    PreparedInstance,
    Slice,
    pixel_element,
    serialize,
)
from ahi.image_sets.stored_syntax import with_syntax
from dicomweb import dicom_json
from dicomweb.data_set import CHARACTER_SET, UTF_8, Attribute, DataSet, Memo, json_element
from dicomweb.explicit_le import encode_data_set, encode_text_value
from dicomweb.transfer_syntax import EXPLICIT_VR_LITTLE_ENDIAN, transfer_syntax
from dicomweb.uids import resource_path

BULK_BYTES = 32 * 2**10
"""The largest binary or long-text value in the metadata, in bytes. Larger ones are bulk data (BulkDataURI)."""

_DOCUMENT, _DOCUMENT_TYPE = "00420011", "00420012"
_LONG_TEXT_VRS = frozenset({"LT", "ST", "UC", "UT"})
_MEDIA_TYPE = re.compile(r"[a-z]+/[a-z0-9.+-]+\Z")


def encode_prepared(image_set: ImageSet, probe: Probe) -> bytes:
    """Return the prepared file of an image set. `probe` returns the first stored frame of an instance."""
    image_set = with_syntax(image_set, lambda instance: probe(instance, None))
    blocks, rows = _Blocks(), []
    photometric, encoded, elements = Photometric(probe), Memo[bytes](), Memo[dicom_json.Element]()
    photometric.learn(image_set.instances)
    for instance in sorted(image_set.instances, key=lambda one: (_display_order(one), one.sop_instance_uid)):
        variants = DataSetVariants.of(instance, photometric)
        native_head = blocks.add(encode_data_set(_before_pixels(variants.native), encoded))
        stored_head = native_head
        if variants.stored is not variants.native:
            stored_head = blocks.add(encode_data_set(_before_pixels(variants.stored), encoded))
        encoder = _MetadataEncoder(image_set, instance, variants, blocks, elements)
        prepared = PreparedInstance(
            sop_instance_uid=instance.sop_instance_uid,
            sop_class_uid=str(first_value(instance.data_set, "00080016") or ""),
            transfer_syntax_uid=instance.stored_transfer_syntax_uid,
            display_order=_display_order(instance),
            pixels=variants.pixels,
            frames=(),
            json=blocks.add(encoder.json()),
            native_head=native_head,
            stored_head=stored_head,
            tail=blocks.add(encode_data_set(_after_pixels(variants.native))),
            bulk=tuple(encoder.bulk),
            lacks_frames=lacks_frames(instance),
        )
        frames = [(frame.frame_id, frame.checksum) for frame in instance.frames]
        rows.append({**asdict(prepared), "frames": frames, "bulk": [astuple(value) for value in encoder.bulk]})
    return serialize(image_set.study_instance_uid, image_set.series_instance_uid, rows, blocks.all)


class _Blocks:
    """Byte strings in a row."""

    def __init__(self) -> None:
        self.all: list[bytes] = []
        self._length_bytes = 0

    def add(self, block: bytes) -> Slice:
        where = (self._length_bytes, len(block))
        self.all.append(block)
        self._length_bytes += len(block)
        return where


class _MetadataEncoder:
    """Encodes the DICOM JSON of an instance (PS3.18 Annex F). Long values become bulk data in blocks of their own."""

    def __init__(
        self,
        image_set: ImageSet,
        instance: Instance,
        variants: DataSetVariants,
        blocks: _Blocks,
        memo: Memo[dicom_json.Element],
    ) -> None:
        self.bulk: list[BulkValue] = []
        self._memo = memo
        self._instance = instance
        self._data_set = variants.native
        self._pixel_element = pixel_element(variants.pixels)
        self._blocks = blocks
        uids = (image_set.study_instance_uid, image_set.series_instance_uid, instance.sop_instance_uid)
        self._path = resource_path(*uids)

    def json(self) -> bytes:
        """Return the JSON text, with a placeholder for the public root."""
        elements = self._elements(self._data_set, "")
        elements[CHARACTER_SET] = dicom_json.element("CS", [UTF_8])
        elements["00081190"] = dicom_json.element("UR", ["\x01" + self._path])
        elements["00083002"] = dicom_json.element("UI", list(_available_transfer_syntaxes(self._instance)))
        if self._instance.frames:
            tag, vr = self._pixel_element
            elements[tag] = {"vr": vr, "BulkDataURI": self._uri(tag)}
        text = dicom_json.encode({tag: elements[tag] for tag in sorted(elements)})
        return text.replace(b"\\u0001" + self._path.encode(), PUBLIC_ROOT + self._path.encode())

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
        return self._memo.of(attribute, None, lambda: json_element(attribute))

    def _uri(self, path: str) -> str:
        return f"\x01{self._path}/bulkdata/{path}"

    def _media_type(self, path: str) -> str | None:
        """Return the media type of an encapsulated document (PS3.3 Section C.24.2)."""
        stated = str(first_value(self._data_set, _DOCUMENT_TYPE) or "").strip().lower()
        return stated if path == _DOCUMENT and _MEDIA_TYPE.match(stated) else None


def _bulk(attribute: Attribute) -> bytes | None:
    """Return the value as bytes if it can be bulk data. Numbers cannot: rendering needs them in the data set."""
    if isinstance(attribute.value, bytes):
        return attribute.value
    return encode_text_value(attribute) if attribute.vr in _LONG_TEXT_VRS else None


def _display_order(instance: Instance) -> tuple[float, ...]:
    """Return the sort key: InstanceNumber, then ImagePositionPatient with the feet-to-head axis first."""
    position = next((attribute.words for attribute in instance.data_set if attribute.tag == "00200032"), ())
    return tuple(_float(word) for word in (first_value(instance.data_set, "00200013"), *reversed(position)))


def _float(word: str | int | float | None) -> float:
    try:
        number = float(word) if word is not None else 0.0
    except (ValueError, OverflowError):
        return 0.0
    return number if math.isfinite(number) else 0.0  # NaN has no place in an order


def _before_pixels(data_set: DataSet) -> DataSet:
    return tuple(attribute for attribute in data_set if attribute.tag < PIXEL_DATA)


def _after_pixels(data_set: DataSet) -> DataSet:
    return tuple(attribute for attribute in data_set if attribute.tag > PIXEL_DATA)


def _available_transfer_syntaxes(instance: Instance) -> Iterator[str]:
    stored = transfer_syntax(instance.stored_transfer_syntax_uid)
    if instance.frames and not stored.native:
        yield stored.uid
    if not stored.video:
        yield EXPLICIT_VR_LITTLE_ENDIAN
