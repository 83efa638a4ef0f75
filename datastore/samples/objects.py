"""The patients and studies of the samples, and DICOM objects of them. No person stands behind a name."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any
from uuid import NAMESPACE_OID, uuid5

from pydicom import Dataset, FileMetaDataset
from pydicom.uid import UID, ExplicitVRLittleEndian


def uid(name: str) -> str:
    """A UID that is the same each time (PS3.5 Section B.2)."""
    return f"2.25.{uuid5(NAMESPACE_OID, f'ahi-dicomweb-proxy sample {name}').int}"


@dataclass(frozen=True)
class Study:
    """A study and its patient. `name` stands for both in UIDs, `date_time` is written as YYYYMMDDhhmmss."""

    name: str
    patient_id: str
    patient_name: str
    birth_date: str
    sex: str
    description: str
    date_time: str
    accession: str

    @property
    def uid(self) -> str:
        """Its Study Instance UID."""
        return uid(self.name)

    def put_into(self, made: Dataset) -> None:
        """Write patient and study into a data set."""
        day, time = self.date_time[:8], self.date_time[8:]
        values = {
            "SpecificCharacterSet": "ISO_IR 192",
            "PatientID": self.patient_id,
            "PatientName": self.patient_name,
            "PatientBirthDate": self.birth_date,
            "PatientSex": self.sex,
            "PatientAge": f"{(int(day) - int(self.birth_date)) // 10_000:03}Y",
            "StudyInstanceUID": self.uid,
            "StudyID": self.accession.removeprefix("A"),
            "StudyDescription": self.description,
            "AccessionNumber": self.accession,
            "ReferringPhysicianName": "Sample^Referring",
            "InstitutionName": "Sample Hospital",
            **{f"{level}Date": day for level in ("Study", "Series", "Content")},
            **{f"{level}Time": time for level in ("Study", "Series", "Content")},
        }
        for keyword, value in values.items():
            setattr(made, keyword, value)


@dataclass(frozen=True)
class Series:
    """A series of a study."""

    study: Study
    number: int
    modality: str
    description: str

    @property
    def uid(self) -> str:
        """Its Series Instance UID."""
        return uid(f"{self.study.name}/{self.number}")

    def instance_uid(self, number: int) -> str:
        """The SOP Instance UID of its instance of that number."""
        return uid(f"{self.study.name}/{self.number}/{number}")

    def put_into(self, made: Dataset, number: int) -> None:
        """Write patient, study and series into a data set, which is the instance of that number."""
        self.study.put_into(made)
        made.Modality = self.modality
        made.SeriesInstanceUID, made.SOPInstanceUID = self.uid, self.instance_uid(number)
        made.SeriesNumber, made.InstanceNumber, made.SeriesDescription = self.number, number, self.description

    def instance(self, sop_class_uid: str, number: int, **values: Any) -> Dataset:
        """A new instance with these values."""
        made = Dataset()
        made.SOPClassUID = sop_class_uid
        made.Manufacturer = "AHI DICOMweb Proxy"
        self.put_into(made, number)
        for keyword, value in values.items():
            setattr(made, keyword, value)
        return made


def item(**values: Any) -> Dataset:
    """An item of a sequence."""
    made = Dataset()
    for keyword, value in values.items():
        setattr(made, keyword, value)
    return made


def code(value: str, scheme: str, meaning: str) -> Dataset:
    """A coded concept (PS3.3 Section 8)."""
    return item(CodeValue=value, CodingSchemeDesignator=scheme, CodeMeaning=meaning)


def write(made: Dataset, folder: Path, syntax: UID = ExplicitVRLittleEndian) -> None:
    """Write the file of an instance."""
    made.file_meta = FileMetaDataset()
    made.file_meta.TransferSyntaxUID = syntax
    made.save_as(folder / f"{made.SOPInstanceUID}.dcm", enforce_file_format=True)
