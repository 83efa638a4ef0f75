"""The metadata of AHI as typed values. No other module reads its dictionaries. Runs in the FrameFetcher processes."""

import json
import re
import zlib
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from ahi.image_sets.metadata_parser import AttributeMemo, to_data_set
from dicomweb.data_set import DataSet
from dicomweb.errors import UnusableAnswer, UpstreamFailed
from dicomweb.transfer_syntax import EXPLICIT_VR_LITTLE_ENDIAN

_SURROGATE = re.compile(rb"\\u[dD][89a-fA-F]|\xed[\xa0-\xbf]")  # escaped, or each half as UTF-8
_GZIP = b"\x1f\x8b"
_GZIP_WINDOW = 16 + zlib.MAX_WBITS
_LONGEST_ID = 64
_MAX_MEMBERS = 100  # of a gzip file; each costs a copy of the rest

METADATA_BYTES = 2**28
"""The default bound of the text of an image set's metadata."""

_UNREADABLE = (
    ValueError,
    LookupError,
    TypeError,
    AttributeError,
    ArithmeticError,
    RecursionError,
    StopIteration,
    EOFError,
    zlib.error,
)
"""Errors that parsing raises on a document of another shape."""


@dataclass(frozen=True)
class ImageSetKey:
    """The identifiers of a data store and an image set, of 32 characters each."""

    datastore_id: str
    image_set_id: str


@dataclass(frozen=True)
class ImageSetProperties:
    """The properties of a version from GetImageSet. `updated_at`: when it became the latest (Unix time)."""

    version: str
    is_primary: bool
    updated_at: float


@dataclass(frozen=True)
class Frame:
    """One stored frame, or one whole video. `checksum` is the CRC-32 of the full resolution, None if unknown."""

    frame_id: str
    checksum: int | None


@dataclass(frozen=True)
class Instance:
    """One SOP Instance: its attributes of all levels, without group 0002 and pixel data.

    `stored_transfer_syntax_uid` is "" where the metadata does not name it. `source_transfer_syntax_uid` is that of the
    imported file, "" if unknown. `floating`: it has Float Pixel Data or Double Float Pixel Data.
    """

    sop_instance_uid: str
    data_set: DataSet
    stored_transfer_syntax_uid: str
    frames: tuple[Frame, ...]
    floating: bool = False
    source_transfer_syntax_uid: str = ""


@dataclass(frozen=True)
class ImageSet:
    """An image set: instances of one series, in no particular order.

    All of them have the attributes of the same patient, study and series.
    """

    study_instance_uid: str
    series_instance_uid: str
    instances: tuple[Instance, ...]

    @classmethod
    def from_metadata(cls, blob: bytes, max_bytes: int = METADATA_BYTES) -> "ImageSet":
        """Parse an answer of GetImageSetMetadata, gzip or plain JSON.

        UnusableAnswer if it is not image-set metadata; UpstreamFailed if its text has more than `max_bytes`.
        """
        with unreadable_metadata():
            return cls._from_document(metadata_document(blob, max_bytes))

    @classmethod
    def _from_document(cls, document: Mapping[str, Any]) -> "ImageSet":
        study = document["Study"]
        upper = {**_elements(document.get("Patient")), **_elements(study)}
        ((series_uid, node),) = study["Series"].items()  # ValueError where it has several
        upper |= _elements(node)
        if upper.get("SeriesInstanceUID", series_uid) != series_uid:
            raise ValueError("a series under the UID of another")
        instances = tuple(_instances(upper, node.get("Instances") or {}, AttributeMemo()))
        return cls(_text(upper["StudyInstanceUID"]), series_uid, instances)


def metadata_document(blob: bytes, max_bytes: int = METADATA_BYTES) -> Any:
    """The JSON document of an answer of GetImageSetMetadata, gzip or plain.

    UnusableAnswer if it is none, UpstreamFailed if its text has more than `max_bytes`.
    """
    with unreadable_metadata():
        return _parse_json(_decompress(blob, max_bytes))


@contextmanager
def unreadable_metadata() -> Iterator[None]:
    """Turn errors of parsing into UnusableAnswer."""
    try:
        yield
    except _UNREADABLE as error:
        raise UnusableAnswer("the metadata of an image set cannot be read") from error


