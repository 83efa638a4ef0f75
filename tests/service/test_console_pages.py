"""Work list, study and upload in Chromium: with and without scripts, on a phone, with hostile data."""

import io
import re
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import requests
from playwright.sync_api import Browser, BrowserContext, Page, Route, ViewportSize, expect
from pydicom import Dataset, Sequence

from index.follow.holds import FAILURES
from index.writing.runs import note_begin, note_end, note_progress
from tests.service.browser import barriers, chromium, overflow
from tests.service.console import WAIT_MILLISECONDS, image, index_writer, origin, payload, put_aside
from tests.service.storing import Storing, storing
from tests.store.dicom_files import encoded

PHONE = ViewportSize(width=400, height=800)
EVIL = '"><script>window.owned=1</script><img src=x onerror="window.owned=1">'
EVIL_NAME = "<script>owned()</script>"
Open = Callable[..., Page]


def hostile() -> Dataset:
    """An image with markup in all texts that pages show."""
    made = image(9, 1, 1, PatientName=f"{EVIL_NAME}^{EVIL_NAME}={EVIL_NAME}", PatientID=EVIL[:64])
    made.StudyDescription = made.SeriesDescription = made.ProtocolName = EVIL[:64]
    made.AccessionNumber, made.StudyID, made.StationName = "<b>1</b>", "<i>x</i>", "<u>"
    made.PatientComments = EVIL * 3
    block = made.private_block(0x0009, EVIL[:60], create=True)
    block.add_new(1, "LO", EVIL[:60])
    item = Dataset()
    item.CodeMeaning = EVIL[:64]
    made.ProcedureCodeSequence = Sequence([item])
    return made


def zipped(files: dict[str, bytes], compression: int = zipfile.ZIP_DEFLATED, *, zip64: bool = False) -> bytes:
    made = io.BytesIO()
    with zipfile.ZipFile(made, "w", compression) as archive:
        for name, content in files.items():
            with archive.open(zipfile.ZipInfo(name), "w", force_zip64=zip64) as entry:
                entry.write(content)
    return made.getvalue()


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Storing]:
    names = ["Doe^Anna", "Yamada^Tarou=山田^太郎", "Müller^Jörg"]
    studies = [
        image(study, series, number, PatientName=name, PatientID=f"PID{study}", StudyDate=f"2026010{study}")
        for study, name in enumerate(names, 1)
        for series in (1, 2)
        for number in (1, 2, 3)
    ]
    with storing(tmp_path_factory.mktemp("console"), LINK_SECRET="s" * 40) as running:
        long = image(8, 1, 1, PatientName="W" * 64, PatientID="L" * 64, SeriesDescription="M" * 64)
        assert running.post(*map(encoded, studies), encoded(hostile()), encoded(long)).status_code == 200
        make_jobs(running)
        yield running


def make_jobs(running: Storing) -> None:
    """Jobs of each kind, with markup in all texts of them."""
    for number in range(25):
        put_aside(running, encoded(image(number, 1, 9)), f"{EVIL} {number}", EVIL_NAME)
    writer, datastore_id = index_writer(running), running.environment["STORE_DATASTORE_ID"]
    note_begin(writer.session, "a" * 32, "fill", EVIL, [datastore_id])
    note_progress(writer.session, "a" * 32, EVIL[:32], 3, 70, begins=True)
    note_begin(writer.session, "b" * 32, "compare", "host", [datastore_id])
    note_end(writer.session, "b" * 32, 3, EVIL, EVIL)
    writer.note_failure(datastore_id, "c" * 32, EVIL, at_least=FAILURES)
    writer.close()
    requests.post(f"{running.service.root}/prefetch", json={"studies": ["1.2.77.1", "1.2.77.404"]}, timeout=60)


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    expect.set_options(timeout=WAIT_MILLISECONDS)
    with chromium() as browser:
        yield browser


