"""The requests of viewers, sent as they send them: each gets what that viewer can read."""

import pytest

from tests.service.answers import get
from tests.service.clinic import KEPT_AS, SLICES, Clinic
from tests.service.expected import (
    JPEG,
    JSON,
    NATIVE,
    STORED,
    Check,
    document,
    files,
    frames,
    metadata,
    picture,
    preflight,
    rows,
)
from tests.service.process import Service

Line = tuple[str, str, str, Check]
"""What it is for, the path and query below the service root, Accept ("" for none), and what must come back."""

CT_STUDY = SLICES + 2  # with a segmentation and a document
HTJ2K, JPEG_2000 = "1.2.840.10008.1.2.4.202", "1.2.840.10008.1.2.4.90"

_TABLE = (
    "includefield=00080020,00080030,00080050,00080061,00080090,00081030,00100010,00100020,00100021,00100030,00100040,"
    "0020000D,00200010"
)
_SHOWN = ("0020000D", "00100010", "00100020", "00100030", "00100040", "00080020", "00080030", "00080050", "00080061")
_FILE = 'multipart/related;type="application/dicom";transfer-syntax=*'
_NATIVE_FILE = 'multipart/related;type="application/dicom";transfer-syntax=1.2.840.10008.1.2.1'
_SERIES_TABLE = f"{_TABLE},0008103E,00080060,0020000E,00200011,00081190"

WEASIS: list[Line] = [
    (
        "search",
        f"/studies?00100010=DOE*&00080061=CT,MR&00080020=20240101-20240131&{_TABLE}&limit=10&offset=0",
        "",
        rows(1, *_SHOWN),
    ),
    ("next page", f"/studies?00100010=DOE*&00080061=CT,MR&{_TABLE}&limit=10&offset=10", "", rows(0)),
    ("nothing entered", f"/studies?&{_TABLE}&limit=10&offset=0", "", rows(2, "0020000D", "00100010")),
    ("an empty field", f"/studies?00100020=PID1&&{_TABLE}", "", rows(1, *_SHOWN)),
    ("a caret", f"/studies?00100010=DOE%5EJOHN&{_TABLE}", "", rows(1)),
    ("a blank", f"/studies?00100010=DOE+JOHN&{_TABLE}", "", rows(0)),
    ("from a date", f"/studies?00080020=20240101-&{_TABLE}", "", rows(2)),
    ("until a date", f"/studies?00080020=-20240131&{_TABLE}", "", rows(1)),
    ("what users append", f"/studies?00100020=PID1&{_TABLE}&includedefaults=false", "", rows(1)),
    (
        "series",
        "{ct_study}/series?includefield=0008103E,00080060,0020000E,00200011,00081190",
        "",
        rows(3, "00080060", "0020000E", "00200011", "00081190"),
    ),
    (
        "instances",
        "{ct_series}/instances?includefield=00080018,00200013,00081190&offset=0&limit=1000",
        "",
        rows(SLICES, "00080018", "00200013", "00081190"),
    ),
    ("instances, next page", "{ct_series}/instances?includefield=00080018&offset=1000&limit=1000", "", rows(0)),
    ("instance", "{ct}", _FILE, files(1, KEPT_AS)),
    ("dicom:rs, studyUID", f"/studies?0020000D={{study}}&{_TABLE}", "", rows(1, "0020000D")),
    ("dicom:rs, patientID", f"/studies?00100020=PID1&{_TABLE}", "", rows(1, "0020000D")),
    ("dicom:rs, patientID of nobody", f"/studies?00100020=PID9&{_TABLE}", "", rows(0)),
    ("dicom:rs, accessionNumber", f"/studies?00080050=ACC1&{_TABLE}", "", rows(1, "0020000D")),
    (
        "dicom:rs, seriesUID",
        f"/series?0020000E={{series}}&{_SERIES_TABLE}",
        "",
        rows(1, "0020000D", "0020000E", "00100020"),
    ),
    (
        "dicom:rs, objectUID",
        f"/instances?00080018={{instance}}&{_SERIES_TABLE},00080018",
        "",
        rows(1, "0020000D", "0020000E", "00080018", "00100020"),
    ),
    ("dicom:rs, count", "{ct_study}/series?0020000E={series}&includefield=00201209", JSON, rows(1, "00201209")),
    ("dicom:rs, series", "{ct_series}", _FILE, files(SLICES, KEPT_AS)),
    ("dicom:rs, series, --accept-ext", "{ct_series}", _NATIVE_FILE, files(SLICES)),
    (
        "dicom:rs, missing instances",
        "{ct_series}/instances?includefield=00080016,00080018,00200013&offset=0&limit=1000",
        JSON,
        rows(SLICES, "00080016", "00080018", "00200013"),
    ),
    ("thumbnail, which", "{ct_series}/instances?includefield=00080018&limit=1&offset=2", "", rows(1, "00080018")),
    ("thumbnail, rendered", "{ct}/rendered?viewport=256%2C256", "image/jpeg", picture("image/jpeg")),
    ("thumbnail, series", "{ct_series}/thumbnail?viewport=256%2C256", "image/jpeg", picture("image/jpeg")),
    ("thumbnail, instance", "{ct}/thumbnail?viewport=256%2C256", "image/jpeg", picture("image/jpeg")),
    (
        "thumbnail, WADO-URI",
        "/wado?requestType=WADO&studyUID={study}&seriesUID={series}&objectUID={instance}&contentType=image/jpeg"
        "&imageQuality=75&rows=256&columns=256",
        "",
        picture("image/jpeg"),
    ),
]

