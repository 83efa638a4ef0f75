"""DICOM files made for a test: as little as is needed, and what the test is about."""

from pathlib import Path
from typing import Any

import numpy as np
from pydicom import Dataset
from pydicom.dataset import FileMetaDataset
from pydicom.encaps import encapsulate
from pydicom.uid import UID, ExplicitVRLittleEndian, SecondaryCaptureImageStorage

SEGMENTATION = "1.2.840.10008.5.1.4.1.1.66.4"


def made(syntax: str = ExplicitVRLittleEndian, **elements: Any) -> Dataset:
    """A secondary capture of no pixels; `elements` by keyword replace or add to it, None takes one out."""
    data_set = Dataset()
    data_set.file_meta = FileMetaDataset()
    data_set.file_meta.TransferSyntaxUID = UID(syntax)
    start = {
        "SOPClassUID": SecondaryCaptureImageStorage,
        "SOPInstanceUID": "1.2.3.1.1.1",
        "StudyInstanceUID": "1.2.3.1",
        "SeriesInstanceUID": "1.2.3.1.1",
        "PatientID": "P1",
        "PatientName": "Doe^Jane",
        "StudyDate": "20240102",
        "SeriesNumber": "2",
        "Modality": "OT",
    }
    for keyword, value in {**start, **elements}.items():
        if value is not None:
            setattr(data_set, keyword, value)
    data_set.file_meta.MediaStorageSOPClassUID = UID(start["SOPClassUID"])
    data_set.file_meta.MediaStorageSOPInstanceUID = UID(start["SOPInstanceUID"])
    return data_set


def with_pixels(pixels: np.ndarray, photometric: str = "MONOCHROME2", **elements: Any) -> Dataset:
    """Native pixels: frames x rows x columns, and samples for colour; booleans become packed bits."""
    binary = pixels.dtype == bool
    bits = 1 if binary else 8 * pixels.dtype.itemsize
    samples = pixels.shape[3] if pixels.ndim == 4 else 1
    content = np.packbits(pixels.ravel(), bitorder="little").tobytes() if binary else pixels.tobytes()
    described = {
        "NumberOfFrames": str(pixels.shape[0]),
        "Rows": pixels.shape[1],
        "Columns": pixels.shape[2],
        "SamplesPerPixel": samples,
        "PhotometricInterpretation": photometric,
        "BitsAllocated": bits,
        "BitsStored": bits,
        "HighBit": bits - 1,
        "PixelRepresentation": int(pixels.dtype.kind == "i"),
    }
    if samples > 1:
        described["PlanarConfiguration"] = 0
    data_set = made(**{**described, **elements})
    data_set.add_new("PixelData", "OW" if bits > 8 else "OB", content + b"\0" * (len(content) % 2))
    return data_set


def encapsulated(syntax: str, frames: list[bytes], **elements: Any) -> Dataset:
    """Frames in an encoding of their own, which need not be sound."""
    described = {
        "NumberOfFrames": str(len(frames)),
        "Rows": 4,
        "Columns": 5,
        "SamplesPerPixel": 1,
        "PhotometricInterpretation": "MONOCHROME2",
        "BitsAllocated": 8,
        "BitsStored": 8,
        "HighBit": 7,
        "PixelRepresentation": 0,
    }
    data_set = made(syntax, **{**described, **elements})
    data_set.add_new("PixelData", "OB", encapsulate(frames))
    data_set["PixelData"].is_undefined_length = True
    return data_set


def written(data_set: Dataset, path: Path) -> Path:
    """The file of a data set."""
    path.parent.mkdir(parents=True, exist_ok=True)
    data_set.save_as(path, enforce_file_format=True)
    return path