@pytest.fixture
def open_page(browser: Browser, running: Storing) -> Iterator[Open]:
    """Opens pages of the console, each in a context of its own. No script of a stranger has run in any at the end."""
    contexts: list[BrowserContext] = []
    complaints: list[str] = []

    def open_one(path: str, *, scripts: bool = True, **options: Any) -> Page:
        context = browser.new_context(java_script_enabled=scripts, locale="en-GB", **options)
        context.set_default_timeout(WAIT_MILLISECONDS)
        contexts.append(context)
        page = context.new_page()
        page.on("console", lambda said: complaints.append(said.text) if said.type == "error" else None)
        page.on("pageerror", lambda error: complaints.append(str(error)))
        page.on("dialog", lambda dialog: complaints.append(dialog.message))
        page.goto(origin(running) + path)
        return page

    yield open_one
    for context in contexts:
        for page in context.pages:
            if page.url.startswith("http") and not page.is_closed():
                assert page.evaluate("() => typeof window.owned") == "undefined"
        context.close()
    refused = ("Failed to load resource", "Response Status Error")  # so say the browser and htmx of refused requests
    assert [text for text in complaints if not text.startswith(refused)] == []


def opened(page: Page) -> list[str]:
    return page.locator("a.open").all_inner_texts()


@pytest.mark.parametrize("scripts", [True, False])
def test_the_front_door_leads_to_the_work_list(open_page: Open, scripts: bool) -> None:
    page = open_page("/", scripts=scripts)
    assert re.search(r"/console/?$", page.url)
    assert "Müller, Jörg" in opened(page) and "山田 太郎" in page.locator("main").inner_text()


def test_without_scripts_the_form_filters_sorts_and_turns_pages(open_page: Open) -> None:
    page = open_page("/console/", scripts=False)
    page.get_by_label("Name or ID").fill("pid")
    page.get_by_role("button", name="Search").click()
    assert opened(page) == []
    page.get_by_label("Name or ID").fill("PID")
    page.get_by_role("button", name="Search").click()
    assert len(opened(page)) == 3
    page.get_by_role("link", name="Name", exact=True).click()
    assert opened(page) == ["Doe, Anna", "Müller, Jörg", "Yamada, Tarou"]
    page.get_by_label("Modality").fill("XA")
    page.get_by_role("button", name="Search").click()
    assert "No study fits" in page.locator("main").inner_text()


def test_with_scripts_only_the_table_changes(open_page: Open) -> None:
    page = open_page("/console/")
    page.evaluate("() => { window.same = true; }")
    page.get_by_label("Name or ID").press_sequentially("yama")
    expect(page.locator("a.open")).to_have_text(["Yamada, Tarou"])
    assert page.evaluate("() => window.same") and page.url.endswith("/console/?q=yama")
    page.get_by_label("Name or ID").fill("PID")
    expect(page.locator("a.open")).to_have_count(3)
    page.locator("#sort-name").click()
    expect(page.locator("a.open")).to_have_text(["Doe, Anna", "Müller, Jörg", "Yamada, Tarou"])
    assert "sort=name" in page.url and "q=PID" in page.url
    page.get_by_label("Rows").select_option("50")
    expect(page.locator("a.open")).to_have_text(["Doe, Anna", "Müller, Jörg", "Yamada, Tarou"])
    assert page.evaluate("() => window.same")
    page.reload()
    assert opened(page) == ["Doe, Anna", "Müller, Jörg", "Yamada, Tarou"]
    assert page.get_by_label("Name or ID").input_value() == "PID"


def test_keys_go_from_study_to_study(open_page: Open) -> None:
    page = open_page("/console/?q=PID&sort=name")
    page.keyboard.press("/")
    expect(page.get_by_label("Name or ID")).to_be_focused()
    page.keyboard.press("ArrowDown")
    expect(page.get_by_role("link", name="Doe, Anna", exact=True)).to_be_focused()
    for key in ("j", "ArrowDown", "j"):
        page.keyboard.press(key)
    expect(page.get_by_role("link", name="Yamada, Tarou", exact=True)).to_be_focused()
    page.keyboard.press("k")
    page.keyboard.press("Enter")
    expect(page.get_by_role("heading", name="Müller, Jörg")).to_be_visible()