_QUOTED = 'multipart/related; type="application/octet-stream"; transfer-syntax="*"'
_BARE = "multipart/related; type=application/octet-stream; transfer-syntax=*"
_OHIF = "limit=101&offset=0&fuzzymatching=false&includefield=00081030%2C00080060%2C00080090%2C00100030"
_OHIF_SHOWN = ("0020000D", "00080020", "00080050", "00080061", "00100010", "00100020", "00201208")
_AS_JPEG_2000 = f'multipart/related; type="image/jp2"; transfer-syntax="{JPEG_2000}"'
_AS_HTJ2K = f"multipart/related; type=image/jphc; transfer-syntax={HTJ2K},*/*"
_AS_PDF = 'multipart/related; type="application/pdf", multipart/related; type="application/octet-stream"'

OHIF: list[Line] = [
    ("work list", f"/studies?{_OHIF}", JSON, rows(2, *_OHIF_SHOWN)),
    (
        "work list, filtered",
        "/studies?PatientName=*doe*&00100020=*PID*&AccessionNumber=*ACC*&ModalitiesInStudy=CT%2CMR&limit=101&offset=0"
        "&fuzzymatching=true&includefield=00081030%2C00080060%2C00080090&StudyDate=20240101-20240131",
        JSON,
        rows(1, *_OHIF_SHOWN),
    ),
    ("work list, a lone end date", f"/studies?{_OHIF}&StudyDate=19700102-20240131", JSON, rows(1)),
    ("two studies", f"/studies?{_OHIF}&StudyInstanceUID={{study}}%5C{{slide_study_uid}}", JSON, rows(2)),
    ("a study", f"/studies?{_OHIF}&StudyInstanceUID={{study}}", JSON, rows(1, *_OHIF_SHOWN)),
    (
        "its series",
        "{ct_study}/series?includefield=00080021%2C00080031%2C0008103E%2C00200011",
        JSON,
        rows(3, "00080060", "0020000E", "00200011", "00201209"),
    ),
    (
        "one series",
        "{ct_study}/series?includefield=00080021%2C00080031%2C0008103E%2C00200011&SeriesInstanceUID={series}",
        JSON,
        rows(1, "00080060", "0020000E"),
    ),
    ("metadata of a series", "{ct_series}/metadata", JSON, metadata(SLICES)),
    ("metadata of a study, not lazy", "{ct_study}/metadata", JSON, metadata(CT_STUDY)),
    ("metadata, older releases", "{ct_series}/metadata", f"{JSON}, {_BARE}", metadata(SLICES)),
    ("metadata, a parameter twice", "{ct_series}/metadata", f"{JSON}, {_BARE}; transfer-syntax=*", metadata(SLICES)),
    ("prior studies", f"/studies?00100020=PID1&{_OHIF}", JSON, rows(1, *_OHIF_SHOWN)),
    ("frame", "{ct}/frames/1", _QUOTED, frames(STORED, 1)),
    ("frame without a preflight", "{ct}/frames/1", _BARE, frames(STORED, 1)),
    ("frame, a parameter twice", "{ct}/frames/1", f"{_BARE}; transfer-syntax=*", frames(STORED, 1)),
    (
        "frame, requestTransferSyntaxUID",
        "{ct}/frames/1",
        _AS_JPEG_2000,
        frames(f"image/jp2; transfer-syntax={JPEG_2000}", 1),
    ),
    ("frame, acceptHeader", "{ct}/frames/1", _AS_HTJ2K, frames(STORED if KEPT_AS == HTJ2K else NATIVE, 1)),
    ("frame of a cine loop", "{slide}/frames/30", _BARE, frames(JPEG, 30, of="slide")),
    ("thumbnail, wadors", "{middle_ct}/frames/1", _BARE, frames(STORED, 1, of="middle_ct")),
    (
        "thumbnail, thumbnailRendering",
        "{ct}/thumbnail?accept=image%2Fjpeg",
        'multipart/related; type="application/octet-stream"',
        picture("image/jpeg"),
    ),
    ("document", "{document}/bulkdata/00420011", _AS_PDF, document),
    ("segmentation", "{segmentation}", 'multipart/related; type="application/dicom"', files(1)),
]

