"""Image-set metadata, as GetImageSetMetadata gives it: one document of patient, study, series and instances.

AHI has had two dialects, "2023" and "2025"; `DIALECTS` has their differences.
"""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from pydicom import Dataset

from datastore.findings import Findings
from datastore.importing.json_values import Json, JsonObject
from datastore.importing.values import Context, Element, elements, named_elements
from dicomweb.levels import INSTANCE, LEVELS, PATIENT, SERIES, STUDY

SCHEMA_VERSION = "1.1"
_PIXEL_DATA = 0x7FE00010


@dataclass(frozen=True)
class Dialect:
    """The way in which one generation of AHI writes metadata.

    `ordered`: keys ascend by tag, else they have the order of a hash. `decoded_sizes`: sizes are those of decoded
    frames, else of stored ones. `all_resolutions`: there is a checksum for each resolution of a frame.
    """

    name: str
    ordered: bool
    keeps_padding: bool
    names_pixel_data: bool
    names_group_length: bool
    names_stored_syntax: bool
    decoded_sizes: bool
    all_resolutions: bool


DIALECTS: Mapping[str, Dialect] = {
    "2023": Dialect(
        "2023",
        ordered=False,
        keeps_padding=False,
        names_pixel_data=True,
        names_group_length=False,
        names_stored_syntax=False,
        decoded_sizes=True,
        all_resolutions=True,
    ),
    "2025": Dialect(
        "2025",
        ordered=True,
        keeps_padding=True,
        names_pixel_data=False,
        names_group_length=True,
        names_stored_syntax=True,
        decoded_sizes=False,
        all_resolutions=False,
    ),
}


@dataclass(frozen=True)
class Levels:
    """The elements that all instances of an image set share, by level."""

    patient: JsonObject
    study: JsonObject
    series: JsonObject

    @classmethod
    def from_document(cls, document: Mapping[str, Any]) -> "Levels":
        """From image-set metadata, which has one series."""
        (series,) = document["Study"]["Series"].values()
        return cls(document["Patient"]["DICOM"], document["Study"]["DICOM"], series["DICOM"])


@dataclass(frozen=True)
class InstanceAttributes:
    """The elements of a file: those of the levels, and those of the instance, with their VRs."""

    levels: Levels
    dicom: JsonObject
    vrs: dict[str, str]

    @property
    def sop_instance_uid(self) -> str:
        """The SOP Instance UID."""
        return str(self.dicom["SOPInstanceUID"])

    @classmethod
    def from_data_set(
        cls,
        data_set: Dataset,
        dialect: Dialect,
        max_inline_bytes: int | None = None,
        findings: Findings | None = None,
    ) -> "InstanceAttributes":
        """From a file as pydicom reads it. Binary values above `max_inline_bytes` become null.

        Values that cannot be read, or are left out, are added to `findings`.
        """
        findings = Findings() if findings is None else findings
        context = Context(findings, keep_padding=dialect.keeps_padding, max_inline_bytes=max_inline_bytes)
        found = _meta(data_set, dialect, context) + elements(data_set, context)
        if not dialect.names_pixel_data:
            found = [each for each in found if each.tag != _PIXEL_DATA]
        by_level = {
            level: named_elements([each for each in found if LEVELS.get(each.tag, INSTANCE) == level])
            for level in (PATIENT, STUDY, SERIES, INSTANCE)
        }
        levels = Levels(by_level[PATIENT][0], by_level[STUDY][0], by_level[SERIES][0])
        vrs = {name: vr for level in (INSTANCE, PATIENT, STUDY, SERIES) for name, vr in by_level[level][1].items()}
        return cls(levels, by_level[INSTANCE][0], vrs)


def _meta(data_set: Dataset, dialect: Dialect, context: Context) -> list[Element]:
    meta = getattr(data_set, "file_meta", None) or Dataset()
    length = meta.get("FileMetaInformationGroupLength")
    first = []
    if dialect.names_group_length and isinstance(length, int):
        first = [Element(0x00020000, "FileMetaInformationGroupLength", length, "UL", needs_vr=False)]
    return first + elements(meta, context)


def document(
    datastore_id: str, image_set_id: str, levels: Levels, instances: Mapping[str, JsonObject], dialect: Dialect
) -> JsonObject:
    """The metadata of an image set; `instances` has the nodes by SOP Instance UID."""
    uid = str(levels.series["SeriesInstanceUID"])
    series = {"DICOM": levels.series, "Instances": {name: instances[name] for name in sorted(instances)}}
    whole = {
        "SchemaVersion": SCHEMA_VERSION,
        "DatastoreID": datastore_id,
        "ImageSetID": image_set_id,
        "Patient": {"DICOM": levels.patient},
        "Study": {"DICOM": levels.study, "Series": {uid: series}},
    }
    return whole if dialect.ordered else _hashed(whole)


def encode(whole: JsonObject) -> bytes:
    """The JSON of a document in UTF-8; equal documents give equal bytes."""
    return json.dumps(whole, ensure_ascii=False, separators=(",", ":"), allow_nan=False).encode("utf-8", "replace")


def _hashed(value: Json) -> Json:
    """A value with all keys in the arbitrary order of a hash table."""
    if isinstance(value, list):
        return [_hashed(item) for item in value]
    if not isinstance(value, dict):
        return value
    names = sorted(value, key=lambda name: hashlib.sha256(name.encode()).digest())
    return {name: _hashed(value[name]) for name in names}


_TAGS = {  # SearchImageSets, DICOMTags: level and keyword
    "DICOMPatientId": (PATIENT, "PatientID"),
    "DICOMPatientName": (PATIENT, "PatientName"),
    "DICOMPatientBirthDate": (PATIENT, "PatientBirthDate"),
    "DICOMPatientSex": (PATIENT, "PatientSex"),
    "DICOMStudyInstanceUID": (STUDY, "StudyInstanceUID"),
    "DICOMStudyId": (STUDY, "StudyID"),
    "DICOMStudyDescription": (STUDY, "StudyDescription"),
    "DICOMStudyDate": (STUDY, "StudyDate"),
    "DICOMStudyTime": (STUDY, "StudyTime"),
    "DICOMAccessionNumber": (STUDY, "AccessionNumber"),
    "DICOMSeriesInstanceUID": (SERIES, "SeriesInstanceUID"),
    "DICOMSeriesModality": (SERIES, "Modality"),
    "DICOMSeriesBodyPart": (SERIES, "BodyPartExamined"),
    "DICOMSeriesNumber": (SERIES, "SeriesNumber"),
}


def search_tags(levels: Levels, instance_count: int) -> dict[str, str | int | None]:
    """The DICOMTags of an image set; its counts describe the image set, not the study."""
    by_level = {PATIENT: levels.patient, STUDY: levels.study, SERIES: levels.series}
    tags: dict[str, str | int | None] = {
        name: _text(by_level[level].get(word)) for name, (level, word) in _TAGS.items()
    }
    tags["DICOMSeriesNumber"] = _integer(tags["DICOMSeriesNumber"])
    return {**tags, "DICOMNumberOfStudyRelatedSeries": 1, "DICOMNumberOfStudyRelatedInstances": instance_count}


def _text(value: Json) -> str | None:
    first = value[0] if isinstance(value, list) and value else value
    return str(first).strip() if isinstance(first, str | int | float) else None


def _integer(text: str | int | None) -> int | None:
    try:
        return int(text) if text is not None else None
    except ValueError:
        return None
