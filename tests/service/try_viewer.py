"""OHIF at `/viewer` in a headless Chromium shows each kind of study. script/try-viewer makes its viewer."""

import base64
import json
import os
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from io import BytesIO
from pathlib import Path
from urllib.parse import urlsplit

import numpy as np
import pytest
import requests
from numpy.typing import NDArray
from PIL import Image
from playwright.sync_api import BrowserContext, Page, Response, expect

from app.auth.links import Link, Links
from datastore.embedded import Embedded
from datastore.samples.curated import write_curated
from datastore.samples.objects import uid
from tests.app.auth.users import write_users
from tests.service.browser import chromium_page, recorded_video
from tests.service.process import Service
from tests.service.viewer_kinds import LENGTH_MM, RADIUS, SEGMENTS, SIZE, Kind, Picture, overlap, video, write_kinds
from tests.waiting import PATIENCE_SECONDS

WAIT_MILLISECONDS = 90_000
ALIKE = 0.97
SECRET = "s" * 32
CT_SLICES = 8


@dataclass
class Viewer:
    """A running service, a page of its viewer, and what happened there since the last `open`."""

    service: Service
    page: Page
    kinds: Mapping[str, Kind]
    complaints: list[str] = field(default_factory=list)
    asked: list[str] = field(default_factory=list)

    def open(self, study: str, mode: str = "viewer") -> None:
        """Open a study in a mode of OHIF."""
        self.page.goto(f"{self.origin}/viewer/{mode}/aetitle?StudyInstanceUIDs={study}")

    @property
    def origin(self) -> str:
        return f"http://127.0.0.1:{self.service.port}"

    def canvas(self) -> Picture:
        """The pixels of the first viewport, without the texts above them."""
        canvas = self.page.locator("canvas.cornerstone-canvas").first
        expect(canvas).to_be_visible(timeout=WAIT_MILLISECONDS)
        url: str = canvas.evaluate("canvas => canvas.toDataURL('image/png')")
        return np.asarray(Image.open(BytesIO(base64.b64decode(url.partition(",")[2]))).convert("RGB"))

    def shown(self) -> Picture:
        """The first viewport as people see it, with all that is drawn over its pixels."""
        picture = self.page.locator("canvas.cornerstone-canvas").first.screenshot()
        return np.asarray(Image.open(BytesIO(picture)).convert("RGB"))

    def wait_for(self, expected: Picture) -> None:
        """Wait until the viewport shows a picture, as large as it fits."""
        best, until = 0.0, time.monotonic() + WAIT_MILLISECONDS / 1000
        while best < ALIKE and time.monotonic() < until:
            best = max(best, overlap(self.canvas(), fitted(expected, self.canvas().shape)))
            self.page.wait_for_timeout(300)
        assert best >= ALIKE

    def check(self) -> None:
        """Nothing was complained about, and nobody else was asked for anything."""
        assert self.complaints == []
        assert {urlsplit(url).netloc for url in self.asked if url.startswith(("http", "ws"))} == {
            urlsplit(self.origin).netloc
        }


