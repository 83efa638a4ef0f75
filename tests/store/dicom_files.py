"""Small DICOM files (Part 10), made for tests, and the bodies in which clients send them."""

from collections.abc import Sequence
from io import BytesIO
from typing import Any

import numpy as np
from pydicom import Dataset, FileMetaDataset
from pydicom.filewriter import dcmwrite
from pydicom.uid import ExplicitVRLittleEndian, ImplicitVRLittleEndian

SECONDARY_CAPTURE = "1.2.840.10008.5.1.4.1.1.7"
STUDY, SERIES = "1.2.3.100", "1.2.3.100.1"
BOUNDARY = "5f3c2d1e-boundary"


def data_set(instance: str, *, study: str = STUDY, series: str = SERIES, size: int = 8, **attributes: Any) -> Dataset:
    """An image of random pixels."""
    made = Dataset()
    made.SOPClassUID, made.SOPInstanceUID = SECONDARY_CAPTURE, instance
    made.StudyInstanceUID, made.SeriesInstanceUID = study, series
    made.PatientID, made.PatientName, made.Modality = "P1", "Test^Patient", "OT"
    made.StudyDate, made.StudyTime, made.InstanceNumber = "20260101", "120000", 1
    made.Rows = made.Columns = size
    made.BitsAllocated = made.BitsStored = 8
    made.HighBit, made.PixelRepresentation, made.SamplesPerPixel = 7, 0, 1
    made.PhotometricInterpretation = "MONOCHROME2"
    pixels = np.random.default_rng(sum(instance.encode())).integers(0, 256, size * size, np.uint8)
    made.PixelData = pixels.tobytes()
    for name, value in attributes.items():
        if value is None:
            delattr(made, name)
        else:
            setattr(made, name, value)
    return made


def encoded(made: Dataset, *, implicit: bool = False, syntax: str = "") -> bytes:
    """The file of a data set, whatever its values."""
    made.file_meta = FileMetaDataset()
    made.file_meta.TransferSyntaxUID = ImplicitVRLittleEndian if implicit else ExplicitVRLittleEndian
    made.file_meta.MediaStorageSOPClassUID = made.get("SOPClassUID", "1.2")
    made.file_meta.MediaStorageSOPInstanceUID = made.get("SOPInstanceUID", "1.2")
    file = BytesIO()
    dcmwrite(file, made, enforce_file_format=True)
    content = file.getvalue()
    if syntax:  # the same length: no other byte changes
        before = str(made.file_meta.TransferSyntaxUID).encode()
        content = content.replace(
            before + b"\0" * (len(before) % 2), syntax.encode().ljust(len(before) + len(before) % 2, b"\0")
        )
    return content


def file(instance: str = "1.2.3.100.1.1", **options: Any) -> bytes:
    """The file of an image."""
    return encoded(data_set(instance, **options))


def multipart(files: Sequence[bytes], boundary: str = BOUNDARY, fields: Sequence[str] = ()) -> bytes:
    """A body as browsers send it: it begins with CRLF."""
    head = "\r\n".join(["Content-Type: application/dicom", *fields, "", ""]).encode()
    opening = b"\r\n--" + boundary.encode() + b"\r\n"
    return b"".join(opening + head + content for content in files) + b"\r\n--" + boundary.encode() + b"--"


def content_type(boundary: str = BOUNDARY) -> str:
    """The Content-Type of that body."""
    return f'multipart/related; type="application/dicom"; boundary="{boundary}"'
