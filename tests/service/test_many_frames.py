"""Enhanced images: what is said of their frames is more than a fetcher is told with each question."""

import shutil
from collections.abc import Iterator
from io import BytesIO
from pathlib import Path

import numpy as np
import pytest
import requests
from PIL import Image
from pydicom import Dataset, FileMetaDataset
from pydicom.uid import EnhancedMRImageStorage, ExplicitVRLittleEndian, generate_uid

from ahi.cache.entry import FORMAT
from datastore.embedded import Embedded
from tests.service.process import Service

FRAMES, SIDE = 600, 8
VALUES = (np.arange(FRAMES)[:, None] + np.arange(SIDE * SIDE) * 10).astype("<u2").reshape(FRAMES, SIDE, SIDE)
KINDS = ("asked", "evicted", "uri")


def _item(**attributes: object) -> Dataset:
    item = Dataset()
    for keyword, value in attributes.items():
        setattr(item, keyword, value)
    return item


def _image(study: str, kind: str) -> Dataset:
    """Each frame has a window, and a rescale, of its own."""
    image = _item(StudyInstanceUID=study, SeriesInstanceUID=generate_uid(), SOPInstanceUID=generate_uid(),
                  SOPClassUID=EnhancedMRImageStorage, Modality="MR", PatientID="FRAMES", SeriesDescription=kind,
                  Rows=SIDE, Columns=SIDE, NumberOfFrames=FRAMES, SamplesPerPixel=1, BitsAllocated=16, BitsStored=12,
                  HighBit=11, PixelRepresentation=0, PhotometricInterpretation="MONOCHROME2",
                  PixelData=VALUES.tobytes())  # fmt: skip
    image.PerFrameFunctionalGroupsSequence = [
        _item(
            FrameContentSequence=[_item(FrameComments="x" * 100, InStackPositionNumber=number)],
            FrameVOILUTSequence=[_item(WindowCenter=500.5 + number, WindowWidth=1001)],
            PixelValueTransformationSequence=[_item(RescaleSlope=2, RescaleIntercept=-number, RescaleType="US")],
        )
        for number in range(FRAMES)
    ]
    image.file_meta = FileMetaDataset()
    image.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    return image


def _levels(index: int) -> np.ndarray:
    values = VALUES[index].astype(float) * 2 - index
    levels: np.ndarray = np.clip((values - index) / 1000 * 255, 0, 255)
    return levels


@pytest.fixture(scope="module")
def images() -> dict[str, Dataset]:
    study = generate_uid()
    return {kind: _image(study, kind) for kind in KINDS}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The service's own."""
    return tmp_path_factory.mktemp("service")


@pytest.fixture(scope="module")
def service(images: dict[str, Dataset], folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    files, root = tmp_path_factory.mktemp("frames"), tmp_path_factory.mktemp("store")
    for kind, image in images.items():
        image.save_as(files / f"{kind}.dcm", enforce_file_format=True)
    Embedded(root).fill([files])
    service = Service(folder, {"DATASTORE_ROOT": str(root)})
    yield service
    assert service.stop() == 0


def _path(image: Dataset) -> str:
    return f"/studies/{image.StudyInstanceUID}/series/{image.SeriesInstanceUID}/instances/{image.SOPInstanceUID}"


def _picture(url: str) -> np.ndarray:
    answer = requests.get(url, headers={"Accept": "image/png"}, timeout=60)
    assert answer.status_code == 200, answer.text
    return np.asarray(Image.open(BytesIO(answer.content))).astype(float)


@pytest.mark.parametrize("index", [0, 1, 299, 599])
def test_each_frame_is_drawn_as_its_groups_say(index: int, service: Service, images: dict[str, Dataset]) -> None:
    url = f"{service.root}{_path(images['asked'])}/frames/{index + 1}/rendered"
    assert np.abs(_picture(url) - _levels(index)).max() <= 1
    assert _levels(index).max() > 200


def test_a_picture_comes_although_what_says_how_to_draw_it_was_evicted(
    service: Service, images: dict[str, Dataset], folder: Path
) -> None:
    path = _path(images["evicted"])
    assert service.status(f"{path}/metadata") == 200
    prepared = folder / "cache" / FORMAT / "prepared"
    shutil.rmtree(prepared)
    for index in (5, 6, 7, 8):  # of more than one fetcher
        assert np.abs(_picture(f"{service.root}{path}/frames/{index + 1}/rendered") - _levels(index)).max() <= 1
    assert list(prepared.rglob("*.*"))


def test_by_uri_it_is_the_same(service: Service, images: dict[str, Dataset]) -> None:
    image = images["uri"]
    uids = f"studyUID={image.StudyInstanceUID}&seriesUID={image.SeriesInstanceUID}&objectUID={image.SOPInstanceUID}"
    url = f"{service.root}/wado?requestType=WADO&{uids}&contentType=image/png&frameNumber=4"
    assert np.abs(_picture(url) - _levels(3)).max() <= 1
