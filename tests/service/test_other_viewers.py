"""Viewers that come as packages show what the service sends: dwv an image, and Slim's engine a slide."""

import time
from collections.abc import Iterator
from io import BytesIO
from pathlib import Path

import numpy as np
import pytest
import requests
from PIL import Image
from playwright.sync_api import Page

from datastore.embedded import Embedded
from datastore.samples.slide import write_slide
from tests.pydicom_files import pydicom_file, pydicom_path
from tests.service.browser import call, chromium_page, files_served, unpacked
from tests.service.process import Service
from tests.service.viewer_kinds import video
from tests.waiting import PATIENCE_SECONDS

BUNDLE = Path(__file__).parent / "javascript" / "bundle"

STREAM = bytes(range(256)) * 40


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    root = tmp_path_factory.mktemp("viewers")
    (root / "files").mkdir()
    write_slide(root / "files")
    video(STREAM).save_as(root / "files" / "video.dcm", enforce_file_format=True)
    Embedded(root / "data").fill([root / "files", pydicom_path("CT_small.dcm"), pydicom_path("examples_rgb_color.dcm")])
    service = Service(root, {"DATASTORE_ROOT": str(root / "data"), "CORS_ORIGINS": "loopback"})
    yield service
    service.stop()


@pytest.fixture(scope="module")
def page() -> Iterator[Page]:
    """A page with the viewers. Nothing on it may go wrong unseen."""
    assert BUNDLE.is_dir(), "please run script/bundle"
    complaints: list[str] = []
    with files_served(BUNDLE) as url, chromium_page() as page:
        page.on("pageerror", lambda error: complaints.append(str(error)))
        page.goto(f"{url}/viewers.html")
        yield page
    assert complaints == []


@pytest.mark.parametrize("name", ["CT_small.dcm", "examples_rgb_color.dcm"])
def test_dwv_decodes_an_image(page: Page, service: Service, name: str) -> None:
    source = pydicom_file(name)
    path = f"/studies/{source.StudyInstanceUID}/series/{source.SeriesInstanceUID}/instances/{source.SOPInstanceUID}"
    loaded = call(page, "withDwv", service.root + path)
    pixels = np.frombuffer(unpacked(loaded["pixels"]), {"Int16Array": "<i2", "Uint8Array": "u1"}[loaded["type"]])
    assert np.array_equal(pixels, source.pixel_array.reshape(-1))


def test_the_engine_of_slim_draws_a_slide(page: Page, service: Service) -> None:
    (series,) = requests.get(f"{service.root}/series?Modality=SM", timeout=PATIENCE_SECONDS).json()
    study, uid = (series[tag]["Value"][0] for tag in ("0020000D", "0020000E"))
    assert call(page, "withSlim", service.root, study, uid) >= 2
    until = time.monotonic() + PATIENCE_SECONDS
    while (share := _stained(page)) < 0.1 and time.monotonic() < until:
        page.wait_for_timeout(200)
    assert share >= 0.1


def _stained(page: Page) -> float:
    """The share of the pixels that have the colour of stained tissue."""
    picture = page.locator("#slide").screenshot()
    red, green, blue = np.moveaxis(np.asarray(Image.open(BytesIO(picture)).convert("RGB")).astype(int), 2, 0)
    return float(np.mean((red > green + 25) & (blue > green + 10)))


@pytest.mark.parametrize("accept", ["*/*", "video/mp4", "video/webm,video/*;q=0.9,*/*;q=0.5", "text/html,*/*;q=0.8"])
def test_a_video_is_led_to_its_stream_which_is_sent_in_ranges(service: Service, accept: str) -> None:
    headers = {"Accept": accept, "Range": "bytes=100-"}
    answer = requests.get(f"{video_of(service)}/rendered", headers=headers, timeout=PATIENCE_SECONDS)
    assert [one.status_code for one in answer.history] == [307]
    assert (answer.status_code, answer.content) == (206, STREAM[100:])
    assert answer.headers["Content-Type"].startswith("video/mp4")


@pytest.mark.parametrize("accept", ["image/jpeg", "image/*", "text/html"])
def test_no_picture_is_drawn_of_a_video(service: Service, accept: str) -> None:
    answer = requests.get(f"{video_of(service)}/rendered", headers={"Accept": accept}, timeout=PATIENCE_SECONDS)
    assert (answer.status_code, answer.history) == (406, [])


def video_of(service: Service) -> str:
    (found,) = requests.get(f"{service.root}/instances?PatientID=KIND-video", timeout=PATIENCE_SECONDS).json()
    study, series, instance = (found[tag]["Value"][0] for tag in ("0020000D", "0020000E", "00080018"))
    return f"{service.root}/studies/{study}/series/{series}/instances/{instance}"
