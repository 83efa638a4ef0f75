"""The quick look in Chromium shows what the service renders: with and without script, on a phone, for any object."""

import base64
import re
from collections.abc import Callable, Iterator
from io import BytesIO
from typing import Any

import numpy as np
import pytest
import requests
from PIL import Image
from playwright.sync_api import Browser, BrowserContext, Page, Route, ViewportSize, expect
from pydicom import Dataset, FileMetaDataset, Sequence, dcmread
from pydicom.encaps import encapsulate
from pydicom.uid import MPEG4HP41

from app.auth.links import Links
from datastore.embedded import Embedded
from datastore.samples import ct, documents, shipped, slide
from datastore.samples.curated import write_curated
from tests.pydicom_files import pydicom_path
from tests.service.browser import barriers, chromium, overflow, recorded_video
from tests.service.console import saved
from tests.service.process import Service
from tests.service.viewer_kinds import video
from tests.store.dicom_files import data_set, encoded
from tests.waiting import wait_for

WAIT_MILLISECONDS = 45_000
SLICES = 24
PHONE = ViewportSize(width=400, height=800)
EVIL = '"><script>window.owned=1</script><img src=x onerror="window.owned=1">'
_SHIPPED = {sample.name: sample.series for sample in shipped.SHIPPED}
ECHO = _SHIPPED["color3d_jpeg_baseline.dcm"].study.uid
RADIOGRAPH, ECG = (_SHIPPED[name].study.uid for name in ("RG1_UNCR.dcm", "waveform_ecg.dcm"))
LIVER, PALETTE, EMPTY, MIXED, HOSTILE, REVERSED, MANY, VIDEO, PLAYED = (f"1.2.78.{number}" for number in range(1, 10))
SECRET = "s" * 40
INSTANCES = 1_100
"""Of a long series: more than two pages of the list."""
RENDERED = re.compile("/rendered")
Open = Callable[..., Page]


def of_study(study: str, made: Dataset) -> Dataset:
    made.StudyInstanceUID, made.SeriesInstanceUID, made.SOPInstanceUID = study, f"{study}.1", f"{study}.1.1"
    return made


def image(study: str, number: int, **attributes: Any) -> Dataset:
    return data_set(
        f"{study}.1.{number}",
        study=study,
        series=f"{study}.1",
        **{"InstanceNumber": number, "Modality": "CT", **attributes},
    )


def placed(number: int) -> Dataset:
    """A slice whose number says nothing of its place: each is as bright as its place is high."""
    height = (number * 5) % 7
    made = image(REVERSED, number, size=16, ImageOrientationPatient=[1, 0, 0, 0, 1, 0])
    made.ImagePositionPatient = [0, 0, float(height)]
    made.PixelData = bytes([height * 30]) * 256
    return made


def hostile() -> Iterator[Dataset]:
    """An image and a report with markup in all texts that the page shows."""
    texts = {name: EVIL[:64] for name in ("PatientID", "StudyDescription", "SeriesDescription")}
    yield image(
        HOSTILE,
        1,
        **texts,
        PatientName='"><script>owned()</script>^x',
        WindowCenter=[9, 90],
        WindowWidth=[5, 50],
        WindowCenterWidthExplanation=[EVIL[:15], "<b>bold</b>"],
    )
    report = dcmread(pydicom_path("test-SR.dcm"))
    report.StudyInstanceUID, report.SeriesInstanceUID, report.SOPInstanceUID = HOSTILE, f"{HOSTILE}.2", f"{HOSTILE}.2.1"
    text = Dataset()
    text.RelationshipType, text.ValueType, text.TextValue = "CONTAINS", "TEXT", EVIL
    report.ContentSequence = Sequence([text])
    yield report


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with chromium() as browser:
        yield browser


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory, browser: Browser) -> Iterator[Service]:
    folder = tmp_path_factory.mktemp("look")
    (folder / "files").mkdir()
    write_curated(folder / "files", SLICES)
    without_pixels = image(EMPTY, 1)
    del without_pixels.PixelData
    others = [
        of_study(LIVER, dcmread(pydicom_path("liver.dcm"))),
        of_study(PALETTE, dcmread(pydicom_path("examples_palette.dcm"))),
        without_pixels,
        *(image(MIXED, number, size=8 * number, NumberOfFrames=1) for number in (1, 2)),
        image(MIXED, 3, size=8, NumberOfFrames=4, PixelData=bytes(range(256))),
        image(MIXED, 4, SOPClassUID="1.2.840.10008.5.1.4.1.1.481.5", PixelData=None, Rows=None, Columns=None),
        *hostile(),
        *map(placed, range(1, 7)),
        *(image(MANY, number) for number in range(1, INSTANCES + 1)),
        broken_video(),
        of_study(PLAYED, video(recorded_video(browser))),
    ]
    for number, made in enumerate(others):
        (folder / "files" / f"other{number}").write_bytes(saved(made) if hasattr(made, "file_meta") else encoded(made))
    Embedded(folder / "data").fill([folder / "files"])
    service = Service(folder, {"DATASTORE_ROOT": str(folder / "data"), "LINK_SECRET": SECRET})
    yield service
    service.stop()


