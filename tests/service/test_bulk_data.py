"""Values that the metadata points to: every BulkDataURI answers with the bytes of the source."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import requests
from pydicom import Dataset, FileMetaDataset
from pydicom.uid import EncapsulatedPDFStorage, ExplicitVRLittleEndian, generate_uid

from ahi.prepared import BULK_BYTES
from datastore.embedded import Embedded
from dicomweb.multipart import boundary_of
from tests.service.process import Service

PDF = b"%PDF-1.4 " + bytes(range(256)) * 4
LONG = bytes(range(251)) * (BULK_BYTES // 251 + 1)
SHORT = bytes(range(100))
FRAMES = np.arange(3 * 8 * 4, dtype="<u2").reshape(3, 8, 4)


def _data_set(uid: str) -> Dataset:
    data_set = Dataset()
    data_set.file_meta = FileMetaDataset()
    data_set.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    data_set.SOPInstanceUID = uid
    data_set.PatientID, data_set.PatientName, data_set.Modality = "BULK", "Bulk^Data", "OT"
    return data_set


@pytest.fixture(scope="module")
def uids() -> list[str]:
    """Study, and a series with its instance for the document and for the image."""
    return [str(generate_uid()) for _ in range(5)]


@pytest.fixture(scope="module")
def service(uids: list[str], tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    folder: Path = tmp_path_factory.mktemp("bulk")
    document, image = _data_set(uids[2]), _data_set(uids[4])
    document.SOPClassUID = EncapsulatedPDFStorage
    document.MIMETypeOfEncapsulatedDocument, document.EncapsulatedDocument = "application/pdf", PDF
    image.SOPClassUID = "1.2.840.10008.5.1.4.1.1.7.3"
    image.NumberOfFrames, image.Rows, image.Columns = FRAMES.shape
    image.SamplesPerPixel, image.PhotometricInterpretation, image.PixelRepresentation = 1, "MONOCHROME2", 0
    image.BitsAllocated, image.BitsStored, image.HighBit = 16, 16, 15
    image.PixelData = FRAMES.tobytes()
    image.ICCProfile = SHORT
    item = Dataset()
    item.ICCProfile = LONG
    image.OpticalPathSequence = [Dataset(), item]
    for data_set, series in ((document, uids[1]), (image, uids[3])):
        data_set.StudyInstanceUID, data_set.SeriesInstanceUID = uids[0], series
        data_set.save_as(folder / f"{series}.dcm", enforce_file_format=True)
    root = tmp_path_factory.mktemp("bulk-store")
    Embedded(root).fill([folder])
    service = Service(tmp_path_factory.mktemp("bulk-service"), {"DATASTORE_ROOT": str(root)})
    yield service
    service.stop()


@pytest.fixture
def document(service: Service, uids: list[str]) -> str:
    return f"{service.root}/studies/{uids[0]}/series/{uids[1]}/instances/{uids[2]}"


@pytest.fixture
def image(service: Service, uids: list[str]) -> str:
    return f"{service.root}/studies/{uids[0]}/series/{uids[3]}/instances/{uids[4]}"


def _get(url: str, accept: str, **headers: str) -> requests.Response:
    return requests.get(url, headers={"Accept": accept, **headers}, timeout=30)


def test_short_values_are_inline_and_long_ones_are_told_where(image: str) -> None:
    metadata = requests.get(f"{image}/metadata", timeout=30).json()[0]
    assert set(metadata["00282000"]) == {"vr", "InlineBinary"}
    nested = metadata["00480105"]["Value"][1]["00282000"]
    assert nested == {"vr": "OB", "BulkDataURI": f"{image}/bulkdata/00480105/2/00282000"}
    answer = _get(nested["BulkDataURI"], "*/*")
    assert answer.headers["Content-Type"] == "application/octet-stream; transfer-syntax=1.2.840.10008.1.2.1"
    assert answer.content[: len(LONG)] == LONG
    part = _get(nested["BulkDataURI"], "application/octet-stream", Range="bytes=251-300")
    assert (part.status_code, part.content) == (206, LONG[251:301])


@pytest.mark.parametrize(
    ("accept", "media_type"),
    [
        ("*/*", "application/pdf"),
        ("application/pdf", "application/pdf"),
        ("application/octet-stream", "application/octet-stream; transfer-syntax=1.2.840.10008.1.2.1"),
    ],
)
def test_a_document_has_its_natural_type(document: str, accept: str, media_type: str) -> None:
    metadata = requests.get(f"{document}/metadata", timeout=30).json()[0]
    answer = _get(metadata["00420011"]["BulkDataURI"], accept)
    assert answer.headers["Content-Type"] == media_type
    assert answer.content[: len(PDF)] == PDF


def test_a_document_comes_as_multipart_as_viewers_ask_for_it(document: str) -> None:
    """OHIF: clients.md, PDF."""
    accept = 'multipart/related; type="application/pdf", multipart/related; type="application/octet-stream"'
    answer = _get(f"{document}/bulkdata/00420011", accept)
    boundary = boundary_of(answer.headers["ETag"])
    assert answer.headers["Content-Type"] == f'multipart/related; type="application/pdf"; boundary={boundary}'
    assert b"Content-Type: application/pdf\r\n" in answer.content
    assert PDF in answer.content


def test_pixel_data_is_a_part_for_each_frame_wherever_it_is_asked_for(service: Service, image: str) -> None:
    metadata = requests.get(f"{image}/metadata", timeout=30).json()[0]
    uri = metadata["7FE00010"]["BulkDataURI"]
    study = image.partition("/series/")[0]
    series = image.partition("/instances/")[0]
    for url in (uri, f"{image}/pixeldata", f"{series}/pixeldata", f"{study}/pixeldata"):
        answer = _get(url, 'multipart/related; type="application/octet-stream"')
        assert answer.status_code == 200
        for number, frame in enumerate(FRAMES, 1):
            head = f"Content-Location: {image}/frames/{number}\r\n\r\n".encode()
            assert head + frame.tobytes() in answer.content


@pytest.mark.parametrize(
    ("path", "status"),
    [
        ("/bulkdata/00282000", 404),
        ("/bulkdata/00480105/1/00282000", 404),
        ("/bulkdata/x/%00/..", 404),
        ("/bulkdata/", 404),
    ],
)
def test_what_the_metadata_does_not_point_to_is_not_there(image: str, path: str, status: int) -> None:
    assert _get(image + path, "*/*").status_code == status


def test_a_document_has_no_pixel_data(document: str) -> None:
    assert _get(f"{document}/pixeldata", "*/*").status_code == 404
    assert _get(f"{document}/bulkdata/7FE00010", "*/*").status_code == 404


def test_a_bulk_value_is_not_a_picture(document: str) -> None:
    refused = _get(f"{document}/bulkdata/00420011", "image/jpeg")
    assert refused.status_code == 406
    assert "application/pdf" in refused.json()["detail"]
