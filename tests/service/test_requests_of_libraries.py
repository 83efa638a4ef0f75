"""The requests of libraries and of other servers, sent as they send them: each gets what that program can read."""

import pytest

from tests.service.answers import get
from tests.service.clinic import KEPT_AS, SLICES, Clinic
from tests.service.expected import (
    JPEG,
    JSON,
    NATIVE,
    STORED,
    Check,
    browsable,
    document,
    files,
    frames,
    metadata,
    picture,
    refused,
    rows,
)
from tests.service.process import Service

Line = tuple[str, str, str, Check]
"""What it is for, the path and query below the service root, Accept ("" for none), and what must come back."""

CT_STUDY = SLICES + 2  # with a segmentation and a document
HTJ2K, JPEG_2000 = "1.2.840.10008.1.2.4.202", "1.2.840.10008.1.2.4.90"

_JSON = f"{JSON}, application/json"
_FILES = 'multipart/related; type="application/dicom"'
_ANY = 'multipart/related; type="*/*"'
_OCTETS = 'multipart/related; type="application/octet-stream"'
_STORED = f"{_OCTETS}; transfer-syntax=*"
_JPEG_OR_J2K = f'multipart/related; type="image/jpeg", multipart/related; type="image/jp2"; transfer-syntax={JPEG_2000}'

DICOMWEB_CLIENT: list[Line] = [
    (
        "search",
        "/studies?PatientID=PID1&PatientName=DOE%5EJ%2A&StudyDate=20240101-20240131&fuzzymatching=true&limit=5",
        _JSON,
        rows(1, "0020000D"),
    ),
    ("no match", "/studies?PatientID=PID1&PatientName=DOE%5EJ+%C3%96%2A&limit=5", _JSON, rows(0)),
    ("fields", "/studies?includefield=StudyDescription&includefield=PatientAge&offset=0", _JSON, rows(2)),
    ("retrieve_study", "{ct_study}", _FILES, files(CT_STUDY)),
    ("retrieve_series", "{ct_series}", _FILES, files(SLICES)),
    ("retrieve_instance", "{ct}", f"{_FILES}; transfer-syntax=*", files(1)),
    ("retrieve_instance_frames", "{slide}/frames/1,2,5", _ANY, frames(NATIVE, 1, 2, 5, of="slide")),
    ("frames as stored", "{slide}/frames/5,2", _STORED, frames(JPEG, 5, 2, of="slide")),
    ("frames of either type", "{slide}/frames/1", _JPEG_OR_J2K, frames(JPEG, 1, of="slide")),
    (
        "frames of neither type",
        "{ct}/frames/1",
        _JPEG_OR_J2K,
        frames(STORED, 1) if KEPT_AS == JPEG_2000 else refused,
    ),
    ("retrieve_bulkdata", "{document}/bulkdata/00420011", _ANY, document),
    (
        "retrieve_instance_rendered",
        "{ct}/rendered?viewport=512%2C512&window=40%2C400%2Clinear",
        "image/png",
        picture("image/png"),
    ),
]

SLICER: list[Line] = [
    ("studies", "/studies?includefield=StudyDescription&offset=0", _JSON, rows(2, "0020000D")),
    ("studies, the end", "/studies?includefield=StudyDescription&offset=2", _JSON, rows(0)),
    ("series", "{ct_study}/series?includefield=SeriesNumber&offset=0", _JSON, rows(3, "00200011")),
    ("instances", "{ct_series}/instances?offset=0", _JSON, rows(SLICES, "00080018")),
    ("instances, the end", "{ct_series}/instances?offset=5", _JSON, rows(0)),
    ("iter_series", "{ct_series}", _FILES, files(SLICES)),
]

_HIT = ("0020000D", "0020000E", "00080020", "00081190", "00100020")

MONAI_LABEL: list[Line] = [
    ("a series", "/series?SeriesInstanceUID={series}", _JSON, rows(1, *_HIT)),
    ("segmentations", "/series?Modality=SEG", _JSON, rows(1, *_HIT)),
    ("what is segmented", "{segmentation}/metadata", _JSON, rows(1, "00081115")),
    ("series", "{ct_series}", _FILES, files(SLICES)),
]

_SLIDES = "/studies/{slide_study_uid}/instances?00080016=1.2.840.10008.5.1.4.1.1.77.1.6"
_PROBE = 'multipart/related; type="image/{}"; transfer-syntax=1.2.840.10008.1.2.4.{}'

