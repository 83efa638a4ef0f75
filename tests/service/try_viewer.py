"""OHIF at `/viewer` in a headless Chromium shows each kind of study. script/try-viewer makes its viewer."""

import os
import time
from collections.abc import Iterator, Mapping
from io import BytesIO
from pathlib import Path

import numpy as np
import pytest
import requests
from numpy.typing import NDArray
from PIL import Image
from playwright.sync_api import BrowserContext, Response, expect

from app.auth.links import Link, Links
from datastore.embedded import Embedded
from datastore.samples.curated import write_curated
from datastore.samples.objects import uid
from tests.service.browser import chromium_page, recorded_video
from tests.service.ohif import WAIT_MILLISECONDS, Viewer, reported, watched
from tests.service.process import Service
from tests.service.viewer_kinds import LENGTH_MM, RADIUS, SEGMENTS, SIZE, Kind, Picture, video, write_kinds
from tests.waiting import PATIENCE_SECONDS

SECRET = "s" * 32
CT_SLICES = 8


Kinds = Mapping[str, Kind]


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder for the files of all studies."""
    folder = tmp_path_factory.mktemp("files")
    write_curated(folder, CT_SLICES)
    return folder


@pytest.fixture(scope="module")
def kinds(files: Path) -> Kinds:
    return write_kinds(files)


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory, files: Path, kinds: Kinds) -> Iterator[Service]:
    root = tmp_path_factory.mktemp("service")
    assert kinds
    Embedded(root / "data").fill([files])
    settings = {"DATASTORE_ROOT": str(root / "data"), "VIEWER_ROOT": os.environ["VIEWER"], "LINK_SECRET": SECRET}
    service = Service(root, settings)
    yield service
    service.stop()


@pytest.fixture(scope="module")
def context() -> Iterator[BrowserContext]:
    with chromium_page() as page:
        page.close()
        yield page.context.browser.new_context(viewport={"width": 1400, "height": 900})  # type: ignore[union-attr]


@pytest.fixture(scope="module")
def report(request: pytest.FixtureRequest) -> Iterator[list[str]]:
    yield from reported(request)


@pytest.fixture
def viewer(
    service: Service, context: BrowserContext, report: list[str], request: pytest.FixtureRequest
) -> Iterator[Viewer]:
    """A new page in a browser that has the viewer in its cache. At its end, nothing was wrong."""
    page = context.new_page()
    viewer = watched(page, f"http://127.0.0.1:{service.port}")
    yield viewer
    page.close()
    report.append(f"{request.node.name}: {viewer.check()}")


@pytest.mark.parametrize(
    "name", ["ct", "tiny16", "tiny8", "cine", "rgb", "ybr", "palette", "mammogram", "segmentation", "mixed", "unplaced"]
)
def test_the_canvas_has_the_known_picture(viewer: Viewer, kinds: Kinds, name: str) -> None:
    kind = kinds[name]
    assert kind.picture is not None
    viewer.open(kind.study)
    viewer.wait_for(kind.picture)


def test_a_cine_plays(viewer: Viewer, kinds: Kinds) -> None:
    viewer.open(kinds["cine"].study)
    viewer.wait_for(kinds["cine"].picture)  # type: ignore[arg-type]
    before = viewer.canvas()
    viewer.page.locator("[data-cy='cine-player-play-pause']").click(timeout=WAIT_MILLISECONDS)
    until = time.monotonic() + WAIT_MILLISECONDS / 1000
    while np.array_equal(viewer.canvas(), before) and time.monotonic() < until:
        viewer.page.wait_for_timeout(100)
    assert not np.array_equal(viewer.canvas(), before)


def test_segments_lie_over_their_images(viewer: Viewer, kinds: Kinds) -> None:
    kind = kinds["segmentation"]
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


def test_the_contour_of_a_structure_set_is_drawn(viewer: Viewer, kinds: Kinds) -> None:
    kind = kinds["structures"]
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


def test_measurements_of_a_report_are_hydrated(viewer: Viewer, kinds: Kinds) -> None:
    kind = kinds["measurements"]
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


@pytest.mark.parametrize("name", ["ct", "mammogram"])
def test_the_page_of_a_study_in_the_console_opens_it(viewer: Viewer, kinds: Kinds, name: str) -> None:
    kind = kinds[name]
    viewer.page.goto(f"{viewer.origin}/console/aetitle/studies/{kind.study}")
    weasis = viewer.page.get_by_role("link", name="Open in Weasis").get_attribute("href") or ""
    assert weasis.startswith("weasis://%24dicom%3Ars%20") and kind.study in weasis
    viewer.page.get_by_role("link", name="Open in OHIF").click()
    assert kind.picture is not None
    viewer.wait_for(kind.picture)


def test_the_extension_of_the_service_is_in_use_and_files_are_kept(viewer: Viewer, kinds: Kinds) -> None:
    for _ in range(2):  # the second time, the browser has the files
        viewer.open(kinds["ct"].study)
        viewer.wait_for(kinds["ct"].picture)  # type: ignore[arg-type]
    assert viewer.page.evaluate("cornerstone.getConfiguration().rendering.webGlContextCount") == 1
    sent = viewer.page.evaluate("""() => performance.getEntriesByType("resource").filter(
        (one) => one.transferSize && one.name.includes("/viewer/")).map((one) => new URL(one.name).pathname)""")
    assert sent == ["/viewer/app-config.js"]


def test_a_link_shows_its_study_and_no_other(viewer: Viewer, kinds: Kinds, context: BrowserContext) -> None:
    kind = kinds["ct"]
    token = Links(SECRET).token(Link(kind.study, int(time.time()) + 3600))
    viewer.page.goto(f"{viewer.origin}/link/{token}/viewer")
    viewer.wait_for(kind.picture)  # type: ignore[arg-type]
    assert [url for url in viewer.asked if token in url] == [f"{viewer.origin}/link/{token}/viewer"]
    assert not [url for url in viewer.asked if "/aetitle/" in url]
    context.clear_cookies()


def test_a_link_that_ends_leads_to_a_page_that_says_so(viewer: Viewer, kinds: Kinds, context: BrowserContext) -> None:
    token = Links(SECRET).token(Link(kinds["ct"].study, int(time.time()) + 3600))
    viewer.page.goto(f"{viewer.origin}/link/{token}/viewer")
    viewer.canvas()
    context.clear_cookies()
    viewer.page.evaluate("void fetch(window.config.dataSources.at(-1).configuration.qidoRoot + '/studies')")
    viewer.page.wait_for_url("**/viewer/ended?next=*", timeout=WAIT_MILLISECONDS)
    viewer.complaints.clear()  # of the browser, on the 401