@pytest.mark.parametrize("scripts", [True, False])
def test_a_study_leads_to_its_attributes(open_page: Open, scripts: bool) -> None:
    page = open_page("/console/", scripts=scripts)
    page.get_by_role("link", name="Doe, Anna", exact=True).click()
    assert page.locator(".tile img").count() == 2
    page.locator(".tile a").first.click()
    assert page.locator(".tile").count() == 3
    page.locator(".tile a").nth(1).click()
    assert "1.2.77.1.1.2" in page.locator("main").inner_text()
    page.get_by_label("Find in tags").fill("patient")
    if not scripts:
        page.get_by_role("button", name="Search").click()
    expect(page.locator("#tree .attribute")).to_have_text(["Patient's Name", "Patient ID"])
    expect(page.locator("#tree")).to_contain_text("Doe, Anna")


@pytest.mark.parametrize("scripts", [True, False])
def test_hostile_values_are_text_on_every_page(open_page: Open, scripts: bool) -> None:
    page = open_page("/console/?accession=*b*", scripts=scripts)
    assert EVIL_NAME in opened(page)[0]
    page.locator("a.open").click()
    assert EVIL[:64].strip() in page.locator("main").inner_text()
    page.locator(".tile a").first.click()
    page.locator(".tile a").first.click()
    tree = page.locator("#tree")
    assert EVIL[:60] in tree.inner_text() and "private" in tree.inner_text()
    assert page.locator("#tree img, #tree script, main b, main i, main u").count() == 0


@pytest.mark.parametrize("scripts", [True, False])
def test_hostile_texts_of_jobs_are_text(open_page: Open, scripts: bool) -> None:
    page = open_page("/console/jobs", scripts=scripts)
    main = page.locator("#jobs")
    assert main.inner_text().count(EVIL) >= 20 and EVIL_NAME in main.inner_text()
    assert page.locator("#jobs img, #jobs script").count() == 0
    assert main.get_by_text("1.2.77.1", exact=True).first.get_attribute("href") is None, "the link is around it"
    assert main.locator('a[href="/console/aetitle/studies/1.2.77.1"]').count() >= 1
    page.get_by_role("link", name="Next page").click()
    expect(page.get_by_text("21 to 25 of 25")).to_be_visible()
    assert "refused=2" in page.url
    page.get_by_role("link", name="Refresh").click()
    expect(page.get_by_text("21 to 25 of 25")).to_be_visible()


def test_a_study_comes_as_a_zip_file(open_page: Open, running: Storing) -> None:
    page = open_page("/console/aetitle/studies/1.2.77.1")
    with page.expect_download() as waiting:
        page.get_by_role("link", name="Download as ZIP").click()
    with zipfile.ZipFile(waiting.value.path()) as archive:
        assert len([name for name in archive.namelist() if name.endswith(".dcm")]) == 6


@pytest.mark.parametrize("scripts", [True, False])
def test_a_share_link_opens_for_a_stranger(open_page: Open, running: Storing, scripts: bool) -> None:
    page = open_page("/console/aetitle/studies/1.2.77.2", scripts=scripts)
    page.get_by_role("button", name="Make a link").click()
    url = page.get_by_label("For people").input_value()
    stranger = open_page(url.removeprefix(origin(running)), scripts=scripts)
    assert "Yamada, Tarou" in stranger.locator("h1").inner_text()
    stranger.locator(".tile a").first.click()
    assert stranger.locator(".tile").count() == 3
    pictures = stranger.locator("img.thumbnail").evaluate_all("(all) => all.map((one) => one.src)") if scripts else []
    assert all("/link/" in url and requests.get(url, timeout=60).status_code == 200 for url in pictures)


def test_a_form_is_sent_once_though_somebody_clicks_twice(open_page: Open) -> None:
    page = open_page("/console/aetitle/studies/1.2.77.1")
    sent: list[str] = []
    page.on("request", lambda request: sent.append(request.url) if request.method == "POST" else None)
    page.get_by_role("button", name="Make a link").dblclick()
    expect(page.get_by_label("For people")).to_be_visible()
    assert len(sent) == 1


def test_an_address_is_copied(open_page: Open, running: Storing) -> None:
    page = open_page("/console/aetitle/studies/1.2.77.1", permissions=["clipboard-read", "clipboard-write"])
    page.get_by_role("button", name="Copy").first.click()
    assert page.evaluate("() => navigator.clipboard.readText()") == running.service.root


