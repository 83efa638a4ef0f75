"""Lossless transfer syntaxes other than the stored one: what is asked for comes, and shows the pixels of the source."""

import warnings
import zipfile
from io import BytesIO
from pathlib import Path

import numpy as np
import pytest
import requests
from pydicom import Dataset, dcmread
from pydicom.pixels import pixel_array
from pydicom.uid import UID

from ahi.codecs.frames import HAS_OPENJPH
from datastore.embedded import Embedded
from dicomweb.transfer_syntax import transfer_syntax
from tests.datastore.made import made, with_pixels, written
from tests.service.archive import Sample
from tests.service.process import Service

ELE = "1.2.840.10008.1.2.1"
RLE = "1.2.840.10008.1.2.5"
JPEG_LS = "1.2.840.10008.1.2.4.80"
JPEG_2000 = "1.2.840.10008.1.2.4.90"
TARGETS = [RLE, JPEG_LS, JPEG_2000, *(["1.2.840.10008.1.2.4.201", "1.2.840.10008.1.2.4.202"] if HAS_OPENJPH else [])]

LOSSLESS = [
    "CT_small.dcm",
    "MR_small_RLE.dcm",
    "examples_rgb_color.dcm",
    "examples_palette.dcm",
    "SC_ybr_full_uncompressed.dcm",
    "rtdose.dcm",
]


@pytest.fixture
def sample(request: pytest.FixtureRequest, samples: dict[str, Sample]) -> Sample:
    return samples[request.param]


def _get(service: Service, sample: Sample, accept: str, path: str = "") -> requests.Response:
    url = "{}/studies/{}/series/{}/instances/{}{}".format(service.root, *sample.uids, path)
    return requests.get(url, headers={"Accept": accept}, timeout=60)


def _pixels(data_set: Dataset) -> np.ndarray:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return pixel_array(data_set)


@pytest.mark.parametrize("target", TARGETS)
@pytest.mark.parametrize("sample", LOSSLESS, indirect=True)
def test_an_instance_is_encoded_again_without_loss(service: Service, sample: Sample, target: str) -> None:
    source = sample.read()
    answer = _get(service, sample, f"application/dicom; transfer-syntax={target}")
    if source.BitsAllocated == 32 and target in (JPEG_LS, JPEG_2000):
        assert answer.status_code == 406
        assert RLE in answer.json()["detail"]
        return
    assert answer.status_code == 200, answer.text
    assert answer.headers["Content-Type"] == f"application/dicom; transfer-syntax={target}"
    assert int(answer.headers["Content-Length"]) == len(answer.content)
    ours = dcmread(BytesIO(answer.content))
    assert ours.file_meta.TransferSyntaxUID == target
    assert ours.get("NumberOfFrames") == source.get("NumberOfFrames")
    assert ours.get("LossyImageCompression") == source.get("LossyImageCompression")
    if source.SamplesPerPixel == 3:
        as_stored = target.startswith("1.2.840.10008.1.2.4.20")
        assert ours.PlanarConfiguration == 0
        assert ours.PhotometricInterpretation == ("YBR_RCT" if as_stored else "RGB")
    if source.BitsAllocated < 32 or target == RLE:  # pydicom has no decoder for the rest
        assert np.array_equal(_pixels(ours), _pixels(source))


@pytest.mark.parametrize("target", TARGETS)
def test_frames_are_labelled_with_what_they_are(service: Service, samples: dict[str, Sample], target: str) -> None:
    media_type = transfer_syntax(target).media_type
    expected = f"{media_type}; transfer-syntax={target}"
    answer = _get(service, samples["CT_small.dcm"], expected, "/frames/1")
    assert (answer.status_code, answer.headers["Content-Type"]) == (200, expected)
    file = dcmread(
        BytesIO(_get(service, samples["CT_small.dcm"], f"application/dicom; transfer-syntax={target}").content)
    )
    assert answer.content in file.PixelData
    wrapped = _get(
        service,
        samples["CT_small.dcm"],
        f'multipart/related; type="{media_type}"; transfer-syntax={target}',
        "/pixeldata",
    )
    assert f"Content-Type: {expected}\r\n".encode() in wrapped.content
    assert answer.content in wrapped.content
    part = requests.get(answer.url, headers={"Accept": expected, "Range": "bytes=0-9"}, timeout=60)
    assert (part.status_code, part.content) == (206, answer.content[:10])


@pytest.mark.parametrize(
    ("sample", "accept", "path"),
    [
        pytest.param("color3d_jpeg_baseline.dcm", f"application/dicom; transfer-syntax={RLE}", "", id="lossy"),
        pytest.param("color3d_jpeg_baseline.dcm", "image/jls", "/frames/1", id="a frame of it"),
        pytest.param("liver_1frame.dcm", f"application/dicom; transfer-syntax={RLE}", "", id="one bit"),
    ],
    indirect=["sample"],
)
def test_what_was_lossy_or_has_no_whole_bytes_is_not_encoded_again(
    service: Service, sample: Sample, accept: str, path: str
) -> None:
    assert _get(service, sample, accept, path).status_code == 406