_TILES = (
    'multipart/related; type="image/jls", multipart/related; type="image/jp2", multipart/related; type="image/jpx", '
    'multipart/related; type="image/jpeg"'
)

SLIM: list[Line] = [
    ("studies", "/studies?ModalitiesInStudy=SM", JSON, rows(1, "0020000D", "00100010")),
    ("studies by name", "/studies?ModalitiesInStudy=SM&PatientName=*roe*&fuzzymatching=true", JSON, rows(1)),
    ("series of a hit", "{slide_study}/series", JSON, rows(1, "0020000E", "00080060")),
    ("slides", "/series?Modality=SM&StudyInstanceUID={slide_study_uid}", JSON, rows(1, "0020000D", "0020000E")),
    ("metadata", "{slide_series}/metadata", JSON, rows(1, "00280008", "00280010", "00280011", "00280101")),
    ("reports", "{slide_study}/instances?Modality=SR", JSON, rows(0)),
    ("presentations", "{slide_study}/instances?Modality=PR", JSON, rows(0)),
    ("annotations", "{slide_study}/series?Modality=ANN", JSON, rows(0)),
    ("segmentations", "{ct_study}/series?Modality=SEG", JSON, rows(1, "0020000E")),
    ("parametric maps", "{slide_study}/series?Modality=PM", JSON, rows(0)),
    ("rendered", "{slide}/rendered?viewport=128,128&iccprofile=yes", "image/png", picture("image/png")),
    ("tile", "{slide}/frames/7", _QUOTED.replace('"*"', "*"), frames(JPEG, 7, of="slide")),
    ("tile, older versions", "{slide}/frames/7", _TILES, frames(JPEG, 7, of="slide")),
    ("tile, any type", "{slide}/frames/7", 'multipart/related; type="*/*"', frames(NATIVE, 7, of="slide")),
]

DWV: list[Line] = [
    ("all series", "/series?", JSON, rows(4, "0020000D", "0020000E", "00080060")),
    ("instances", "{ct_series}/instances?", JSON, rows(SLICES, "00080018", "00200013")),
    ("thumbnail", "{ct}/rendered?viewport=64,64", "image/png", picture("image/png")),
    (
        "series",
        "{ct_series}",
        'multipart/related; type="application/dicom"; transfer-syntax=*;',
        files(SLICES, KEPT_AS),
    ),
    ("instance", "{ct}", "application/dicom", files(1, single=True)),
]

_BROWSER = {
    "Accept-Encoding": "gzip, deflate, br, zstd",
    "Origin": "http://localhost:3000",
    "Sec-Fetch-Mode": "cors",
}

HEADERS = {
    "Weasis 4.7.2": {
        "Connection": "Upgrade, HTTP2-Settings",
        "HTTP2-Settings": "AAEAAEAAAAIAAAAAAAMAAAAAAAQBAAAAAAUAAEAABgAGAAA",
        "Upgrade": "h2c",
        "User-Agent": "Weasis/4.7.2",
    },
    "OHIF 3.13.2": _BROWSER,
    "Slim 0.46": _BROWSER,
    "dwv 0.36": _BROWSER,
}
"""What each sends with every request: Java's client asks for HTTP/2, browsers say which page asks."""

LINES = [
    pytest.param(viewer, *line[1:], id=f"{viewer}: {line[0]}")
    for viewer, lines in zip(HEADERS, (WEASIS, OHIF, SLIM, DWV), strict=True)
    for line in lines
]


@pytest.mark.parametrize(("viewer", "target", "accept", "check"), LINES)
def test_a_viewer_gets_what_it_asks_for(
    clinic_service: Service, clinic: Clinic, viewer: str, target: str, accept: str, check: Check
) -> None:
    headers = {**HEADERS[viewer], **({"Accept": accept} if accept else {})}
    answer = get(clinic_service.root, target.format(**clinic.paths), headers)
    check(answer, clinic)
    if "Origin" in headers:
        assert answer.headers["Access-Control-Allow-Origin"] == headers["Origin"]


def test_a_browser_may_ask_with_a_quoted_accept(clinic_service: Service, clinic: Clinic) -> None:
    """It asks for leave first, once for each frame."""
    asks = {"Access-Control-Request-Method": "GET", "Access-Control-Request-Headers": "accept"}
    target = "{ct}/frames/1".format(**clinic.paths)
    preflight(get(clinic_service.root, target, {**HEADERS["OHIF 3.13.2"], **asks}, "OPTIONS"), clinic)


def test_weasis_finds_its_own_root_in_the_urls_of_a_search(clinic_service: Service, clinic: Clinic) -> None:
    """It cuts them at /studies/; and it compares the count with what the series retrieve delivered."""
    series = get(clinic_service.root, "{ct_study}/series?0020000E={series}".format(**clinic.paths), {}).json[0]
    assert series["00081190"]["Value"] == [clinic_service.root + clinic.paths["ct_series"]]
    assert series["00201209"]["Value"] == [SLICES]