def sent(page: Page) -> list[int]:
    """The number of files in each store request of the page, from now on."""
    found: list[int] = []
    page.on("request", lambda one: found.append(1) if one.method == "POST" and one.url.endswith("/studies") else None)
    return found


def files_of(study: int, count: int) -> dict[str, bytes]:
    return {f"{number:04}.dcm": encoded(image(study, 1, number)) for number in range(1, count + 1)}


def test_files_are_stored_in_few_requests(open_page: Open, running: Storing, tmp_path: Path) -> None:
    page = open_page("/console/upload")
    requests_of_page = sent(page)
    for name, content in files_of(20, 45).items():
        (tmp_path / name).write_bytes(content)
    (tmp_path / "read.me").write_text("not DICOM")
    page.locator("[data-part=files]").set_input_files(sorted(tmp_path.iterdir()))
    expect(page.locator("[data-part=sums]")).to_have_text(re.compile("Done: 45 files stored, 1 not stored"))
    assert "This is no DICOM file" in page.get_by_role("row", name="read.me").inner_text()
    assert len(requests_of_page) == 3
    assert len(running.found(StudyInstanceUID="1.2.77.20")) == 45
    assert page.locator("[data-part=retry]").is_hidden(), "nothing that may succeed is left"


def test_folders_and_zip_files_are_unpacked(open_page: Open, running: Storing, tmp_path: Path) -> None:
    folder = tmp_path / "disc"
    (folder / "a" / "b").mkdir(parents=True)
    files = list(files_of(21, 8).values())
    (folder / "a" / "one.dcm").write_bytes(files[0])
    (folder / "a" / "b" / "two").write_bytes(files[1])
    (folder / "packed.zip").write_bytes(zipped({"x/3.dcm": files[2], "x/note.txt": b"hello", "4": files[3]}))
    (folder / "stored.zip").write_bytes(zipped({"5": files[4]}, zipfile.ZIP_STORED, zip64=True))
    (folder / "large.zip").write_bytes(zipped({"6": files[5]}, zip64=True))
    damaged = bytearray(zipped({"7": files[6], "8": files[7]}))
    damaged[60] ^= 0xFF
    (folder / "damaged.zip").write_bytes(damaged)
    (folder / "cut.zip").write_bytes(zipped({"9": b"x" * 99})[:70])
    page = open_page("/console/upload")
    page.locator("[data-part=folder]").set_input_files(folder)
    expect(page.locator("[data-part=sums]")).to_have_text(re.compile("Done: 7 files stored, 3 not stored"))
    table = page.locator("[data-part=rows]").inner_text()
    assert table.count("The ZIP file is damaged") == 2 and "disc/packed.zip/x/note.txt" in table
    assert len(running.found(StudyInstanceUID="1.2.77.21")) == 7


def test_the_table_shows_a_bounded_number_of_files(open_page: Open, running: Storing) -> None:
    page = open_page("/console/upload")
    files = files_of(27, 210) | {f"{number:04}.txt": b"no" for number in range(210)}
    page.locator("[data-part=files]").set_input_files([payload("all.zip", zipped(files))])
    expect(page.locator("[data-part=sums]")).to_have_text(
        re.compile("Done: 210 files stored, 210 not stored"), timeout=WAIT_MILLISECONDS
    )
    assert page.locator("[data-part=rows] tr").count() == 400
    assert page.locator("[data-part=more]").is_visible()
    with page.expect_download() as waiting:
        page.get_by_role("button", name="Save the results").click()
    assert len(Path(waiting.value.path()).read_text().splitlines()) == 420
    assert len(running.found(StudyInstanceUID="1.2.77.27")) == 210


def test_a_list_that_is_refused_is_opened_as_a_page(open_page: Open) -> None:
    page = open_page("/console/")

    def refuse(route: Route) -> None:
        if "hx-request" in route.request.headers:
            route.fulfill(status=503, body="away")
        else:
            route.continue_()

    page.route("**/console/?*", refuse)
    page.get_by_label("Name or ID").fill("doe")
    expect(page.locator("a.open")).to_have_text(["Doe, Anna"])
    assert "q=doe" in page.url


