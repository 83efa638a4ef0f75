"""UIDs for objects that lack them: the same file always gets the same UIDs."""

import hashlib
from collections.abc import Callable

from pydicom import Dataset

from datastore.findings import FindingKind, Findings

_SECONDARY_CAPTURE, _RAW_DATA = "1.2.840.10008.5.1.4.1.1.7", "1.2.840.10008.5.1.4.1.1.66"
_OF_META = {"SOPClassUID": "MediaStorageSOPClassUID", "SOPInstanceUID": "MediaStorageSOPInstanceUID"}
_NEEDED = ("SOPClassUID", "SOPInstanceUID", "StudyInstanceUID", "SeriesInstanceUID")
_TELLING = (*_NEEDED, "PatientID", "PatientName", "Modality", "Rows")  # a DICOM object has at least one of these
_WITHOUT_PATIENT = frozenset(f"1.2.840.10008.5.1.4.{number}.1" for number in (38, 39, 43, 44, 45))
"""Hanging protocols, colour palettes and implant templates (PS3.4 Annex GG), which belong to no study."""


class NoIdentity(Exception):
    """A file cannot be given the UIDs that it lacks; the message is the reason."""


def give_uids(data_set: Dataset, digest: Callable[[], bytes], findings: Findings) -> None:
    """Give a data set the UIDs that it lacks, and add findings; NoIdentity if it is not an object of a study.

    `digest` gives a hash of the whole file: two files get the same UIDs only if they are equal. A new Study Instance
    UID follows from that of the series, if there is one.
    """
    missing = [name for name in _NEEDED if not has_one_text(data_set.get(name))]
    if not missing:
        return
    if not any(name in data_set for name in _TELLING):
        raise NoIdentity(f"has no {', '.join(missing)}")
    if "StudyInstanceUID" in missing and data_set.get("SOPClassUID") in _WITHOUT_PATIENT:
        raise NoIdentity("belongs to no study: its SOP class is one of objects without a patient")
    for name in missing:
        setattr(data_set, name, _uid(name, data_set, digest))
        findings.add(FindingKind.UID_GIVEN, name, "it was missing")


def has_one_text(value: object) -> bool:
    """Whether a value is one text that is not blank."""
    return isinstance(value, str) and bool(value.strip())


def _uid(name: str, data_set: Dataset, digest: Callable[[], bytes]) -> str:
    of_meta = data_set.file_meta.get(_OF_META.get(name, ""))
    if has_one_text(of_meta):
        return str(of_meta).strip()
    if name == "SOPClassUID":
        return _SECONDARY_CAPTURE if "Rows" in data_set else _RAW_DATA
    seed = digest()
    if name == "StudyInstanceUID" and has_one_text(data_set.get("SeriesInstanceUID")):
        seed = str(data_set.SeriesInstanceUID).strip().encode()
    return f"2.25.{int.from_bytes(hashlib.sha256(name.encode() + seed).digest()[:16], 'big')}"
