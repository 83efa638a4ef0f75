"""Frames that claim to be huge, many at once: the memory of the fetcher stays bounded, and nobody gets a 500."""

from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import imagecodecs
import numpy as np
import pytest
import requests
from pydicom import Dataset
from pydicom.encaps import encapsulate
from pydicom.uid import generate_uid

from ahi.codecs.frames import HAS_OPENJPH
from datastore.embedded import Embedded
from tests.codestreams import claiming, divided
from tests.datastore.made import made
from tests.service.process import Service

FRAME_MAX_BYTES = 64 * 2**20
LARGE = 8000  # pixels a side: with 8 bits just within the bound
HUGE = 24_000
SMALL = 64
EACH = 6
MOST_MEMORY_BYTES = 768 * 2**20
"""Of the fetcher: what it has without any frame, and ten times the bound. Without a bound for all of them it had twice
as much."""

JPEG, JPEG_2000, HTJ2K = "1.2.840.10008.1.2.4.50", "1.2.840.10008.1.2.4.91", "1.2.840.10008.1.2.4.203"


def _jpeg(side: int) -> bytes:
    return bytes(imagecodecs.jpeg8_encode(np.zeros((side, side), np.uint8)))


def _jpeg_2000(side: int) -> bytes:
    return bytes(imagecodecs.jpeg2k_encode(np.zeros((side, side), np.uint8), level=0, codecformat="J2K"))


def _htj2k(side: int) -> bytes:
    return bytes(imagecodecs.htj2k_encode(np.zeros((side, side), np.uint8)))


ENCODERS: Mapping[str, Callable[[int], bytes]] = {
    JPEG: _jpeg,
    JPEG_2000: _jpeg_2000,
    **({HTJ2K: _htj2k} if HAS_OPENJPH else {}),
}


def _claiming(syntax: str, side: int) -> bytes:
    """A small frame whose header says that it has so many pixels a side."""
    frame = ENCODERS[syntax](SMALL)
    if syntax != JPEG:
        return claiming(frame, side)
    at = frame.index(b"\xff\xc0") + 5
    return frame[:at] + side.to_bytes(2, "big") * 2 + frame[at + 4 :]


def _image(syntax: str, frame: bytes, side: int) -> Dataset:
    elements = {"SamplesPerPixel": 1, "BitsAllocated": 8, "BitsStored": 8, "HighBit": 7, "PixelRepresentation": 0}
    uids = {name: generate_uid() for name in ("StudyInstanceUID", "SeriesInstanceUID", "SOPInstanceUID")}
    data_set = made(syntax, Rows=side, Columns=side, PhotometricInterpretation="MONOCHROME2", **elements, **uids)
    data_set.file_meta.MediaStorageSOPInstanceUID = uids["SOPInstanceUID"]
    data_set.PixelData = encapsulate([frame])
    data_set["PixelData"].VR = "OB"
    return data_set


@pytest.fixture(scope="module")
def images(tmp_path_factory: pytest.TempPathFactory) -> dict[str, list[Dataset]]:
    """By what they are: large ones within the bound, huge ones, two kinds of lies, and many parts."""
    found: dict[str, list[Dataset]] = {"large": [], "huge": [], "lie": [], "large lie": [], "divided": []}
    for syntax, encode in ENCODERS.items():
        large = encode(LARGE)
        found["large"] += [_image(syntax, large + bytes(2 * number), LARGE) for number in range(EACH)]
        found["huge"] += [_image(syntax, _claiming(syntax, HUGE), HUGE) for _ in range(EACH)]
        found["lie"] += [_image(syntax, _claiming(syntax, HUGE), SMALL) for _ in range(EACH)]
        found["large lie"] += [_image(syntax, _claiming(syntax, LARGE), LARGE) for _ in range(EACH)]
        if syntax != JPEG:
            found["divided"] += [_image(syntax, divided(_claiming(syntax, LARGE), 4, 0x11), LARGE) for _ in range(EACH)]
    return found


@pytest.fixture(scope="module")
def service(images: dict[str, list[Dataset]], tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    """A service that has them, with one fetcher."""
    folder, root = tmp_path_factory.mktemp("files"), tmp_path_factory.mktemp("store")
    for number, image in enumerate(image for kind in images.values() for image in kind):
        image.save_as(folder / f"{number}.dcm", enforce_file_format=True)
    Embedded(root).fill([folder])
    environment = {
        "DATASTORE_ROOT": str(root),
        "FRAME_MAX_BYTES": str(FRAME_MAX_BYTES),
        "WEB_PROCESSES": "1",
        "FRAME_FETCHERS": "1",
        "PREFETCH_FRAMES": "0",
    }
    service = Service(tmp_path_factory.mktemp("service"), environment)
    yield service
    assert "Traceback" not in service.log
    assert service.stop() == 0


def _most_memory_bytes(pid: int) -> int:
    """The most that a process has had in RAM."""
    fields = dict(line.split(":", 1) for line in Path(f"/proc/{pid}/status").read_text().splitlines())
    return int(fields["VmHWM"].split()[0]) * 1024


def _ask(url: str, accept: str) -> int:
    with requests.get(url, headers={"Accept": accept}, timeout=300, stream=True) as answer:
        for _ in answer.iter_content(2**20):
            pass
        return answer.status_code


@pytest.mark.parametrize(
    ("kind", "statuses"),
    [("huge", {406}), ("lie", {406}), ("divided", {406}), ("large lie", {200, 406}), ("large", {200})],
)
def test_the_memory_of_a_fetcher_is_bounded(
    service: Service, images: dict[str, list[Dataset]], kind: str, statuses: set[int]
) -> None:
    (fetcher,) = service.named("FF")
    asked = [
        (f"{service.root}/studies/{one.StudyInstanceUID}/series/{one.SeriesInstanceUID}/instances/{one.SOPInstanceUID}"
         + rest, accept)
        for rest, accept in (("/frames/1", "application/octet-stream"), ("/rendered", "image/jpeg"))
        for one in images[kind]
    ]  # fmt: skip
    with ThreadPoolExecutor(len(asked)) as threads:
        found = set(threads.map(lambda one: _ask(*one), asked))
    assert found <= statuses
    assert service.named("FF") == [fetcher]
    assert _most_memory_bytes(fetcher) < MOST_MEMORY_BYTES
