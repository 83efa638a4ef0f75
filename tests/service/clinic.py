"""A small archive as viewers meet it, made from samples: a CT study with a segmentation and a document, and a slide."""

import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image
from pydicom import Dataset, FileMetaDataset, dcmread
from pydicom.encaps import generate_frames
from pydicom.uid import EncapsulatedPDFStorage, ExplicitVRLittleEndian, JPEG2000Lossless, JPEGBaseline8Bit, generate_uid

from tests.pydicom_files import pydicom_path

SLICES = 5
KEPT_AS = "1.2.840.10008.1.2.4.202" if sys.version_info >= (3, 11) else JPEG2000Lossless
"""The transfer syntax that a new data store keeps lossless frames in: HTJ2K where there is an encoder for it."""

PDF = b"%PDF-1.4 " + bytes(range(256)) * 4

_PATIENT = {"PatientID": "PID1", "PatientName": "DOE^JOHN", "PatientBirthDate": "19700101", "PatientSex": "M"}
_CT_STUDY = {**_PATIENT, "StudyDate": "20240115", "StudyTime": "101500", "AccessionNumber": "ACC1"}
_SLIDE_STUDY = {"PatientID": "SLIDE1", "PatientName": "ROE^JANE", "StudyDate": "20250301", "AccessionNumber": "ACC2"}


@dataclass(frozen=True, repr=False)
class Clinic:
    """The data sets by what they are, and the UIDs of them all for the paths of requests."""

    folder: Path
    slices: tuple[Dataset, ...]
    segmentation: Dataset
    document: Dataset
    slide: Dataset

    @property
    def instances(self) -> tuple[Dataset, ...]:
        """All of them."""
        return (*self.slices, self.segmentation, self.document, self.slide)

    @property
    def paths(self) -> Mapping[str, str]:
        """What stands for a study, series or instance in a request line."""
        first = self.slices[0]
        return {
            "study": first.StudyInstanceUID,
            "series": first.SeriesInstanceUID,
            "instance": first.SOPInstanceUID,
            "ct": _path(first),
            "middle_ct": _path(self.slices[SLICES // 2]),
            "ct_series": _path(first).rpartition("/instances/")[0],
            "ct_study": _path(first).partition("/series/")[0],
            "segmentation": _path(self.segmentation),
            "document": _path(self.document),
            "slide": _path(self.slide),
            "slide_series": _path(self.slide).rpartition("/instances/")[0],
            "slide_study": _path(self.slide).partition("/series/")[0],
            "slide_study_uid": self.slide.StudyInstanceUID,
            "slide_series_uid": self.slide.SeriesInstanceUID,
        }

    def frames(self, sop_instance_uid: str) -> tuple[bytes, ...]:
        """The native frames of an instance, from its source."""
        (source,) = (one for one in self.instances if one.SOPInstanceUID == sop_instance_uid)
        return tuple(_frames(source))


def _path(data_set: Dataset) -> str:
    study, series = data_set.StudyInstanceUID, data_set.SeriesInstanceUID
    return f"/studies/{study}/series/{series}/instances/{data_set.SOPInstanceUID}"


def _frames(source: Dataset) -> Iterator[bytes]:
    """Native, as one would get them from the source: nothing for a document."""
    if source.file_meta.TransferSyntaxUID == JPEGBaseline8Bit:
        for stored in generate_frames(source.PixelData, number_of_frames=int(source.NumberOfFrames)):
            yield np.asarray(Image.open(BytesIO(stored)).convert("RGB")).tobytes()
    elif "PixelData" not in source:
        return
    elif source.BitsAllocated == 1:
        yield from (np.packbits(frame, bitorder="little").tobytes() for frame in source.pixel_array)
    else:
        yield source.pixel_array.tobytes()


def write_clinic(folder: Path) -> Clinic:
    """Write the archive into a folder, a file for each instance."""
    study, series = generate_uid(), generate_uid()
    clinic = Clinic(
        folder,
        tuple(_slice(number, study, series) for number in range(1, SLICES + 1)),
        _with_uids(_sample("liver.dcm", Modality="SEG", SeriesNumber=2, **_CT_STUDY), study),
        _document(study),
        _with_uids(_sample("examples_ybr_color.dcm", Modality="SM", SOPClassUID=_SLIDE, **_SLIDE_STUDY)),
    )
    for number, data_set in enumerate(clinic.instances):
        data_set.save_as(folder / f"{number}.dcm", enforce_file_format=True)
    return clinic


_SLIDE = "1.2.840.10008.5.1.4.1.1.77.1.6"


def _slice(number: int, study: str, series: str) -> Dataset:
    made = _sample("CT_small.dcm", Modality="CT", SeriesNumber=1, InstanceNumber=number, **_CT_STUDY)
    made.PixelData = (made.pixel_array + number).tobytes()
    return _with_uids(made, study, series)


def _document(study: str) -> Dataset:
    made = Dataset()
    made.file_meta = FileMetaDataset()
    made.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    made.SOPClassUID = EncapsulatedPDFStorage
    elements = {"Modality": "DOC", "SeriesNumber": 3, "MIMETypeOfEncapsulatedDocument": "application/pdf", **_CT_STUDY}
    for keyword, value in elements.items():
        setattr(made, keyword, value)
    made.EncapsulatedDocument = PDF
    return _with_uids(made, study)


def _sample(name: str, **elements: Any) -> Dataset:
    path = pydicom_path(name)
    data_set = dcmread(path)
    for keyword, value in elements.items():
        setattr(data_set, keyword, value)
    return data_set


def _with_uids(data_set: Dataset, study: str | None = None, series: str | None = None) -> Dataset:
    """UIDs of its own, and of the given study and series."""
    data_set.StudyInstanceUID = study or generate_uid()
    data_set.SeriesInstanceUID = series or generate_uid()
    data_set.SOPInstanceUID = generate_uid()
    return data_set