@pytest.fixture(scope="module")
def mixed(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str]:
    """An embedded data store with one study: a 16-bit image, a 32-bit image and a report in one series; its UID."""
    folder = tmp_path_factory.mktemp("mixed")
    study, series = "1.2.3.4", "1.2.3.4.5"
    pixels = np.arange(2 * 8 * 4).reshape(2, 8, 4)
    made_of = [with_pixels(pixels.astype("<u2")), with_pixels(pixels.astype("<u4")), made()]
    for number, data_set in enumerate(made_of):
        data_set.StudyInstanceUID, data_set.SeriesInstanceUID, data_set.InstanceNumber = study, series, number
        data_set.SOPInstanceUID = data_set.file_meta.MediaStorageSOPInstanceUID = UID(f"{series}.{number}")
        written(data_set, folder / f"{number}.dcm")
    root = tmp_path_factory.mktemp("mixed-store")
    Embedded(root).fill([folder])
    return root, study


@pytest.mark.parametrize(
    ("target", "syntaxes"),
    [(JPEG_LS, [JPEG_LS, ELE, ELE]), (RLE, [RLE, RLE, ELE]), (ELE, [ELE, ELE, ELE])],
)
def test_a_mixed_study_is_delivered_part_by_part(
    mixed: tuple[Path, str], tmp_path: Path, target: str, syntaxes: list[str]
) -> None:
    """PS3.18 Section 8.7.8; a report has no pixels to encode, and 32 bits are too many for JPEG-LS."""
    root, study = mixed
    service = Service(tmp_path, {"DATASTORE_ROOT": str(root)})
    try:
        url = f"{service.root}/studies/{study}"
        answer = requests.get(url, headers={"Accept": f"application/zip; transfer-syntax={target}"}, timeout=60)
        accept = f'multipart/related; type="application/dicom"; transfer-syntax={target}'
        wrapped = requests.get(url, headers={"Accept": accept}, timeout=60)
        lossy = requests.get(url, headers={"Accept": accept.replace(target, "1.2.840.10008.1.2.4.50")}, timeout=60)
    finally:
        service.stop()
    with zipfile.ZipFile(BytesIO(answer.content)) as archive:
        files = [dcmread(BytesIO(archive.read(name))) for name in archive.namelist()]
    assert [file.file_meta.TransferSyntaxUID for file in files] == syntaxes
    assert wrapped.status_code == 200
    for syntax in syntaxes:
        assert f"Content-Type: application/dicom; transfer-syntax={syntax}\r\n".encode() in wrapped.content
    assert lossy.status_code == 406


@pytest.mark.parametrize("accept", ["application/dicom; transfer-syntax=*", "application/dicom"])
def test_part_10_for_any_transfer_syntax_is_as_stored_and_by_default_explicit(
    service: Service, samples: dict[str, Sample], accept: str
) -> None:
    for name in ("CT_small.dcm", "color3d_jpeg_baseline.dcm"):
        stored = _get(service, samples[name], "*/*", "/metadata").json()[0]["00083002"]["Value"][0]
        answer = _get(service, samples[name], accept)
        assert dcmread(BytesIO(answer.content)).file_meta.TransferSyntaxUID == (stored if accept.endswith("*") else ELE)


def test_operators_can_have_it_the_other_way_round(mixed: tuple[Path, str], tmp_path: Path) -> None:
    """For viewers that ask for any transfer syntax and cannot decode all (clients.md, rule 6)."""
    root, study = mixed
    settings = {"PART10_UNNAMED": "stored", "PART10_ANY": "explicit-le"}
    service = Service(tmp_path, {"DATASTORE_ROOT": str(root), **settings})
    try:
        url = f"{service.root}/studies/{study}"
        by_default = [requests.get(url, timeout=60) for _ in range(2)]
        accept = 'multipart/related; type="application/dicom"; transfer-syntax=*'
        explicit = requests.get(url, headers={"Accept": accept}, timeout=60)
        uids = {"studyUID": study, "seriesUID": "1.2.3.4.5", "objectUID": "1.2.3.4.5.0"}
        syntax = {"requestType": "WADO", "contentType": "application/dicom", "transferSyntax": "*"}
        by_uri = requests.get(f"{service.root}/wado", params={**syntax, **uids}, timeout=60)
    finally:
        service.stop()
    assert by_uri.headers["Content-Type"] == f"application/dicom; transfer-syntax={ELE}"
    assert explicit.content.count(f"transfer-syntax={ELE}\r\n".encode()) == 3
    assert by_default[0].content.count(f"transfer-syntax={ELE}\r\n".encode()) < 3
    assert all("Content-Length" in answer.headers for answer in by_default)  # so few are all had before the head
    assert by_default[0].content == by_default[1].content
