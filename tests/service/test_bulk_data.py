"""Values that the metadata points to: every BulkDataURI answers with the bytes of the source."""

from collections.abc import Iterator
from email.parser import BytesParser
from email.policy import HTTP
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import requests
from pydicom import Dataset, FileMetaDataset
from pydicom.uid import EncapsulatedPDFStorage, ExplicitVRLittleEndian, generate_uid

from ahi.image_sets.prepared_writer import BULK_BYTES
from datastore.embedded import Embedded
from dicomweb.multipart import boundary_of
from tests.service.process import Service

PDF = b"%PDF-1.4 " + bytes(range(256)) * 4
PADDED = PDF + b"\0" * (len(PDF) % 2)
LONG = bytes(range(251)) * (BULK_BYTES // 251 + 1)
SHORT = bytes(range(100))
TEXT = "Gr\u00fc\u00dfe\\" * (BULK_BYTES // 7)
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
    image.SpecificCharacterSet, image.TextValue = "ISO_IR 192", TEXT
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
    return requests.get(url, headers={"Accept": accept, **headers}, timeout=60)


def test_short_values_are_inline_and_long_ones_are_told_where(image: str) -> None:
    metadata = requests.get(f"{image}/metadata", timeout=60).json()[0]
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
    metadata = requests.get(f"{document}/metadata", timeout=60).json()[0]
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


@pytest.mark.parametrize(
    ("asked", "content_range", "expected"),
    [
        ("bytes=0-9", "bytes 0-9", PADDED[:10]),
        ("bytes=9-", "bytes 9-", PADDED[9:]),
        ("bytes=-7", "bytes ", PADDED[-7:]),
    ],
)
def test_a_range_of_a_bulk_value_in_multipart_counts_its_own_bytes(
    document: str, asked: str, content_range: str, expected: bytes
) -> None:
    """PS3.18 2016b Section 6.5.5.2.1; a cache would take the Content-Range of an answer for that of its body."""
    answer = _get(f"{document}/bulkdata/00420011", 'multipart/related; type="*/*"', Range=asked)
    assert (answer.status_code, answer.headers["Cache-Control"]) == (206, "no-store")
    assert "Content-Range" not in answer.headers
    assert int(answer.headers["Content-Length"]) == len(answer.content)
    head = answer.content.partition(b"\r\n\r\n")[0]
    assert f"\r\nContent-Range: {content_range}".encode() in head
    assert f"/{len(PADDED)}\r\n".encode() in head
    ((_, location, body),) = _parts(answer)
    assert (location, body) == (f"{document}/bulkdata/00420011", expected)
    beyond = _get(f"{document}/bulkdata/00420011", 'multipart/related; type="*/*"', Range="bytes=99999-")
    assert beyond.status_code == 416
    whole = _get(f"{document}/bulkdata/00420011", 'multipart/related; type="*/*"', Range="bytes=0-9,20-29")
    assert (whole.status_code, _parts(whole)[0][2][: len(PDF)]) == (200, PDF)


def test_pixel_data_is_a_part_for_each_frame_wherever_it_is_asked_for(service: Service, image: str) -> None:
    metadata = requests.get(f"{image}/metadata", timeout=60).json()[0]
    uri = metadata["7FE00010"]["BulkDataURI"]
    study = image.partition("/series/")[0]
    series = image.partition("/instances/")[0]
    for url in (uri, f"{image}/pixeldata", f"{series}/pixeldata", f"{study}/pixeldata"):
        answer = _get(url, 'multipart/related; type="application/octet-stream"')
        assert answer.status_code == 200
        for number, frame in enumerate(FRAMES, 1):
            head = f"Content-Location: {image}/frames/{number}\r\n\r\n".encode()
            assert head + frame.tobytes() in answer.content
        assert int(answer.headers["Content-Length"]) == len(answer.content)


@pytest.mark.parametrize(
    ("path", "status"),
    [
        ("/bulkdata/00282000", 404),
        ("/bulkdata/00480105/1/00282000", 404),
        ("/bulkdata/x/%00/..", 404),
        ("/bulkdata/", 200),  # all bulk data: a slash at the end means nothing
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


def test_long_text_is_told_where_too(image: str) -> None:
    """PS3.18 Table F.2.3-1 lets UT, LT, ST and UC have a BulkDataURI; in UTF-8, as all of the metadata."""
    element = requests.get(f"{image}/metadata", timeout=60).json()[0]["0040A160"]
    assert element == {"vr": "UT", "BulkDataURI": f"{image}/bulkdata/0040A160"}
    assert _get(element["BulkDataURI"], "*/*").content.decode() == TEXT


def _parts(answer: requests.Response) -> list[tuple[str, str, bytes]]:
    """Content-Type, Content-Location and bytes of each part."""
    head = f"Content-Type: {answer.headers['Content-Type']}\r\n\r\n".encode()
    message: Any = BytesParser(policy=HTTP).parsebytes(head + answer.content)
    return [
        (part["Content-Type"].replace('"', ""), part["Content-Location"], part.get_payload(decode=True))
        for part in message.iter_parts()
    ]


def test_all_bulk_values_come_at_each_level(image: str, document: str) -> None:
    """PS3.18 Section 10.4.1.1.4: a part for each, with its URL."""
    accept = 'multipart/related; type="application/octet-stream"'
    study, series = image.partition("/series/")[0], image.partition("/instances/")[0]
    octets = "application/octet-stream; transfer-syntax=1.2.840.10008.1.2.1"
    nested = (octets, f"{image}/bulkdata/00480105/2/00282000", LONG + b"\0" * (len(LONG) % 2))
    text = (octets, f"{image}/bulkdata/0040A160", TEXT.encode())
    frames = [(octets, f"{image}/frames/{number}", frame.tobytes()) for number, frame in enumerate(FRAMES, 1)]
    of_image = [text, nested, *frames]
    of_document = (octets, f"{document}/bulkdata/00420011", PDF + b"\0" * (len(PDF) % 2))
    for url, expected in ((image, of_image), (series, of_image), (study, [of_document, *of_image])):
        answer = _get(f"{url}/bulkdata", accept)
        assert answer.status_code == 200
        assert sorted(_parts(answer)) == sorted(expected)
        assert int(answer.headers["Content-Length"]) == len(answer.content)
        of_object = _get(url, accept)  # PS3.18 Section B.10
        assert (of_object.status_code, of_object.content) == (200, answer.content)
    for content_type, location, body in of_image[:2]:
        alone = _get(location, "*/*")
        assert (alone.headers["Content-Type"], alone.content) == (content_type, body)


@pytest.mark.parametrize(
    ("accept", "status"),
    [
        ("*/*", 200),
        ('multipart/related; type="application/pdf"', 200),
        ('multipart/related; type="image/jls"', 406),
        ("application/pdf", 406),
    ],
)
def test_the_bulk_data_of_a_document_is_the_document(document: str, accept: str, status: int) -> None:
    answer = _get(f"{document}/bulkdata", accept)
    assert answer.status_code == status
    if status == 200:
        assert [part[0] for part in _parts(answer)] == ["application/pdf"]
        known = _get(f"{document}/bulkdata", accept, **{"If-None-Match": answer.headers["ETag"]})
        assert known.status_code == 304


def test_who_names_an_encoding_for_the_pixels_gets_the_rest_as_bytes(image: str) -> None:
    answer = _get(f"{image}/bulkdata", 'multipart/related; type="image/jls"')
    jls = "image/jls; transfer-syntax=1.2.840.10008.1.2.4.80"
    octets = "application/octet-stream; transfer-syntax=1.2.840.10008.1.2.1"
    assert [part[0] for part in _parts(answer)] == [octets, octets, jls, jls, jls]