def test_a_drop_is_an_upload(open_page: Open, running: Storing) -> None:
    page = open_page("/console/upload")
    content = list(encoded(image(22, 1, 1)))
    page.evaluate(
        """(content) => {
            const data = new DataTransfer();
            data.items.add(new File([new Uint8Array(content)], '<img src=x onerror="window.owned=1">.dcm'));
            const zone = document.querySelector('[data-part=zone]');
            zone.dispatchEvent(new DragEvent('drop', {dataTransfer: data, bubbles: true, cancelable: true}));
        }""",
        content,
    )
    expect(page.locator("[data-part=sums]")).to_have_text(re.compile("Done: 1 files stored"))
    assert "<img src=x" in page.locator("[data-part=rows]").inner_text()
    assert running.found(StudyInstanceUID="1.2.77.22") == ["1.2.77.22.1.1"]


def test_a_busy_service_is_asked_again_and_a_failed_file_can_be_retried(open_page: Open, running: Storing) -> None:
    page = open_page("/console/upload")
    answers = iter([503, 500])

    def refuse(route: Route) -> None:
        status = next(answers, None) if route.request.method == "POST" else None
        if status:
            route.fulfill(status=status, headers={"Retry-After": "1"}, body='{"detail": "not now"}')
        else:
            route.continue_()

    page.route("**/aetitle/studies", refuse)
    page.locator("[data-part=files]").set_input_files([payload("one.dcm", encoded(image(23, 1, 1)))])
    expect(page.locator("[data-part=sums]")).to_have_text(re.compile("Done: 0 files stored, 1 not stored"))
    assert "Not stored (500): not now" in page.locator("[data-part=rows]").inner_text()
    page.get_by_role("button", name="Try again (1)").click()
    expect(page.locator("[data-part=sums]")).to_have_text(re.compile("Done: 1 files stored, 0 not stored"))
    assert running.found(StudyInstanceUID="1.2.77.23") == ["1.2.77.23.1.1"]


def test_an_upload_that_was_stopped_goes_on(open_page: Open, running: Storing) -> None:
    page = open_page("/console/upload")
    held: list[Route] = []
    page.route("**/aetitle/studies", lambda route: held.append(route))  # Playwright marks what it calls
    files = files_of(28, 70)
    page.locator("[data-part=files]").set_input_files([payload("all.zip", zipped(files))])
    expect(page.locator("[data-part=rows] tr")).to_have_count(60)
    page.get_by_role("button", name="Stop").click()
    expect(page.locator("[data-part=why]")).to_have_text("Stopped")
    page.unroute("**/aetitle/studies")
    page.get_by_role("button", name="Try again (60)").click()
    expect(page.locator("[data-part=sums]")).to_have_text(re.compile("Done: 70 files stored, 0 not stored"))
    assert page.locator("[data-part=why]").is_hidden()
    assert len(running.found(StudyInstanceUID="1.2.77.28")) == 70


def test_a_file_that_the_service_refuses_has_its_reason(open_page: Open) -> None:
    page = open_page("/console/upload")
    without_study = encoded(image(24, 1, 1, StudyInstanceUID=None))
    buffers = [("good.dcm", encoded(image(24, 1, 2))), ("bad.dcm", without_study)]
    page.locator("[data-part=files]").set_input_files([payload(name, content) for name, content in buffers])
    expect(page.locator("[data-part=sums]")).to_have_text(re.compile("Done: 1 files stored, 1 not stored"))
    row = page.get_by_role("row", name="bad.dcm").inner_text()
    assert "It cannot be understood" in row and "it has no StudyInstanceUID" in row
    with page.expect_download() as waiting:
        page.get_by_role("button", name="Save the results").click()
    assert "failed\tbad.dcm\tIt cannot be understood" in Path(waiting.value.path()).read_text()


def test_without_scripts_a_form_stores_files(open_page: Open, running: Storing) -> None:
    page = open_page("/console/upload", scripts=False)
    files = [("<b>ä</b>.dcm", encoded(image(25, 1, 1))), ("x.txt", b"no"), ("x.zip", zipped({"a": b"b"}))]
    page.locator("input[name=files]").set_input_files([payload(name, content) for name, content in files])
    page.get_by_role("button", name="Send").click()
    page.set_viewport_size(PHONE)
    assert overflow(page) == []
    rows = [row.inner_text() for row in page.locator("tbody tr").all()]
    assert "<b>ä</b>.dcm" in rows[0] and "Stored" in rows[0]
    assert "It cannot be understood" in rows[1] and "ZIP file can be sent only if" in rows[2]
    page.get_by_role("link", name="Study", exact=True).click()
    assert page.url.endswith("/console/aetitle/studies/1.2.77.25")


