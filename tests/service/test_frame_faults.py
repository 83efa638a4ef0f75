"""What AHI gives in a frame's place is neither sent nor kept, whatever resource and form a client asks for."""

import re
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import pytest
import requests
from pydicom import Dataset, dcmread
from pydicom.encaps import encapsulate
from pydicom.uid import MPEG4HP41, generate_uid

from datastore.embedded import Embedded
from tests.datastore.made import made
from tests.pydicom_files import pydicom_path
from tests.service.ahi import Ahi
from tests.service.process import Service

FAULTS = ("body=html", "half", "body=empty", "corrupt=0", "longer=1000")
VIDEO = b"\x00\x00\x00\x01\x67" + bytes(range(256)) * 400
ANY_STORED = "multipart/related; type=application/octet-stream; transfer-syntax=*, */*; transfer-syntax=*"


@dataclass(frozen=True)
class Resource:
    """What is asked for of an instance; `source` is its file, "" for a video."""

    source: str
    path: str
    accept: str = "*/*"
    wado_uri: bool = False

    def get(self, root: str, image: Dataset) -> requests.Response:
        study, series, instance = image.StudyInstanceUID, image.SeriesInstanceUID, image.SOPInstanceUID
        url = f"{root}/studies/{study}/series/{series}/instances/{instance}{self.path}"
        if self.wado_uri:
            url = f"{root}/wado?requestType=WADO&studyUID={study}&seriesUID={series}&objectUID={instance}{self.path}"
        return requests.get(url, headers={"Accept": self.accept}, timeout=60)


RESOURCES = {
    "stored": Resource("CT_small.dcm", "/frames/1", ANY_STORED),
    "stored, native": Resource("liver_1frame.dcm", "/frames/1", ANY_STORED),
    "stored, lossy": Resource("color3d_jpeg_baseline.dcm", "/frames/1", ANY_STORED),
    "decoded": Resource("MR_small.dcm", "/frames/1", "application/octet-stream"),
    "Part 10 as stored": Resource("JPEG2000.dcm", "", 'multipart/related; type="application/dicom"; transfer-syntax=*'),
    "Part 10 decoded": Resource("MR_small_RLE.dcm", "", "application/dicom"),
    "thumbnail": Resource("693_J2KR.dcm", "/thumbnail"),
    "thumbnail of few pixels": Resource("693_UNCR.dcm", "/thumbnail?viewport=32,32"),
    "rendered": Resource("RG1_UNCR.dcm", "/rendered"),
    "WADO-URI object": Resource("US1_UNCR.dcm", "&contentType=application/dicom&transferSyntax=*", wado_uri=True),
    "WADO-URI picture": Resource("OBXXXX1A.dcm", "&contentType=image/jpeg", wado_uri=True),
    "WADO-URI picture of few pixels": Resource("MR2_UNCR.dcm", "&rows=32&columns=32", wado_uri=True),
    "video": Resource("", "/frames/1", ANY_STORED),
    "video as an object": Resource("", "", 'multipart/related; type="application/dicom"; transfer-syntax=*'),
}


@pytest.fixture(scope="module")
def images(tmp_path_factory: pytest.TempPathFactory) -> dict[tuple[str, str], Dataset]:
    """For each resource and fault an image that nobody has asked for: fetchers hold in memory what they decoded."""
    return {(name, fault): _image(resource) for name, resource in RESOURCES.items() for fault in FAULTS}


def _image(resource: Resource) -> Dataset:
    if resource.source:
        path = pydicom_path(resource.source)
        image: Dataset = dcmread(path)
    else:
        image = made(MPEG4HP41, Rows=8, Columns=8, SamplesPerPixel=3, PhotometricInterpretation="YBR_PARTIAL_420",
                     BitsAllocated=8, BitsStored=8, HighBit=7, PixelRepresentation=0, PlanarConfiguration=0,
                     NumberOfFrames=25)  # fmt: skip
        image.PixelData = encapsulate([VIDEO])
        image["PixelData"].VR = "OB"
    image.StudyInstanceUID, image.SeriesInstanceUID, image.SOPInstanceUID = (generate_uid() for _ in range(3))
    image.file_meta.MediaStorageSOPInstanceUID = image.SOPInstanceUID
    return image