def broken_video() -> Dataset:
    """A video that no browser can play."""
    made = image(VIDEO, 1, NumberOfFrames=10, SamplesPerPixel=3, PhotometricInterpretation="YBR_PARTIAL_420")
    made.PlanarConfiguration = 0
    made.file_meta = FileMetaDataset()
    made.file_meta.TransferSyntaxUID = MPEG4HP41
    made.PixelData = encapsulate([b"\0\0\0\x18ftypmp42" + bytes(200)])
    made["PixelData"].VR = "OB"
    return made


@pytest.fixture
def complaints() -> list[str]:
    """Errors of the page and its console."""
    return []


@pytest.fixture
def context(browser: Browser) -> Iterator[BrowserContext]:
    context = browser.new_context(viewport={"width": 1200, "height": 800})
    yield context
    context.close()


@pytest.fixture
def look(context: BrowserContext, service: Service, complaints: list[str]) -> Open:
    """Opens the quick look of a study, and waits for its picture."""

    def open_page(
        study: str, query: str = "", picture: int | None = 0, prepare: Callable[[Page], None] | None = None
    ) -> Page:
        page = context.new_page()
        page.set_default_timeout(WAIT_MILLISECONDS)
        page.on("pageerror", lambda error: complaints.append(str(error)))
        page.on("console", lambda said: complaints.append(said.text) if said.type == "error" else None)
        if prepare:
            prepare(page)
        page.goto(address(service, study, query))
        if picture is not None:
            shows(page, picture)
        return page

    return open_page


@pytest.fixture
def plain(browser: Browser, service: Service) -> Iterator[Open]:
    """Opens the quick look in a browser without scripts."""
    context = browser.new_context(java_script_enabled=False, viewport=PHONE)

    def open_page(study: str, query: str = "") -> Page:
        page = context.new_page()
        page.set_default_timeout(WAIT_MILLISECONDS)
        page.goto(address(service, study, query))
        return page

    yield open_page
    context.close()


def address(service: Service, study: str, query: str = "") -> str:
    return f"{service.root.removesuffix('/aetitle')}/console/aetitle/look/{study}{query}"


def shows(page: Page, picture: int) -> None:
    """Wait until the canvas shows a picture, counted from 0."""
    expect(page.locator("#canvas")).to_have_attribute("data-shown", str(picture), timeout=WAIT_MILLISECONDS)


def in_window(page: Page, window: str) -> None:
    """Wait until the canvas shows a picture that the service has drawn in a window."""
    expect(page.locator("#canvas")).to_have_attribute("data-window", window, timeout=WAIT_MILLISECONDS)


def slice_path(picture: int) -> str:
    number = picture + 1
    return f"/studies/{ct.STUDY.uid}/series/{ct.IMAGES.uid}/instances/{ct.IMAGES.instance_uid(number)}"


def rendered(service: Service, path: str, **parameters: str) -> Image.Image:
    answer = requests.get(f"{service.root}{path}/rendered", params=parameters, timeout=60)
    assert answer.status_code == 200, answer.text
    return Image.open(BytesIO(answer.content)).convert("RGB")