def test_a_forged_form_stores_nothing(running: Storing) -> None:
    url = f"{origin(running)}/console/aetitle/studies"
    files = {"files": ("a.dcm", encoded(image(26, 1, 1)))}
    for fields in ({}, {"csrf": "0" * 64}):
        answer = requests.post(url, data=fields, files=files, cookies={"console": "x"}, timeout=60)
        assert answer.status_code == 403
    assert running.found(StudyInstanceUID="1.2.77.26") == []


@pytest.mark.parametrize("scripts", [True, False])
def test_the_status_page_counts_what_the_service_does(open_page: Open, running: Storing, scripts: bool) -> None:
    page = open_page("/console/status", scripts=scripts)
    for _ in range(30):
        running.found(StudyInstanceUID="1.2.77.1")
    page.get_by_role("link", name="Last hour", exact=True).click()
    for heading in ("Requests per second", "Time to answer", "Calls to AHI per second", "Found in the cache"):
        expect(page.get_by_role("img", name=f"Chart: {heading}")).to_be_visible()
    page.locator("summary").first.click()
    table = page.locator(".chart table").first
    expect(table).to_be_visible()
    rates = [float(text) for text in table.locator("tbody td:nth-child(2)").all_inner_texts()]
    assert rates and max(rates) > 0 and min(rates) >= 0
    parts = page.get_by_role("region", name="Parts of the service").inner_text()
    assert "AWS HealthImaging" in parts and "Store requests" in parts


def test_a_status_page_that_gets_no_answer_says_so_and_stays(open_page: Open) -> None:
    page = open_page("/console/status")
    page.clock.install()
    page.reload()
    page.route("**/console/status?*", lambda route: route.fulfill(status=503, body="away"))
    page.clock.fast_forward(31_000)
    expect(page.get_by_text("These numbers are old")).to_be_visible()
    page.unroute("**/console/status?*")
    page.clock.fast_forward(31_000)
    expect(page.get_by_text("These numbers are old")).to_be_hidden()
    assert page.url.endswith("/console/status")


def test_a_checked_service_has_a_status_page_without_barriers(open_page: Open) -> None:
    page = open_page("/console/status", viewport=PHONE)
    page.get_by_role("button", name="Check now").click()
    expect(page.get_by_role("region", name="Index against AHI")).to_be_visible()
    assert barriers(page) == []
    assert page.evaluate("() => document.documentElement.scrollWidth") <= PHONE["width"]


PAGES = {
    "work list": "/console/",
    "nothing": "/console/?q=zebra",
    "problem": "/console/?birth=soon",
    "study": "/console/aetitle/studies/1.2.77.1",
    "series": "/console/aetitle/studies/1.2.77.1/series/1.2.77.1.1",
    "long name": "/console/aetitle/studies/1.2.77.8",
    "long description": "/console/aetitle/studies/1.2.77.8/series/1.2.77.8.1",
    "instance": "/console/aetitle/studies/1.2.77.9/series/1.2.77.9.1/instances/1.2.77.9.1.1",
    "upload": "/console/upload",
    "status": "/console/status",
    "jobs": "/console/jobs?refused=2",
    "nothing there": "/console/aetitle/studies/9.9",
    "no such path": "/console/nothing",
    "no window": "/console/aetitle/look/1.2.77.1?window=x",
    "many words": "/console/?q=anna+berta+clara+dora+emma+frida+gerda+hanna&name=x&id=y",
}


@pytest.mark.parametrize("path", PAGES.values(), ids=PAGES)
def test_pages_have_no_barriers_and_fit_a_phone(open_page: Open, path: str) -> None:
    page = open_page(path, color_scheme="dark")
    assert barriers(page) == []
    phone = open_page(path, viewport=PHONE)
    assert barriers(phone) == []
    assert overflow(phone) == []
