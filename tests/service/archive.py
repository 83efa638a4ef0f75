"""All sample images, each as a study of its own.

Many of the samples are one image in different encodings, under one SOP Instance UID; as they are, one would replace the
other. Here each file gets UIDs of its own, and nothing else is changed.
"""

import warnings
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from pydicom import DataElement, Dataset, dcmread
from pydicom.uid import UID, ExplicitVRBigEndian, ExplicitVRLittleEndian, ImplicitVRLittleEndian, generate_uid

from datastore.importing.samples import sample_files

_NO_SOP_CLASS = "no SOP Class UID"
_OTHER_FILE = "not DICOM"

NOT_WRITTEN = {
    **dict.fromkeys(("DICOMDIR", "DICOMDIR-bigEnd", "DICOMDIR-empty.dcm", "DICOMDIR-implicit"), "a directory"),
    **dict.fromkeys(("DICOMDIR-nooffset", "DICOMDIR-nopatient", "DICOMDIR-reordered"), "a directory"),
    **dict.fromkeys(("README", "README.txt", "crayons.icc", "rtplan.dump", "rtstruct.dump"), _OTHER_FILE),
    **dict.fromkeys(("test1.json", "test_PN.json", "zipMR.gz"), _OTHER_FILE),
    **dict.fromkeys(("UN_sequence.dcm", "empty_charset_LEI.dcm", "meta_missing_tsyntax.dcm"), _NO_SOP_CLASS),
    **dict.fromkeys(("nested_priv_SQ.dcm", "no_meta_group_length.dcm", "priv_SQ.dcm"), _NO_SOP_CLASS),
    **dict.fromkeys(("no_meta.dcm", "chrSQEncoding.dcm", "chrSQEncoding1.dcm"), _NO_SOP_CLASS),
    "MR_truncated.dcm": "half of its pixels are missing",
    "emri_small_jpeg_2k_lossless_too_short.dcm": "cut off before its SOP Class UID",
    "SC_rgb_jpeg.dcm": "pydicom cannot write it again",
}
"""Samples that cannot be given other UIDs, and why; `tests/datastore` imports them as they are."""


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

    def described(self) -> Dataset:
        """The source as it would read in little endian; of its pixels only the description is meant."""
        data_set = self.read()
        if not data_set.original_encoding[1]:
            data_set.walk(_swap)
            data_set.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
        return data_set


def _swap(_data_set: Dataset, element: DataElement) -> None:
    if element.VR == "OW" and element.value:
        element.value = np.frombuffer(element.value, "<u2").byteswap().tobytes()


def write_samples(folder: Path) -> list[Sample]:
    """Write all samples but those of NOT_WRITTEN into a folder."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        sources = [path for path in sample_files() if path.name not in NOT_WRITTEN]
        return [_write(source, folder / f"{number:03}-{source.name}.dcm") for number, source in enumerate(sources)]


def _write(source: Path, path: Path) -> Sample:
    data_set = dcmread(source, force=True)
    uids = tuple(generate_uid(entropy_srcs=[str(source), level]) for level in ("study", "series", "instance"))
    data_set.StudyInstanceUID, data_set.SeriesInstanceUID, data_set.SOPInstanceUID = uids
    if "TransferSyntaxUID" not in data_set.file_meta:
        data_set.file_meta.TransferSyntaxUID = _ENCODINGS[data_set.original_encoding]
    data_set.save_as(path, enforce_file_format=True)
    return Sample(source.name, path, *uids)


_ENCODINGS: Mapping[object, UID] = {
    (True, True): ImplicitVRLittleEndian,
    (False, True): ExplicitVRLittleEndian,
    (False, False): ExplicitVRBigEndian,
}
