"""Archives with reused UIDs and shared IDs, and a whole application in this process that serves them.

AHI is in memory: `Memory` answers the calls of a reader. The index is SQLite, filled as the writer of AWS fills it, and
fetchers do their jobs where they are asked.
"""

import base64
import json
import zipfile
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from io import BytesIO
from pathlib import Path
from typing import Any, cast

import numpy as np

from ahi.cache.cache import Cache
from ahi.client.calls import AhiClient
from ahi.image_sets.image_set import ImageSetKey, ImageSetProperties
from ahi.image_sets.version_cache import VersionCache
from ahi.workers.context import WorkerContext
from ahi.workers.pool import FetcherPool, JobFuture
from dicomweb.errors import NotFound

SIDE = 16
STORES = ("a" * 32, "b" * 32)


@dataclass(frozen=True)
class Patient:
    """Who an image set says it is of; what is None is absent."""

    patient_id: str | None
    name: str
    issuer: str | None = None

    def elements(self) -> dict[str, Any]:
        found = {"PatientName": self.name, "PatientBirthDate": f"19{len(self.name):02}0101",
                 "PatientID": self.patient_id, "IssuerOfPatientID": self.issuer}  # fmt: skip
        return {keyword: value for keyword, value in found.items() if value is not None}


@dataclass(frozen=True)
class ImageSet:
    """One image set; `marks` are numbers, each of one of its instances, by SOP Instance UID."""

    number: int
    store: str
    patient: Patient
    study: str
    series: str
    modality: str
    description: str
    marks: tuple[tuple[str, int], ...]
    is_primary: bool = True
    study_time: str | None = None

    @property
    def key(self) -> ImageSetKey:
        return ImageSetKey(self.store, f"{self.number:032}")

    def metadata(self) -> dict[str, Any]:
        study = {"StudyInstanceUID": self.study, "StudyDate": "20240101", "StudyDescription": self.description}
        study |= {} if self.study_time is None else {"StudyTime": self.study_time}
        instances = {uid: self._instance(uid, mark) for uid, mark in self.marks}
        series = {"SeriesInstanceUID": self.series, "Modality": self.modality, "SeriesNumber": "1"}
        return {
            "ImageSetID": self.key.image_set_id,
            "Patient": {"DICOM": self.patient.elements()},
            "Study": {"DICOM": study, "Series": {self.series: {"DICOM": series, "Instances": instances}}},
        }

    def _instance(self, uid: str, mark: int) -> dict[str, Any]:
        described = {
            "SOPInstanceUID": uid,
            "SOPClassUID": "1.2.840.10008.5.1.4.1.1.7",
            "InstanceNumber": "1",
            "ImageComments": text_of(mark),
            "EncapsulatedDocument": base64.b64encode(text_of(mark).encode() * 2).decode(),
            **{"Rows": SIDE, "Columns": SIDE, "SamplesPerPixel": 1, "PhotometricInterpretation": "MONOCHROME2"},
            **{"BitsAllocated": 8, "BitsStored": 8, "HighBit": 7, "PixelRepresentation": 0},
        }
        frames = [{"ID": f"{self.number:016}{mark:016}"}]
        stored = {"StoredTransferSyntaxUID": "1.2.840.10008.1.2.1", "ImageFrames": frames}
        return {"DICOM": described, "DICOMVRs": {}, **stored}


def text_of(mark: int) -> str:
    """What tells an instance from all others in text, and what its pixels begin with."""
    return f"[mark {mark:05}]"


def pixels_of(mark: int) -> bytes:
    """The pixels of an instance: its number in black and white, and its text."""
    bits = np.array([255 * (mark >> bit & 1) for bit in range(SIDE)], "u1")
    found = np.tile(bits, (SIDE, 1))
    found[-1] = [0, 255] * (SIDE // 2)
    found[0, :12] = list(text_of(mark).encode())
    return found.tobytes()


@dataclass
class Memory:
    """AHI, with what is put into it."""

    image_sets: dict[ImageSetKey, ImageSet] = field(default_factory=dict)
    searched: list[tuple[str, str]] = field(default_factory=list)

    def image_set(
        self, key: ImageSetKey, version: str | None = None, patience_seconds: float | None = None
    ) -> ImageSetProperties:
        one = self._known(key)
        return ImageSetProperties(version or "1", one.is_primary, float(one.number))

    def image_set_metadata(self, key: ImageSetKey, _version: str, _max_bytes: int) -> bytes:
        return json.dumps(self._known(key).metadata()).encode()

    def image_frame(self, key: ImageSetKey, frame_id: str) -> bytes:
        self._known(key)
        return pixels_of(int(frame_id[16:]))

    def search_study(self, datastore_id: str, study: str) -> list[ImageSetKey]:
        self.searched.append((datastore_id, study))
        return [key for key, one in self.image_sets.items() if (key.datastore_id, one.study) == (datastore_id, study)]

    def _known(self, key: ImageSetKey) -> ImageSet:
        if key not in self.image_sets:
            raise NotFound("AWS HealthImaging does not have it any more")
        return self.image_sets[key]


class Done(JobFuture[Any]):
    """A job that has been done."""

    def __init__(self, outcome: Any) -> None:
        self._outcome = outcome

    def result(self) -> Any:
        if isinstance(self._outcome, Exception):
            raise self._outcome
        return self._outcome

    def abandon(self) -> None:
        """It is over."""


class HereFetchers(FetcherPool):
    """Fetchers that do their jobs in this process."""

    def __init__(self, memory: Memory, folder: Path) -> None:
        super().__init__(["here"])
        self.context = WorkerContext(cast(AhiClient, memory), Cache(folder, 2**30), VersionCache(0))

    def submit(self, _route: str, job: Any, *arguments: Any, **_none: Any) -> Any:  # type: ignore[override]
        try:
            return Done(job(self.context, *arguments))
        except Exception as error:  # noqa: BLE001 - handed on to who asks
            return Done(error)

    def prefetch(self, *_: Any) -> None:
        """Nothing is fetched ahead."""


def marks_in(answer: bytes, media_type: str) -> set[int]:
    """The marks of all instances of which an answer has anything."""
    if media_type == "application/zip":
        with zipfile.ZipFile(BytesIO(answer)) as archive:
            answer = b"".join(archive.read(name) for name in archive.namelist())
    pieces = answer.split(b"[mark ")[1:]
    return {int(piece[:5]) for piece in pieces if piece[5:6] == b"]" and piece[:5].isdigit()}


def mark_of_picture(body: bytes) -> int:
    """The mark of the instance that a PNG shows."""
    from PIL import Image  # noqa: PLC0415 - of this alone

    picture = np.asarray(Image.open(BytesIO(body)).convert("L"))
    row, scale = picture[len(picture) // 2], picture.shape[1] // SIDE
    return sum(1 << bit for bit in range(SIDE) if row[bit * scale + scale // 2] > 127)


def shown(image_sets: Sequence[ImageSet], study: str, series: str | None = None) -> dict[tuple[str, str], int]:
    """What of image sets is in a study: the mark of each instance, by series and SOP Instance UID."""
    found: dict[tuple[str, str], int] = {}
    for one in preferred(image_sets):
        if one.study == study and series in (None, one.series):
            for uid, mark in one.marks:
                found.setdefault((one.series, uid), mark)
    return found


def preferred(image_sets: Iterable[ImageSet]) -> list[ImageSet]:
    """The primary ones first, then the latest."""
    return sorted(image_sets, key=lambda one: (not one.is_primary, -one.number))
