"""All sample images, each as a study of its own.

Many of the samples are one image in different encodings, under one SOP Instance UID; as they are, one would replace the
other. Here each file gets UIDs of its own, and nothing else is changed.
"""

import warnings
from dataclasses import dataclass
from pathlib import Path

from pydicom import Dataset, dcmread
from pydicom.uid import generate_uid

from datastore.samples import sample_files

NO_OBJECTS = frozenset({"DICOMDIR"})


@dataclass(frozen=True)
class Sample:
    """A sample with UIDs of its own, and where it came from."""

    name: str
    path: Path
    study_instance_uid: str
    series_instance_uid: str
    sop_instance_uid: str

    @property
    def uids(self) -> tuple[str, str, str]:
        """As clients take them."""
        return self.study_instance_uid, self.series_instance_uid, self.sop_instance_uid

    def read(self) -> Dataset:
        """The source as pydicom reads it."""
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            data_set = dcmread(self.path)
            data_set.decode()
            return data_set


def write_samples(folder: Path) -> list[Sample]:
    """Write the samples that pydicom can read and write into a folder."""
    samples = []
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for number, source in enumerate(sample_files()):
            sample = _write(source, folder / f"{number:03}-{source.name}.dcm")
            if sample:
                samples.append(sample)
    return samples


def _write(source: Path, path: Path) -> Sample | None:
    try:
        data_set = dcmread(source)
        study, series, instance = (generate_uid(entropy_srcs=[source.name, level]) for level in ("1", "2", "3"))
        if "SOPClassUID" not in data_set or "TransferSyntaxUID" not in data_set.file_meta:
            return None
        data_set.StudyInstanceUID, data_set.SeriesInstanceUID, data_set.SOPInstanceUID = study, series, instance
        data_set.file_meta.MediaStorageSOPInstanceUID = instance
        data_set.save_as(path)
    except Exception:  # noqa: BLE001 - what pydicom cannot read or write is no sample for a comparison with pydicom
        path.unlink(missing_ok=True)
        return None
    return Sample(source.name, path, study, series, instance)