WSIDICOM: list[Line] = [
    (
        "instances of two series",
        f"{_SLIDES}&0020000E={{slide_series_uid}}&0020000E={{series}}&00080060=SM&includefield=AvailableTransferSyntaxUID",
        JSON,
        rows(1, "00080018"),
    ),
    ("probing JPEG", "{slide}/frames/1", _PROBE.format("jpeg", "50"), frames(JPEG, 1, of="slide")),
    ("probing JPEG 2000", "{slide}/frames/1", _PROBE.format("jp2", "90"), refused),
    ("probing lossy JPEG 2000", "{slide}/frames/1", _PROBE.format("jp2", "91"), refused),
    ("probing JPEG of a CT", "{ct}/frames/1", _PROBE.format("jpeg", "50"), refused),
]

EZ_WSI: list[Line] = [
    ("instance", "{ct}", "application/dicom; transfer-syntax=*", files(1, single=True)),
    (
        "series",
        "{ct_series}",
        'multipart/related; transfer-syntax=1.2.840.10008.1.2.1; type="application/dicom"',
        files(SLICES),
    ),
    ("frame", "{slide}/frames/3", _STORED, frames(JPEG, 3, of="slide")),
]

DICOMTROLLEY: list[Line] = [
    ("studies", "/studies?PatientID=PID1&includefield=StudyDescription&includefield=PatientAge", "*/*", rows(1)),
    ("all instances", "/instances?StudyInstanceUID={study}", "*/*", rows(CT_STUDY, "0020000D", "0020000E", "00080018")),
    ("study", "{ct_study}", "*/*", files(CT_STUDY)),
    ("series", "{ct_series}", "*/*", files(SLICES)),
    ("instance", "{ct}", "*/*", files(1)),
    ("metadata", "{ct}/metadata", "*/*", metadata(1)),
]

ORTHANC: list[Line] = [
    ("study", "{ct_study}", f"{_FILES}; transfer-syntax=*", files(CT_STUDY)),
    ("instance", "{ct}", f"{_FILES}; transfer-syntax=*", files(1)),
]

_NAVIGATION = "text/html,application/xhtml+xml,application/xml;q=0.9,image/avif,image/webp,*/*;q=0.8"

OTHERS: list[Line] = [
    ("address bar, search", "/studies?limit=1", _NAVIGATION, browsable),
    ("address bar, metadata", "{ct}/metadata", _NAVIGATION, browsable),
    ("curl, search", "/studies", "*/*", rows(2)),
    ("curl, frame", "{ct}/frames/1", "*/*", frames(NATIVE, 1)),
    ("nothing, frame", "{ct}/frames/1", "", frames(NATIVE, 1)),
    ("nothing, instance", "{ct}", "", files(1)),
    ("nothing, metadata", "{ct}/metadata", "", metadata(1)),
    ("octets", "{ct}/frames/1", _OCTETS, frames(NATIVE, 1)),
    ("octets as one part", "{ct}/frames/1", "application/octet-stream", frames(NATIVE, 1, single=True)),
    (
        "one part as stored",
        "{ct}/frames/1",
        "application/octet-stream; transfer-syntax=*",
        frames(STORED, 1, single=True),
    ),
    (
        "dicomweb-client's HTJ2K",
        "{ct}/frames/1",
        f'multipart/related; type="image/jhc"; transfer-syntax={HTJ2K}',
        frames(STORED, 1) if KEPT_AS == HTJ2K else refused,
    ),
    ("any case of a key", "/studies?PATIENTID=PID1&0020000d={study}", JSON, rows(1)),
    ("a comma list of fields", "/studies?includefield=all", JSON, rows(2)),
    ("a key that means nothing", "/studies?Nonsense=1&_=2", JSON, rows(2)),
]

PYTHON = {"Accept-Encoding": "gzip, deflate", "Connection": "keep-alive"}

TABLES = {
    "dicomweb-client 0.61": (PYTHON, DICOMWEB_CLIENT),
    "3D Slicer": (PYTHON, SLICER),
    "MONAI Label": (PYTHON, MONAI_LABEL),
    "wsidicom": (PYTHON, WSIDICOM),
    "EZ-WSI": (PYTHON, EZ_WSI),
    "dicomtrolley 4.1": (PYTHON, DICOMTROLLEY),
    "Orthanc 1.24": ({}, ORTHANC),
    "scripts and browsers": ({}, OTHERS),
}
"""What each sends with every request, and its lines."""

LINES = [
    pytest.param(headers, *line[1:], id=f"{client}: {line[0]}")
    for client, (headers, lines) in TABLES.items()
    for line in lines
]


@pytest.mark.parametrize(("headers", "target", "accept", "check"), LINES)
def test_a_library_gets_what_it_asks_for(
    clinic_service: Service, clinic: Clinic, headers: dict[str, str], target: str, accept: str, check: Check
) -> None:
    accepting = {"Accept": accept} if accept else {}
    check(get(clinic_service.root, target.format(**clinic.paths), {**headers, **accepting}), clinic)