@pytest.fixture(scope="module")
def root(images: Mapping[tuple[str, str], Dataset], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An embedded data store that holds them."""
    folder, root = tmp_path_factory.mktemp("files"), tmp_path_factory.mktemp("store")
    for number, image in enumerate(images.values()):
        image.save_as(folder / f"{number}.dcm", enforce_file_format=True)
    Embedded(root).fill([folder])
    return root


def _service(folder: Path, root: Path, ahi: Ahi, **settings: str) -> Service:
    environment = {
        **ahi.environment(),
        "AHI_DEADLINE_SECONDS": "1",
        "PREFETCH_FRAMES": "0",
        "WEB_PROCESSES": "1",
        "FRAME_FETCHERS": "1",
        **settings,
    }
    return Service(folder, environment)


@pytest.fixture(scope="module")
def sound(root: Path, ahi: Ahi, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    """A service that tells what is right: it is asked while nothing is wrong."""
    service = _service(tmp_path_factory.mktemp("sound"), root, ahi)
    yield service
    service.stop()


@pytest.fixture(scope="module")
def service(root: Path, ahi: Ahi, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    """The service that meets the faults."""
    service = _service(tmp_path_factory.mktemp("faced"), root, ahi)
    yield service
    assert "Traceback" not in service.log
    assert service.stop() == 0


@pytest.fixture(autouse=True)
def _healed(ahi: Ahi) -> Iterator[None]:
    yield
    ahi.faults("")


def _content(answer: requests.Response, root: str) -> tuple[int, bytes]:
    """The status and the body, without the address of the service, and without the boundary that follows from it."""
    boundary = re.search(r'boundary="?([^";]+)', answer.headers.get("Content-Type", ""))
    content = answer.content.replace(root.encode(), b"")
    return answer.status_code, content.replace(boundary[1].encode(), b"") if boundary else content


def _cached_frames(service: Service) -> set[str]:
    folders = (service.log_path.parent / "cache").glob("v*/*")
    return {path.name for folder in folders if folder.name in ("frames", "rendered") for path in folder.rglob("*.*")}


@pytest.mark.parametrize("fault", FAULTS)
@pytest.mark.parametrize("name", RESOURCES)
def test_what_is_no_frame_is_neither_sent_nor_kept(
    service: Service, sound: Service, ahi: Ahi, images: Mapping[tuple[str, str], Dataset], name: str, fault: str
) -> None:
    resource, image = RESOURCES[name], images[name, fault]
    right = _content(resource.get(sound.root, image), sound.root)
    assert right[0] == 200
    ahi.faults(f"GetImageFrame:{fault}")
    before = _cached_frames(service)
    answer = resource.get(service.root, image)
    assert answer.status_code in (502, 503), answer.headers
    assert int(answer.headers["Retry-After"]) > 0
    assert answer.headers["Content-Type"] == "application/problem+json"
    assert _cached_frames(service) == before
    ahi.faults("")
    assert _content(resource.get(service.root, image), service.root) == right


def test_a_frame_under_another_type_is_one(
    service: Service, ahi: Ahi, images: Mapping[tuple[str, str], Dataset]
) -> None:
    for name in ("stored", "video"):
        resource, image = RESOURCES[name], images[name, FAULTS[0]]
        _forget(service)
        right = _content(resource.get(service.root, image), service.root)
        _forget(service)
        ahi.faults("GetImageFrame:type=text/plain")
        assert _content(resource.get(service.root, image), service.root) == right
        ahi.faults("")


def _forget(service: Service) -> None:
    for path in (service.log_path.parent / "cache").rglob("*"):
        if path.is_file():
            path.unlink(missing_ok=True)


@pytest.mark.skipif(sys.version_info < (3, 11), reason="there is no encoder of HTJ2K")
def test_a_wrong_byte_among_the_samples_is_found_in_the_background(
    root: Path, ahi: Ahi, images: Mapping[tuple[str, str], Dataset], tmp_path: Path
) -> None:
    resource, image = RESOURCES["stored"], images["stored", FAULTS[0]]
    service = _service(tmp_path, root, ahi, VERIFY_FRAMES="decode")
    try:
        ahi.faults("GetImageFrame:corrupt:x1")
        assert resource.get(service.root, image).status_code == 200  # nobody waits for it to be decoded
        service.logs("frame dropped, its pixels do not have their checksum")
        found = _content(resource.get(service.root, image), service.root)
        _forget(service)
        assert found == _content(resource.get(service.root, image), service.root)
        assert service.log.count("frame dropped") == 1
    finally:
        assert service.stop() == 0
