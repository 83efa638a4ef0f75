"""Parametric maps: floating-point pixels go in and come out the same, and are drawn."""

from collections.abc import Iterator
from io import BytesIO

import numpy as np
import pytest
import requests
from PIL import Image
from pydicom import Dataset, FileMetaDataset, dcmread
from pydicom.uid import ExplicitVRLittleEndian, ParametricMapStorage, generate_uid

from datastore.embedded import Embedded
from tests.service.process import Service

ROWS, COLUMNS = 6, 8
PADDING = -1000.0
VALUES = np.linspace(-0.25, 0.75, 2 * ROWS * COLUMNS).reshape(2, ROWS, COLUMNS)
VALUES[:, 0, :4] = PADDING, np.nan, np.inf, -np.inf
GREY = ((VALUES - VALUES[:, 0, 4:].min(axis=1)[:, None, None]) /
        np.ptp(VALUES.reshape(2, -1)[:, 4:], axis=1)[:, None, None] * 255)  # fmt: skip
"""From the least number to the greatest of each frame."""
GREY[:, 0, :4] = 0, 0, 255, 0

KINDS = {  # element, VR, samples, padding
    "float": ("FloatPixelData", "7FE00008", "OF", "<f4", "FloatPixelPaddingValue"),
    "double": ("DoubleFloatPixelData", "7FE00009", "OD", "<f8", "DoubleFloatPixelPaddingValue"),
}


def _map(uids: list[str], kind: str, **elements: object) -> Dataset:
    name, _, _, sample, padding = KINDS[kind]
    data_set = Dataset()
    data_set.file_meta = FileMetaDataset()
    data_set.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    data_set.SOPClassUID, data_set.Modality = ParametricMapStorage, "MR"
    data_set.StudyInstanceUID, data_set.SeriesInstanceUID, data_set.SOPInstanceUID = uids
    data_set.PatientID, data_set.PatientName = "MAP", "Parametric^Map"
    data_set.NumberOfFrames, data_set.Rows, data_set.Columns = VALUES.shape
    data_set.SamplesPerPixel, data_set.PhotometricInterpretation = 1, "MONOCHROME2"
    data_set.BitsAllocated = 8 * np.dtype(sample).itemsize
    setattr(data_set, name, VALUES.astype(sample).tobytes())
    setattr(data_set, padding, PADDING)
    for keyword, value in elements.items():
        setattr(data_set, keyword, value)
    return data_set


@pytest.fixture(scope="module")
def uids() -> dict[str, list[str]]:
    study = str(generate_uid())
    return {kind: [study, str(generate_uid()), str(generate_uid())] for kind in (*KINDS, "broken")}


@pytest.fixture(scope="module")
def service(uids: dict[str, list[str]], tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    folder = tmp_path_factory.mktemp("maps")
    for kind in KINDS:
        _map(uids[kind], kind).save_as(folder / f"{kind}.dcm", enforce_file_format=True)
    broken = _map(uids["broken"], "float", BitsAllocated=16)
    broken.save_as(folder / "broken.dcm", enforce_file_format=True)
    root = tmp_path_factory.mktemp("maps-store")
    Embedded(root).fill([folder])
    service = Service(tmp_path_factory.mktemp("maps-service"), {"DATASTORE_ROOT": str(root)})
    yield service
    service.stop()


def _url(service: Service, uids: list[str]) -> str:
    return "{}/studies/{}/series/{}/instances/{}".format(service.root, *uids)


def _get(url: str, accept: str) -> requests.Response:
    return requests.get(url, headers={"Accept": accept}, timeout=60)


def _grey(response: requests.Response) -> np.ndarray:
    assert response.status_code == 200, response.text
    return np.asarray(Image.open(BytesIO(response.content)).convert("L")).astype(float)


@pytest.mark.parametrize("kind", KINDS)
def test_a_file_has_its_pixels_in_the_element_that_they_were_in(
    service: Service, uids: dict[str, list[str]], kind: str
) -> None:
    name, tag, vr, sample, padding = KINDS[kind]
    got = dcmread(BytesIO(_get(_url(service, uids[kind]), "application/dicom").content))
    assert vr == got[tag].VR
    assert bytes(got[tag].value) == VALUES.astype(sample).tobytes()
    assert "PixelData" not in got
    assert got[padding].value == PADDING
    assert np.array_equal(got.pixel_array, VALUES.astype(sample), equal_nan=True)


@pytest.mark.parametrize("kind", KINDS)
def test_metadata_leads_to_the_frames(service: Service, uids: dict[str, list[str]], kind: str) -> None:
    _, tag, vr, sample, _ = KINDS[kind]
    url, frames = _url(service, uids[kind]), VALUES.astype(sample)
    metadata = requests.get(f"{url}/metadata", timeout=60).json()[0]
    assert metadata[tag] == {"vr": vr, "BulkDataURI": f"{url}/bulkdata/{tag}"}
    assert "7FE00010" not in metadata
    assert _get(f"{url}/frames/2", "application/octet-stream").content == frames[1].tobytes()
    bulk = _get(metadata[tag]["BulkDataURI"], 'multipart/related; type="application/octet-stream"').content
    assert all(frame.tobytes() in bulk for frame in frames)
    assert _get(f"{url}/bulkdata/7FE00010", "*/*").status_code == 404
    assert _get(f"{url}/frames/1", "image/jphc").status_code == 406


@pytest.mark.parametrize("kind", KINDS)
def test_a_picture_is_from_the_least_to_the_greatest_number(
    service: Service, uids: dict[str, list[str]], kind: str
) -> None:
    for number in (1, 2):
        picture = _grey(_get(f"{_url(service, uids[kind])}/frames/{number}/rendered", "image/png"))
        assert picture == pytest.approx(GREY[number - 1].clip(0, 255), abs=1)


@pytest.mark.parametrize("kind", KINDS)
def test_a_window_is_in_the_units_of_the_numbers(service: Service, uids: dict[str, list[str]], kind: str) -> None:
    picture = _grey(_get(f"{_url(service, uids[kind])}/frames/1/rendered?window=0,0.2,linear-exact", "image/png"))
    wanted = np.nan_to_num((VALUES[0] / 0.2 + 0.5) * 255).clip(0, 255)
    wanted[0, 1] = 0  # no number
    assert picture == pytest.approx(wanted, abs=1)


@pytest.mark.parametrize("kind", KINDS)
def test_thumbnails_show_the_map(service: Service, uids: dict[str, list[str]], kind: str) -> None:
    thumbnail = _grey(_get(f"{_url(service, uids[kind])}/thumbnail?viewport=64,64", "image/png"))
    assert thumbnail.shape == (48, 64)
    assert np.ptp(thumbnail) > 200


def test_a_map_without_frames_has_an_icon(service: Service, uids: dict[str, list[str]]) -> None:
    url = _url(service, uids["broken"])
    assert _get(f"{url}/rendered", "image/png").status_code == 406
    assert _get(f"{url}/thumbnail", "image/png").status_code == 200
    assert _get(f"{url}/frames/1", "*/*").status_code == 404
