"""Image-set metadata as typed values. Past this module nobody reads AHI's dictionaries."""

import gzip
import json
import zlib
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from ahi.elements import Known, to_data_set
from dicomweb.data_set import DataSet
from dicomweb.errors import UpstreamFailed
from dicomweb.transfer_syntax import EXPLICIT_VR_LITTLE_ENDIAN, HTJ2K_LOSSLESS_RPCL

_GZIP = b"\x1f\x8b"


@dataclass(frozen=True)
class ImageSetKey:
    """Where an image set is: two identifiers of 32 characters each."""

    datastore_id: str
    image_set_id: str


@dataclass(frozen=True)
class ImageSetProperties:
    """What GetImageSet tells of a version; `updated_at`, when it became the latest, in seconds since 1970."""

    version: str
    is_primary: bool
    updated_at: float


@dataclass(frozen=True)
class Frame:
    """One stored frame, or one whole video. `checksum` is the CRC-32 of the full resolution, None where unknown."""

    frame_id: str
    checksum: int | None


@dataclass(frozen=True)
class Instance:
    """One SOP Instance: its attributes from all levels, without group 0002 and without pixel data.

    `floating`: its pixel data is Float Pixel Data or Double Float Pixel Data.
    """

    sop_instance_uid: str
    data_set: DataSet
    stored_transfer_syntax_uid: str
    frames: tuple[Frame, ...]
    floating: bool = False


@dataclass(frozen=True)
class ImageSet:
    """An image set: instances of one series, in no particular order."""

    study_instance_uid: str
    series_instance_uid: str
    instances: tuple[Instance, ...]

    @classmethod
    def from_metadata(cls, blob: bytes) -> "ImageSet":
        """What GetImageSetMetadata answered, gzip or not; UpstreamFailed if it is not image-set metadata."""
        try:
            text = gzip.decompress(blob) if blob.startswith(_GZIP) else blob
            return cls._from_document(json.loads(text))
        except (ValueError, KeyError, TypeError, AttributeError, EOFError, OSError, zlib.error) as error:
            raise UpstreamFailed("the metadata of an image set cannot be read") from error

    @classmethod
    def _from_document(cls, document: Mapping[str, Any]) -> "ImageSet":
        study = document["Study"]
        upper = {**_elements(document.get("Patient")), **_elements(study)}
        series, known = study["Series"], Known()
        instances = tuple(
            instance
            for node in series.values()
            for instance in _instances({**upper, **_elements(node)}, node.get("Instances") or {}, known)
        )
        return cls(str(upper["StudyInstanceUID"]), next(iter(series)), instances)


def _elements(node: Mapping[str, Any] | None) -> Mapping[str, Any]:
    return (node or {}).get("DICOM") or {}


def _instances(upper: Mapping[str, Any], nodes: Mapping[str, Any], known: Known) -> Iterator[Instance]:
    for sop_instance_uid, node in nodes.items():
        elements = {**upper, **_elements(node)}
        signed = elements.get("PixelRepresentation")
        data_set = to_data_set(elements, node.get("DICOMVRs") or {}, 1 if str(signed).strip() == "1" else 0, known)
        stored = node.get("StoredTransferSyntaxUID") or HTJ2K_LOSSLESS_RPCL
        frames = tuple(_frames(node.get("ImageFrames") or ()))
        yield Instance(sop_instance_uid, data_set, stored, frames, _is_floating(elements, stored))


def _is_floating(elements: Mapping[str, Any], stored_transfer_syntax_uid: str) -> bool:
    """Whether samples are floating-point numbers: the metadata may name the element that they were in.

    Else they are by having no bits stored, which all other pixel data has to have (PS3.3 Section C.7.6.24, C.7.6.3).
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
        yield Frame(node["ID"], full.get("Checksum") if full else None)