def _parse_json(text: bytes) -> Any:
    """Parse JSON. Halves of surrogate pairs are joined; a single half becomes U+FFFD, as UTF-8 cannot hold it."""
    document = json.loads(text)
    if not (b"\\u" in text or b"\xed" in text) or not _SURROGATE.search(text):
        return document
    halves = json.dumps(document, ensure_ascii=False).encode("utf-16-le", "surrogatepass")
    return json.loads(halves.decode("utf-16-le", "replace"))


def _decompress(blob: bytes, max_bytes: int) -> bytes:
    """Return the text of metadata; ValueError, EOFError or zlib.error for bad gzip, UpstreamFailed if it is too long.

    Decompression stops at the bound: some kilobytes of gzip can hold gigabytes.
    """
    check_metadata_bound(len(blob), max_bytes)
    if not blob.startswith(_GZIP):
        return blob
    pieces, size_bytes = [], 0
    for _ in range(_MAX_MEMBERS):
        member = zlib.decompressobj(_GZIP_WINDOW)
        pieces.append(member.decompress(blob, max_bytes + 1 - size_bytes))
        size_bytes += len(pieces[-1])
        check_metadata_bound(size_bytes, max_bytes)
        if not member.eof:
            raise EOFError
        blob = member.unused_data.lstrip(b"\0")
        if not blob:
            return b"".join(pieces)
    raise ValueError("too many gzip members")


def check_metadata_bound(size_bytes: int, max_bytes: int) -> None:
    """UpstreamFailed where metadata has more bytes than the bound."""
    if size_bytes > max_bytes:
        raise UpstreamFailed(f"the metadata of an image set has more than METADATA_MAX_BYTES, {max_bytes} bytes")


def _text(value: Any) -> str:
    if not isinstance(value, str):
        raise TypeError("not a text")
    return value


def _elements(node: Mapping[str, Any] | None) -> Mapping[str, Any]:
    return (node or {}).get("DICOM") or {}


def _instances(upper: Mapping[str, Any], nodes: Mapping[str, Any], memo: AttributeMemo) -> Iterator[Instance]:
    for sop_instance_uid, node in nodes.items():
        elements = {**_elements(node), **upper}  # the upper levels win
        if elements.get("SOPInstanceUID", sop_instance_uid) != sop_instance_uid:
            raise ValueError("an instance under the UID of another")
        signed = elements.get("PixelRepresentation")
        data_set = to_data_set(elements, node.get("DICOMVRs") or {}, 1 if str(signed).strip() == "1" else 0, memo)
        stored = _text(node.get("StoredTransferSyntaxUID") or "")
        source = str(elements.get("TransferSyntaxUID") or "")
        frames = tuple(_frames(node.get("ImageFrames") or ()))
        yield Instance(sop_instance_uid, data_set, stored, frames, _is_floating(elements, stored), source)


def _is_floating(elements: Mapping[str, Any], stored_transfer_syntax_uid: str) -> bool:
    """Whether samples are floating-point numbers: the metadata names the element, or BitsStored is missing.

    All other pixel data must have BitsStored (PS3.3 Sections C.7.6.24 and C.7.6.3).
    """
    if "FloatPixelData" in elements or "DoubleFloatPixelData" in elements:
        return True
    native = stored_transfer_syntax_uid == EXPLICIT_VR_LITTLE_ENDIAN
    described = any(name in elements for name in ("BitsStored", "HighBit", "PixelRepresentation"))
    return native and not described and elements.get("BitsAllocated") in (32, 64)


def _frames(nodes: Iterable[Mapping[str, Any]]) -> Iterator[Frame]:
    for node in nodes:
        checksums = node.get("PixelDataChecksumFromBaseToFullResolution") or ()
        full = max(checksums, key=lambda entry: entry.get("Width") or 0, default=None)
        yield Frame(_identifier(node["ID"]), _checksum(full.get("Checksum") if full else None))


def _identifier(value: Any) -> str:
    """Check the ID of a frame, which is also part of file names."""
    if not _text(value).isalnum() or not value.isascii() or len(value) > _LONGEST_ID:
        raise ValueError("not an identifier")
    return str(value)


def _checksum(value: Any) -> int | None:
    if value is not None and (not isinstance(value, int) or not 0 <= value < 2**32):
        raise ValueError("not a CRC-32")
    return value