def on_canvas(page: Page) -> Image.Image:
    """The pixels of the canvas, over black."""
    url = page.evaluate("() => document.getElementById('canvas').toDataURL('image/png')")
    drawn = Image.open(BytesIO(base64.b64decode(url.partition(",")[2])))
    return Image.alpha_composite(Image.new("RGBA", drawn.size, "black"), drawn.convert("RGBA")).convert("RGB")


def difference(page: Page, expected: Image.Image) -> float:
    """The mean difference in grey levels between the canvas and a picture that is fitted into it."""
    drawn = on_canvas(page)
    scale = min(drawn.width / expected.width, drawn.height / expected.height)
    size = (round(expected.width * scale), round(expected.height * scale))
    fitted = Image.new("RGB", drawn.size)
    fitted.paste(
        expected.resize(size, Image.Resampling.BILINEAR), ((drawn.width - size[0]) // 2, (drawn.height - size[1]) // 2)
    )
    return float(np.abs(np.asarray(drawn, np.int16) - np.asarray(fitted, np.int16)).mean())


def test_the_canvas_has_the_pixels_that_the_service_renders(
    look: Open, service: Service, complaints: list[str]
) -> None:
    page = look(ct.STUDY.uid, picture=SLICES // 2)
    assert difference(page, rendered(service, slice_path(SLICES // 2))) < 2
    assert difference(page, rendered(service, slice_path(SLICES // 2 + 2))) > 4
    page.keyboard.press("End")
    shows(page, SLICES - 1)
    assert difference(page, rendered(service, slice_path(SLICES - 1))) < 2
    for text in ("Berger, Anna", "SAMPLE1", "CT chest and upper abdomen", f"{SLICES} / {SLICES}", "Window 50 / 400"):
        expect(page.get_by_text(text).first).to_be_visible()
    assert complaints == []


def test_wheel_keys_buttons_and_slider_scroll(look: Open) -> None:
    page = look(ct.STUDY.uid, "?picture=5", picture=4)
    page.locator("#canvas").hover()
    page.mouse.wheel(0, 100)
    shows(page, 5)
    page.mouse.wheel(0, -100)
    shows(page, 4)
    for key, picture in (("ArrowDown", 5), ("ArrowUp", 4), ("PageDown", 14), ("Home", 0), ("End", SLICES - 1)):
        page.keyboard.press(key)
        shows(page, picture)
    page.get_by_role("link", name="Previous").click()
    shows(page, SLICES - 2)
    page.get_by_role("slider").fill("3")
    shows(page, 2)
    expect(page.locator("#live")).to_have_text(f"3 / {SLICES}")
    page.wait_for_url("**picture=3*")
    page.reload()
    shows(page, 2)


def test_a_finger_scrolls(browser: Browser, service: Service) -> None:
    context = browser.new_context(viewport=PHONE, has_touch=True, is_mobile=True)
    page = context.new_page()
    page.goto(address(service, ct.STUDY.uid, "?picture=5"))
    shows(page, 4)
    session = context.new_cdp_session(page)
    box = page.locator("#canvas").bounding_box()
    assert box
    x, y = box["x"] + box["width"] / 2, box["y"] + box["height"] / 4
    for kind, places in (("touchStart", [y]), ("touchMove", [y + 40]), ("touchMove", [y + 96]), ("touchEnd", [])):
        points = [{"x": x, "y": place} for place in places]
        session.send("Input.dispatchTouchEvent", {"type": kind, "touchPoints": points})
    expect(page.locator("#canvas")).not_to_have_attribute("data-shown", "4", timeout=WAIT_MILLISECONDS)
    context.close()


def test_a_window_is_drafted_while_it_is_dragged_and_drawn_by_the_service_then(look: Open, service: Service) -> None:
    page = look(ct.STUDY.uid, picture=SLICES // 2)
    page.get_by_role("link", name="Lung").click()
    in_window(page, "-550,1500,linear")
    lung = rendered(service, slice_path(SLICES // 2), window="-550,1500,linear")
    assert difference(page, lung) < 2
    box = page.locator("#canvas").bounding_box()
    assert box
    x, y = box["x"] + box["width"] / 2, box["y"] + box["height"] / 2
    page.mouse.move(x, y)
    page.mouse.down()
    page.mouse.move(x + 60, y + 40, steps=4)
    page.mouse.up()
    page.wait_for_url(re.compile("window=(?!-550,1500)"))
    chosen = re.search("window=([^&]+)", page.url)[1]  # type: ignore[index]
    in_window(page, chosen)
    assert difference(page, rendered(service, slice_path(SLICES // 2), window=chosen)) < 2
    page.keyboard.press("0")
    in_window(page, "own")


def test_a_draft_is_near_what_the_service_draws(look: Open, service: Service) -> None:
    page = look(ct.STUDY.uid, "?window=40,2000,linear", picture=SLICES // 2)
    page.route(RENDERED, lambda route: None)  # nothing comes any more: only a draft can be shown
    page.get_by_role("link", name="Bone").click()
    in_window(page, "draft")
    assert difference(page, rendered(service, slice_path(SLICES // 2), window="400,1800,linear")) < 4


def test_zoom_move_and_invert(look: Open, service: Service) -> None:
    page = look(ct.STUDY.uid, picture=SLICES // 2)
    whole = on_canvas(page)
    page.keyboard.press("i")
    page.wait_for_function("() => document.getElementById('invert').getAttribute('aria-pressed') === 'true'")
    expected = Image.eval(rendered(service, slice_path(SLICES // 2)), lambda level: 255 - level)
    page.wait_for_timeout(100)
    assert difference(page, expected) < 2
    page.keyboard.press("i")
    page.keyboard.press("+")
    expect(page.locator("#zoom-text")).to_have_text("Zoom 125 %")
    page.keyboard.press("Shift+ArrowLeft")
    page.keyboard.press("0")
    expect(page.locator("#zoom-text")).to_have_text("")
    page.wait_for_timeout(100)
    assert np.array_equal(np.asarray(on_canvas(page)), np.asarray(whole))


def test_slices_come_in_the_order_of_their_places(look: Open) -> None:
    page = look(REVERSED, "?picture=1", picture=0)
    levels = []
    for picture in range(6):
        shows(page, picture)
        levels.append(int(np.asarray(on_canvas(page)).max()))
        page.keyboard.press("ArrowDown")
    assert levels == sorted(levels, reverse=True) and len(set(levels)) == 6


def test_a_cine_plays_and_stops(look: Open, complaints: list[str]) -> None:
    page = look(ECHO)
    page.keyboard.press(" ")
    page.wait_for_function("() => Number(document.getElementById('canvas').dataset.shown) > 6")
    page.get_by_role("button", name="Pause").click()
    page.wait_for_timeout(300)
    stopped = page.locator("#number-text").text_content()
    page.wait_for_timeout(300)
    assert page.locator("#number-text").text_content() == stopped
    assert complaints == []


def test_a_level_of_a_slide_is_one_picture(look: Open, service: Service) -> None:
    page = look(slide.STUDY.uid)
    expect(page.locator("#number-text")).to_have_text("1 / 4")
    overview = on_canvas(page)
    page.keyboard.press("ArrowDown")
    shows(page, 1)
    apart = np.abs(np.asarray(overview, np.int16) - np.asarray(on_canvas(page), np.int16)).mean()
    assert apart < 12, "the levels show the same tissue"
    assert np.asarray(overview).std() > 20


@pytest.mark.parametrize(
    ("study", "path"),
    [
        pytest.param(LIVER, f"/studies/{LIVER}/series/{LIVER}.1/instances/{LIVER}.1.1/frames/1", id="1 bit"),
        pytest.param(PALETTE, f"/studies/{PALETTE}/series/{PALETTE}.1/instances/{PALETTE}.1.1", id="palette"),
    ],
)
def test_odd_pixels_are_shown(look: Open, service: Service, study: str, path: str) -> None:
    page = look(study)
    assert difference(page, rendered(service, path, accept="image/png")) < 2
    expect(page.locator("#windows")).to_be_hidden()


def test_an_ecg_is_drawn_and_a_radiograph_is_loaded_in_the_size_that_is_shown(look: Open, service: Service) -> None:
    assert np.asarray(on_canvas(look(ECG))).std() > 10
    asked: list[str] = []
    page = look(RADIOGRAPH, prepare=lambda page: page.on("request", lambda request: asked.append(request.url)))
    for _ in range(8):
        page.keyboard.press("+")
    page.keyboard.press("1")
    page.keyboard.press("2")
    in_window(page, "15000,30000,linear")
    assert any("/rendered" in url and "viewport" not in url for url in asked)


def test_documents_and_reports_are_embedded(look: Open, complaints: list[str]) -> None:
    page = look(ct.STUDY.uid, f"?series={documents.REPORT.uid}", picture=None)
    frame = page.frame_locator("#first")
    expect(frame.get_by_text("Solid nodule in the right upper lobe").first).to_be_visible(timeout=WAIT_MILLISECONDS)
    page = look(ct.STUDY.uid, f"?series={documents.LETTER.uid}", picture=None)
    expect(page.locator("iframe")).to_have_attribute("src", re.compile("accept=application/pdf"))
    assert complaints == []


def test_a_mixed_series_and_missing_pixels_are_told_in_words(look: Open) -> None:
    page = look(MIXED)
    for picture in range(6):
        shows(page, picture)
        page.keyboard.press("ArrowDown")
    expect(page.get_by_text("This object has no picture.")).to_be_visible()
    page.keyboard.press("ArrowUp")
    shows(page, 5)
    page = look(EMPTY, picture=None)
    expect(page.get_by_text("This object has no picture.")).to_be_visible()
    page.keyboard.press("ArrowDown")


@pytest.mark.parametrize(
    ("status", "words"),
    [(503, "does not answer now"), (404, "is not there"), (500, "could not be loaded"), (0, "cannot be reached")],
)
def test_errors_are_told_in_words_and_can_be_tried_again(look: Open, status: int, words: str) -> None:
    def fail(route: Route) -> None:
        route.fulfill(status=status, body="{}") if status else route.abort()

    page = look(ECHO, picture=None, prepare=lambda new: new.route(RENDERED, fail))
    expect(page.get_by_role("alert")).to_contain_text(words, timeout=WAIT_MILLISECONDS)
    page.unroute(RENDERED)
    page.get_by_role("button", name="Try again").click()
    shows(page, 0)
    expect(page.get_by_role("alert")).to_be_hidden()


def test_what_is_no_longer_wanted_is_given_up(look: Open) -> None:
    page = look(ECHO)
    page.route(RENDERED, lambda _: None)  # no answer comes
    given_up: list[str] = []
    page.on("requestfailed", lambda request: given_up.append(request.url))
    page.get_by_role("slider").fill("80")
    page.wait_for_function("() => document.getElementById('slider').value === '80'")
    page.wait_for_timeout(200)
    page.get_by_role("slider").fill("5")
    page.wait_for_timeout(200)
    assert any("/frames/80/" in url for url in given_up)
    page.unroute(RENDERED)


_MEMORY = """async (url) => {
    const { PictureCache, ring, ringLength } = await import(url);
    const cache = new PictureCache(10 * 4 * 100);
    let closed = 0;
    for (let picture = 0; picture < 1000; picture += 1) {
        const bitmap = { width: 10, height: 10, close: () => { closed += 1; } };
        cache.put(picture, { bitmap, url: `u${picture}`, window: "" });
        cache.get(992);
    }
    const rings = [ring(5, 10, 1, 6), ring(0, 3, -1, 9), ring(9, 10, 1, 4), ring(0, 1, 1, 8)];
    const sides = [[2 ** 20, 9000], [2 ** 28, 64]];
    const lengths = sides.map(([bytes, side]) => ringLength(bytes, { rows: side, columns: side }, 0));
    return { bytes: cache.bytes, held: [...cache.held.keys()], closed, rings, lengths };
}"""


def test_memory_is_bounded_and_the_ring_lies_around_the_picture(look: Open) -> None:
    page = look(MIXED)
    source = page.get_attribute("script[type=module]", "src") or ""
    found = page.evaluate(_MEMORY, source.replace("look.js", "look-pictures.js"))
    assert found["bytes"] == 10 * 4 * 100
    assert (len(found["held"]), found["closed"]) == (10, 990)
    assert 992 in found["held"] and 999 in found["held"]
    assert found["rings"] == [[5, 6, 7, 8, 4, 9], [0, 1, 2], [9, 8, 7, 6], [0]]
    assert found["lengths"] == [1, 48]


def test_without_scripts_there_is_one_picture_with_links(plain: Open) -> None:
    page = plain(ct.STUDY.uid, "?picture=3")
    picture = page.locator("#first")
    expect(picture).to_be_visible()
    assert "/frames/1/rendered?accept=image/jpeg" in (picture.get_attribute("src") or "")
    assert _is_drawn(page)
    page.get_by_role("link", name="Next").click()
    expect(page.locator("#number-text")).to_have_text(f"4 / {SLICES}")
    page.get_by_role("link", name="Lung").click()
    assert "window=-550,1500,linear" in (page.locator("#first").get_attribute("src") or "")
    assert _is_drawn(page)
    page.get_by_role("link", name="Previous").click()
    assert "window=-550,1500,linear" in page.url and "picture=3" in page.url
    page.get_by_role("link", name="2 SR").click()
    expect(page.frame_locator("#first").get_by_text("Solid nodule").first).to_be_visible(timeout=WAIT_MILLISECONDS)
    for unusable in ("#play", "#slider-label", "#script-tools", "#keys"):
        expect(page.locator(unusable)).to_be_hidden()


def _is_drawn(page: Page) -> bool:
    shot = Image.open(BytesIO(page.locator("#first").screenshot())).convert("L")
    return float(np.asarray(shot.crop((80, 80, shot.width - 80, shot.height - 80))).std()) > 20


def test_without_scripts_slides_videos_and_objects_have_their_elements(plain: Open) -> None:
    assert plain(slide.STUDY.uid).locator("img#first").is_visible()
    assert plain(EMPTY).get_by_text("This object has no picture.").is_visible()
    assert plain(ECG).locator("img#first").is_visible()


def test_a_phone_shows_all_of_the_page(look: Open) -> None:
    page = look(ct.STUDY.uid, picture=SLICES // 2, prepare=lambda page: page.set_viewport_size(PHONE))
    assert page.evaluate("() => document.documentElement.scrollWidth") <= PHONE["width"]
    box = page.locator("#canvas").bounding_box()
    assert box and box["width"] > 380 and box["height"] > 300


def test_hostile_texts_run_nowhere(look: Open, complaints: list[str]) -> None:
    for query in ("", f"?series={HOSTILE}.2"):
        page = look(HOSTILE, query, picture=None if query else 0)
        expect(page.get_by_text('"><script>owned()</script>').first).to_be_attached()
        page.wait_for_timeout(300)
        assert page.evaluate("() => window.owned") is None
        assert page.locator("main b, main script").count() == 0
        for frame in page.frames:
            assert frame.evaluate("() => window.owned") is None
    assert complaints == []


@pytest.mark.parametrize(
    ("study", "series"),
    [
        pytest.param(ct.STUDY.uid, ct.IMAGES.uid, id="ct"),
        pytest.param(ct.STUDY.uid, documents.REPORT.uid, id="report"),
        pytest.param(ct.STUDY.uid, documents.LETTER.uid, id="letter"),
        pytest.param(ECHO, "", id="echo"),
        pytest.param(slide.STUDY.uid, "", id="slide"),
        pytest.param(ECG, "", id="ecg"),
        pytest.param(EMPTY, "", id="no picture"),
        pytest.param(VIDEO, "", id="video"),
        pytest.param(HOSTILE, "", id="hostile"),
    ],
)
def test_nothing_keeps_people_from_using_it(look: Open, study: str, series: str) -> None:
    page = look(study, f"?series={series}" if series else "", picture=None)
    expect(page.locator("#keys")).to_be_visible(timeout=WAIT_MILLISECONDS)
    page.locator("#keys summary").click()
    assert barriers(page) == []
    page.set_viewport_size(PHONE)
    assert barriers(page) == [] and overflow(page) == []


@pytest.mark.parametrize(
    ("path", "status", "words"),
    [
        ("/look/1.2.3.4", 404, "There is no such page"),
        (f"/look/{ct.STUDY.uid}?series=1.2.3", 404, "There is no such page"),
        (f"/look/{ct.STUDY.uid}?window=a,b,c", 400, "cannot be understood"),
        (f"/look/{ct.STUDY.uid}?picture=-1", 400, "cannot be understood"),
    ],
)
def test_what_is_not_there_is_told_on_a_page(service: Service, path: str, status: int, words: str) -> None:
    url = f"{service.root.removesuffix('/aetitle')}/console/aetitle{path}"
    answer = requests.get(url, headers={"Accept": "text/html"}, timeout=60)
    assert answer.status_code == status and words in answer.text


def test_a_long_series_is_learned_of_page_by_page(look: Open) -> None:
    asked: list[str] = []
    page = look(
        MANY,
        "?picture=1",
        prepare=lambda page: page.on("request", lambda request: asked.append(request.url)),
    )
    page.keyboard.press("End")
    shows(page, INSTANCES - 1)
    expect(page.locator("#number-text")).to_have_text(f"{INSTANCES} / {INSTANCES}")
    page.keyboard.press("ArrowUp")
    shows(page, INSTANCES - 2)
    lists = [url.rpartition("?")[2] for url in asked if "/look/" in url and "from=" in url]
    assert sorted(lists) == ["from=0", "from=1000"]


def test_a_video_that_cannot_be_played_is_told_in_words(look: Open) -> None:
    page = look(VIDEO, picture=None)
    expect(page.locator("video")).to_have_attribute("src", re.compile(r"/frames/1\?accept=video/mp4"))
    expect(page.get_by_role("alert")).to_contain_text("cannot play the video", timeout=WAIT_MILLISECONDS)


@pytest.mark.parametrize("by", ["page", "another series"])
def test_a_video_plays(look: Open, by: str) -> None:
    page = look(PLAYED, picture=None)
    if by == "page":
        page.reload()
    shown = page.locator("video")
    shown.evaluate("(video) => { video.muted = true; return video.play(); }")
    page.wait_for_function("() => document.querySelector('video').currentTime > 0.3", timeout=WAIT_MILLISECONDS)
    assert shown.evaluate("(video) => [video.videoWidth, video.videoHeight]") == [320, 240]
    red = np.asarray(Image.open(BytesIO(shown.screenshot())).convert("RGB"))[60, 400]
    assert red[0] > 150 and red[1] < 90
    expect(page.get_by_role("alert")).to_be_hidden()


def series_of(page: Page) -> str | None:
    return page.locator("#look").get_attribute("data-series")


def test_another_series_is_shown_without_another_page(look: Open, service: Service, complaints: list[str]) -> None:
    page = look(ct.STUDY.uid, "?picture=5", picture=4)
    page.evaluate("() => { window.same = true; }")
    page.get_by_role("link", name="Bone").click()
    in_window(page, "400,1800,linear")
    page.get_by_role("link", name="2 SR").click()
    report = page.frame_locator(".look-document iframe")
    expect(report.get_by_text("Solid nodule in the right upper lobe").first).to_be_visible(timeout=WAIT_MILLISECONDS)
    expect(page.locator("nav [aria-current]")).to_have_attribute("data-modality", "SR")
    assert f"series={documents.REPORT.uid}" in page.url
    expect(page.locator("#play")).to_be_hidden()
    page.keyboard.press("]")
    expect(page.locator(".look-document iframe")).to_have_attribute("src", re.compile("accept=application/pdf"))
    page.go_back()
    expect(page.locator("nav [aria-current]")).to_have_attribute("data-modality", "SR")
    page.go_back()
    shows(page, 4)
    in_window(page, "400,1800,linear")
    wanted = rendered(service, slice_path(4), window="400,1800,linear")
    wait_for(lambda: difference(page, wanted) < 2)  # the canvas may still have the picture before
    expect(page.get_by_role("slider")).to_have_attribute("max", str(SLICES))
    page.keyboard.press("ArrowDown")
    shows(page, 5)
    page.wait_for_url("**picture=6*")
    assert page.evaluate("() => window.same") and series_of(page) == ct.IMAGES.uid
    page.go_forward()
    expect(page.locator("nav [aria-current]")).to_have_attribute("data-modality", "SR")
    assert page.evaluate("() => window.same")
    assert complaints == []


def test_the_last_of_several_choices_is_shown(look: Open) -> None:
    page = look(ct.STUDY.uid, picture=SLICES // 2)
    held: list[Route] = []
    page.route(re.compile(f"look/{ct.STUDY.uid}\\?.*series={documents.REPORT.uid}"), lambda route: held.append(route))
    page.get_by_role("link", name="2 SR").click()
    page.get_by_role("link", name=re.compile("DOC")).click()
    expect(page.locator("nav [aria-current]")).to_have_attribute("data-modality", "DOC")
    with page.expect_response(lambda answer: documents.REPORT.uid in answer.url):
        held[0].continue_()
    page.wait_for_timeout(200)
    assert series_of(page) == documents.LETTER.uid


def test_a_series_that_cannot_be_had_is_told_on_a_page(look: Open) -> None:
    page = look(ct.STUDY.uid, picture=SLICES // 2)
    page.evaluate("(link) => { document.querySelector('nav [data-modality=SR]').href = link; }", "?series=1.2.3")
    page.get_by_role("link", name="2 SR").click()
    expect(page.get_by_text("There is no such page")).to_be_visible()


def test_a_cine_has_a_speed(look: Open) -> None:
    page = look(ECHO)
    page.get_by_label("Speed").select_option("0.25")
    assert [page.keyboard.press(key) or page.get_by_label("Speed").input_value() for key in "><<"] == [
        "0.5",
        "0.25",
        "0.25",
    ]
    page.keyboard.press(" ")
    page.wait_for_function("() => Number(document.getElementById('canvas').dataset.shown) > 1")


def test_the_keys_are_told_in_a_list(look: Open) -> None:
    page = look(ct.STUDY.uid, picture=SLICES // 2)
    expect(page.locator("#canvas")).to_have_accessible_description("The question mark opens a list of the keys.")
    page.locator("#canvas").focus()
    page.keyboard.press("?")
    for key in ("Invert", "Reset window, zoom and place", "Series before and after", "Zoom and move"):
        expect(page.locator("#keys dd").get_by_text(key, exact=True)).to_be_visible()
    page.keyboard.press("?")
    expect(page.locator("#keys dl")).to_be_hidden()


def test_two_fingers_zoom(browser: Browser, service: Service) -> None:
    context = browser.new_context(viewport=PHONE, has_touch=True, is_mobile=True)
    page = context.new_page()
    page.goto(address(service, ct.STUDY.uid, "?picture=5"))
    shows(page, 4)
    session = context.new_cdp_session(page)
    box = page.locator("#canvas").bounding_box()
    assert box
    x, y = box["x"] + box["width"] / 2, box["y"] + box["height"] / 2
    for kind, apart in (("touchStart", 30), ("touchMove", 45), ("touchMove", 60), ("touchEnd", 0)):
        points = [{"x": x - apart, "y": y, "id": 0}, {"x": x + apart, "y": y, "id": 1}] if apart else []
        session.send("Input.dispatchTouchEvent", {"type": kind, "touchPoints": points})
    expect(page.locator("#zoom-text")).to_have_text("Zoom 200 %", timeout=WAIT_MILLISECONDS)
    assert page.locator("#canvas").get_attribute("data-shown") == "4"
    context.close()


def test_a_share_link_shows_its_study_and_no_other(service: Service, look: Open, context: BrowserContext) -> None:
    path, _ = Links(SECRET).issue(ct.STUDY.uid, 1)
    origin = service.root.removesuffix("/aetitle")
    page = context.new_page()
    page.goto(f"{origin}/console{path}/look/{ct.STUDY.uid}")
    shows(page, SLICES // 2)
    assert f"{path}/studies/" in (page.locator("nav img").first.get_attribute("src") or "")
    assert requests.get(f"{origin}/console{path}/look/{ECHO}", timeout=60).status_code in (403, 404)


def test_the_list_comes_page_by_page(service: Service) -> None:
    url = address(service, ECHO, f"/series/{_SHIPPED['color3d_jpeg_baseline.dcm'].uid}")
    listed = requests.get(url, timeout=60).json()
    (cine,) = listed["instances"]
    assert (listed["total"], cine["start"], cine["pictures"], cine["step"]) == (
        120,
        0,
        120,
        pytest.approx(1 / 30, rel=0.01),
    )
    assert requests.get(f"{url}?from=120", timeout=60).json()["instances"] == []