def fitted(picture: Picture, shape: tuple[int, ...]) -> Picture:
    """A picture in the middle of a black viewport, as large as it fits."""
    height, width = shape[:2]
    scale = min(width / picture.shape[1], height / picture.shape[0])
    size = (round(picture.shape[1] * scale), round(picture.shape[0] * scale))
    scaled = Image.fromarray(picture).convert("RGB").resize(size, Image.Resampling.BILINEAR)
    made = Image.new("RGB", (width, height))
    made.paste(scaled, ((width - size[0]) // 2, (height - size[1]) // 2))
    return np.asarray(made)


def watch(page: Page, viewer: Viewer) -> None:
    """Note errors of the console, violations of the policy, and the URL of every request."""
    page.add_init_script("window.localStorage?.setItem('shownTours', JSON.stringify(['basicViewerTour']))")
    page.add_init_script("addEventListener('securitypolicyviolation', e => console.error(e.violatedDirective))")
    page.on("console", lambda said: viewer.complaints.append(said.text) if said.type == "error" else None)
    page.on("pageerror", lambda error: viewer.complaints.append(str(error)))
    page.on("request", lambda request: viewer.asked.append(request.url))


@pytest.fixture(scope="module")
def kinds(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Mapping[str, Kind]]:
    folder = tmp_path_factory.mktemp("files")
    write_curated(folder, CT_SLICES)
    return folder, write_kinds(folder)


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory, kinds: tuple[Path, Mapping[str, Kind]]) -> Iterator[Service]:
    root = tmp_path_factory.mktemp("service")
    Embedded(root / "data").fill([kinds[0]])
    settings = {"DATASTORE_ROOT": str(root / "data"), "VIEWER_ROOT": os.environ["VIEWER"], "LINK_SECRET": SECRET}
    service = Service(root, settings)
    yield service
    service.stop()


@pytest.fixture(scope="module")
def context() -> Iterator[BrowserContext]:
    with chromium_page() as page:
        page.close()
        yield page.context.browser.new_context(viewport={"width": 1400, "height": 900})  # type: ignore[union-attr]


@pytest.fixture
def viewer(service: Service, context: BrowserContext, kinds: tuple[Path, Mapping[str, Kind]]) -> Iterator[Viewer]:
    """A new page in a browser that has the viewer in its cache. At its end, nothing was wrong."""
    page = context.new_page()
    viewer = Viewer(service, page, kinds[1])
    watch(page, viewer)
    yield viewer
    page.close()
    viewer.check()


@pytest.mark.parametrize(
    "name", ["ct", "tiny16", "tiny8", "cine", "rgb", "ybr", "palette", "mammogram", "segmentation", "mixed"]
)
def test_the_canvas_has_the_known_picture(viewer: Viewer, name: str) -> None:
    kind = viewer.kinds[name]
    assert kind.picture is not None
    viewer.open(kind.study)
    viewer.wait_for(kind.picture)


def test_a_cine_plays(viewer: Viewer) -> None:
    viewer.open(viewer.kinds["cine"].study)
    viewer.wait_for(viewer.kinds["cine"].picture)  # type: ignore[arg-type]
    before = viewer.canvas()
    viewer.page.locator("[data-cy='cine-player-play-pause']").click(timeout=WAIT_MILLISECONDS)
    until = time.monotonic() + WAIT_MILLISECONDS / 1000
    while np.array_equal(viewer.canvas(), before) and time.monotonic() < until:
        viewer.page.wait_for_timeout(100)
    assert not np.array_equal(viewer.canvas(), before)


def test_segments_lie_over_their_images(viewer: Viewer) -> None:
    kind = viewer.kinds["segmentation"]
    viewer.open(kind.study)
    viewer.wait_for(kind.picture)  # type: ignore[arg-type]
    viewer.page.get_by_text("SEG", exact=True).first.dblclick()
    until = time.monotonic() + WAIT_MILLISECONDS / 1000
    while not (places := coloured(viewer.canvas())) and time.monotonic() < until:
        viewer.page.wait_for_timeout(300)
    inside = {number: bool(places & middle_of(number)) for number in SEGMENTS}
    assert inside == dict.fromkeys(SEGMENTS, True)
    assert not places & {(5, 5), (SIZE - 5, SIZE - 5), (64, 64)}


def middle_of(number: int) -> set[tuple[int, int]]:
    rows, columns = SEGMENTS[number]
    return {((rows.start + rows.stop) // 2, (columns.start + columns.stop) // 2)}


def coloured(canvas: Picture) -> set[tuple[int, int]]:
    """The rows and columns of a slice at which the viewport is not grey."""
    side = min(canvas.shape[:2])
    top, left = ((length - side) // 2 for length in canvas.shape[:2])
    square = canvas[top : top + side, left : left + side].astype(int)
    scale = side / SIZE
    spread = square.max(axis=2) - square.min(axis=2)
    return {
        (row, column)
        for row in range(SIZE)
        for column in range(SIZE)
        if spread[int((row + 0.5) * scale), int((column + 0.5) * scale)] > 20
    }


def test_the_contour_of_a_structure_set_is_drawn(viewer: Viewer) -> None:
    kind = viewer.kinds["structures"]
    viewer.open(kind.study)
    viewer.wait_for(kind.picture)  # type: ignore[arg-type]
    viewer.page.get_by_text("RTSTRUCT", exact=True).first.dblclick()
    until = time.monotonic() + WAIT_MILLISECONDS / 1000
    while not (found := red_distances(viewer.shown())).size and time.monotonic() < until:
        viewer.page.wait_for_timeout(300)
    assert found.size > 100
    assert np.all(abs(found - RADIUS) < 2)


def red_distances(picture: Picture) -> NDArray[np.float64]:
    """The distances of all red pixels from the middle of a slice, in pixels of the slice."""
    side = min(picture.shape[:2])
    rows, columns = np.nonzero((picture[..., 0] > 150) & (picture[..., 1] < 60) & (picture[..., 2] < 60))
    middle = np.array(picture.shape[:2]) / 2
    distances: NDArray[np.float64] = np.hypot(rows - middle[0], columns - middle[1]) / side * SIZE
    return distances


def test_measurements_of_a_report_are_hydrated(viewer: Viewer) -> None:
    kind = viewer.kinds["measurements"]
    viewer.open(kind.study)
    viewer.wait_for(kind.picture)  # type: ignore[arg-type]
    viewer.page.get_by_text("SR", exact=True).first.dblclick()
    viewer.page.get_by_role("button", name="Yes").click(timeout=WAIT_MILLISECONDS)
    expect(viewer.page.get_by_text(f"{LENGTH_MM:.1f}").first).to_be_visible(timeout=WAIT_MILLISECONDS)


def test_reports_letters_and_an_ecg_are_shown(viewer: Viewer) -> None:
    viewer.open(uid("ct"))
    viewer.canvas()
    viewer.page.get_by_text("SR", exact=True).first.dblclick()
    expect(viewer.page.get_by_text("Radiology study observation")).to_be_visible(timeout=WAIT_MILLISECONDS)
    with viewer.page.expect_response(lambda answer: answer.url.endswith("/rendered")) as letter:
        viewer.page.get_by_text("DOC", exact=True).first.dblclick()
    assert (letter.value.status, letter.value.headers["content-type"]) == (200, "application/pdf")
    viewer.open(uid("ecg"))
    until = time.monotonic() + WAIT_MILLISECONDS / 1000
    while (drawn := yellow(viewer.page.screenshot())) < 500 and time.monotonic() < until:
        viewer.page.wait_for_timeout(500)
    assert drawn >= 500


def yellow(screenshot: bytes) -> int:
    """The pixels that have the colour of the names of leads."""
    pixels = np.asarray(Image.open(BytesIO(screenshot)).convert("RGB"))
    return int(np.sum((pixels[..., 0] > 180) & (pixels[..., 1] > 180) & (pixels[..., 2] < 90)))


def test_a_video_plays(viewer: Viewer, context: BrowserContext, service: Service) -> None:
    assert context.browser
    made, file = video(recorded_video(context.browser)), BytesIO()
    made.save_as(file, enforce_file_format=True)
    body = b"--x\r\nContent-Type: application/dicom\r\n\r\n" + file.getvalue() + b"\r\n--x--\r\n"
    media_type = {"Content-Type": 'multipart/related; type="application/dicom"; boundary=x'}
    stored = requests.post(f"{service.root}/studies", body, headers=media_type, timeout=PATIENCE_SECONDS)
    assert stored.status_code == 200, stored.text
    viewer.open(made.StudyInstanceUID)
    until = time.monotonic() + WAIT_MILLISECONDS / 1000
    while (share := red_share(viewer.canvas())) < 0.5 and time.monotonic() < until:
        viewer.page.wait_for_timeout(500)
    assert share >= 0.5


def red_share(canvas: Picture) -> float:
    """The share of pixels that have the colour of the video."""
    return float(np.mean((canvas[..., 0] > 150) & (canvas[..., 1] < 90) & (canvas[..., 2] < 90)))


def test_a_slide_is_shown_in_the_microscopy_mode(viewer: Viewer) -> None:
    tiles: list[Response] = []
    viewer.page.on("response", lambda answer: tiles.append(answer) if "/frames/" in answer.url else None)
    viewer.open(uid("slide"), "microscopy")
    canvas = viewer.page.locator(".ol-layers canvas, canvas").first
    expect(canvas).to_be_visible(timeout=WAIT_MILLISECONDS)
    until = time.monotonic() + WAIT_MILLISECONDS / 1000
    while (share := pink(viewer.page.screenshot())) < 0.1 and time.monotonic() < until:
        viewer.page.wait_for_timeout(500)
    assert share >= 0.1
    assert {answer.status for answer in tiles} == {200}


def pink(screenshot: bytes) -> float:
    """The share of pixels that have the colour of stained tissue."""
    pixels = np.asarray(Image.open(BytesIO(screenshot)).convert("RGB")).astype(int)
    red, green, blue = (pixels[..., index] for index in range(3))
    return float(np.mean((red > green + 25) & (blue > green + 10)))


def test_the_list_has_all_studies_and_opens_one(viewer: Viewer) -> None:
    viewer.page.goto(f"{viewer.origin}/viewer/")
    for name in ("Berger, Anna", "Kind, ct"):
        expect(viewer.page.get_by_text(name).first).to_be_visible(timeout=WAIT_MILLISECONDS)


def test_a_link_shows_its_study_and_no_other(viewer: Viewer, context: BrowserContext) -> None:
    kind = viewer.kinds["ct"]
    token = Links(SECRET).token(Link(kind.study, int(time.time()) + 3600))
    viewer.page.goto(f"{viewer.origin}/link/{token}/viewer")
    viewer.wait_for(kind.picture)  # type: ignore[arg-type]
    assert [url for url in viewer.asked if token in url] == [f"{viewer.origin}/link/{token}/viewer"]
    assert not [url for url in viewer.asked if "/aetitle/" in url]
    context.clear_cookies()


def test_a_link_that_ends_leads_to_a_page_that_says_so(viewer: Viewer, context: BrowserContext) -> None:
    token = Links(SECRET).token(Link(viewer.kinds["ct"].study, int(time.time()) + 3600))
    viewer.page.goto(f"{viewer.origin}/link/{token}/viewer")
    viewer.canvas()
    context.clear_cookies()
    viewer.page.evaluate("fetch(window.config.dataSources.at(-1).configuration.qidoRoot + '/studies')")
    viewer.page.wait_for_url("**/viewer/ended?next=*", timeout=WAIT_MILLISECONDS)
    viewer.complaints.clear()  # of the browser, on the 401


def test_with_a_password_the_browser_shows_the_study(
    tmp_path: Path, context: BrowserContext, kinds: tuple[Path, Mapping[str, Kind]]
) -> None:
    """Without the console, whose login page `tests/service/test_console_login.py` tests."""
    Embedded(tmp_path / "data").fill([kinds[0] / "ct-0.dcm"])
    settings = {
        "DATASTORE_ROOT": str(tmp_path / "data"),
        "VIEWER_ROOT": os.environ["VIEWER"],
        "AUTH": "basic",
        "AUTH_USERS_FILE": str(write_users(tmp_path)),
        "CONSOLE": "false",
    }
    service = Service(tmp_path / "service", settings)
    assert context.browser
    browser = context.browser.new_context(http_credentials={"username": "anna", "password": "geheim"})
    try:
        viewer = Viewer(service, browser.new_page(), kinds[1])
        viewer.open(kinds[1]["ct"].study)
        viewer.canvas()
        config = viewer.page.evaluate("JSON.stringify(window.config.dataSources.map(one => one.sourceName))")
        assert json.loads(config) == ["aetitle"]
    finally:
        browser.close()
        service.stop()
