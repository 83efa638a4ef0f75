"""Samples that come with pydicom and pydicom-data: real images, given patients and dates of our own."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from pydicom import Dataset, dcmread

from datastore.importing.samples import sample_files
from datastore.samples.objects import Series, Study, write

_PATIENT_GROUPS = frozenset({0x0010, 0x0032, 0x0038, 0x0040})
_DROPPED = (
    *("InstitutionAddress", "InstitutionalDepartmentName", "StationName", "OperatorsName"),
    *("NameOfPhysiciansReadingStudy", "PerformingPhysicianName", "ReferencedImageSequence", "ImageComments"),
    *("InstanceCreationDate", "InstanceCreationTime", "TimezoneOffsetFromUTC", "DeviceSerialNumber"),
    *("AcquisitionDate", "AcquisitionTime", "IconImageSequence"),
)


@dataclass(frozen=True)
class Shipped:
    """A file, the series that it becomes, and values that are replaced in it."""

    name: str
    series: Series
    values: Mapping[str, Any] = field(default_factory=dict)

    def write(self, folder: Path, sources: Mapping[str, Path]) -> None:
        """Write the file with the patient of its series."""
        made = dcmread(sources[self.name])
        _clear(made)
        self.series.put_into(made, 1)
        for keyword, value in self.values.items():
            setattr(made, keyword, value)
        write(made, folder, made.file_meta.TransferSyntaxUID)


def _clear(made: Dataset) -> None:
    """Remove what tells of another patient, place or day."""
    made.remove_private_tags()
    for element in list(made.elements()):
        if element.tag.group in _PATIENT_GROUPS:
            del made[element.tag]
    for keyword in _DROPPED:
        if keyword in made:
            delattr(made, keyword)


_RADIOGRAPH = Study(
    "radiograph", "SAMPLE2", "Okafor^James", "19480704", "M", "Chest radiograph", "20261111140500", "A20261111"
)
_ECHO = Study("echo", "SAMPLE3", "Lindqvist^Eva", "19720918", "F", "Echocardiography", "20261110101500", "A20261110")
_NODE = Study(
    "node",
    "SAMPLE4",
    "Tanaka^Hiroshi=田中^博",
    "19830227",
    "M",
    "Ultrasound of a lymph node",
    "20261109153000",
    "A20261109",
)
_SHOULDER = Study("shoulder", "SAMPLE5", "Moreau^Luc", "19790530", "M", "MR shoulder", "20261108083000", "A20261108")
_LIVER = Study("liver", "SAMPLE6", "Novak^Petra", "19661123", "F", "MR liver", "20261107111500", "A20261107")
_ECG = Study("ecg", "SAMPLE2", "Okafor^James", "19480704", "M", "ECG at rest", "20261013090000", "A20261013")

SHIPPED = (
    Shipped(
        "RG1_UNCR.dcm", Series(_RADIOGRAPH, 1, "CR", "PA"), {"PixelSpacing": None, "ImagerPixelSpacing": [0.2, 0.2]}
    ),
    Shipped("color3d_jpeg_baseline.dcm", Series(_ECHO, 1, "US", "Apical four chambers")),
    Shipped("US1_UNCR.dcm", Series(_NODE, 1, "US", "Power Doppler")),
    Shipped("MR2_UNCR.dcm", Series(_SHOULDER, 1, "MR", "T1 coronal")),
    Shipped("examples_overlay.dcm", Series(_LIVER, 1, "MR", "T1 VIBE, contrast medium, arterial")),
    Shipped("waveform_ecg.dcm", Series(_ECG, 1, "ECG", "12 leads"), {"AcquisitionDateTime": _ECG.date_time}),
)


def write_shipped(folder: Path) -> None:
    """Write all of them."""
    sources = {path.name: path for path in sample_files()}
    for sample in SHIPPED:
        sample.write(folder, sources)
