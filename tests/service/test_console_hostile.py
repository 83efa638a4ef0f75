"""Hostile objects, stored as any client may, run nothing in the origin of the console, whatever address opens them."""

import re
from collections.abc import Iterator
from typing import Any

import pytest
import requests
from playwright.sync_api import Browser, Error, expect
from pydicom import Dataset, FileMetaDataset, Sequence, dcmread
from pydicom.encaps import encapsulate
from pydicom.uid import MPEG4HP41

from tests.pydicom_files import pydicom_path
from tests.service.browser import chromium
from tests.service.console import WAIT_MILLISECONDS, image, origin, saved
from tests.service.storing import Storing, storing
from tests.store.dicom_files import encoded

STUDY = "1.2.77.66"
RUN = "window.owned=1;new Image().src='/owned'"
PAGE = f'<!DOCTYPE html><html><body onload="{RUN}"><script>{RUN}</script><img src=x onerror="{RUN}"></body></html>'
XML = (
    '<?xml version="1.0"?><ClinicalDocument xmlns="urn:hl7-org:v3"><script xmlns="http://www.w3.org/1999/xhtml">'
    f'{RUN}</script><svg xmlns="http://www.w3.org/2000/svg" onload="{RUN}"/></ClinicalDocument>'
)
DRAWING = f'<svg xmlns="http://www.w3.org/2000/svg" onload="{RUN}"><script>{RUN}</script></svg>'
PDF = (
    "%PDF-1.4\n1 0 obj<</Type/Catalog/Pages 2 0 R/OpenAction<</S/JavaScript/JS(app.alert(1))>>>>endobj\n"
    f"2 0 obj<</Type/Pages/Kids[]/Count 0>>endobj\ntrailer<</Root 1 0 R>>\n{PAGE}"
)
DOCUMENTS = [  # node of the SOP class, the media type that the object claims, and its bytes
    ("104.1", "application/pdf", PDF),
    ("104.1", "text/html", PAGE),
    ("104.1", "application/xhtml+xml", XML),
    ("104.2", "text/xml", XML),
    ("104.2", "image/svg+xml", DRAWING),
    ("104.3", "model/stl", PAGE),
    ("104.4", "text/html;charset=utf-7", PAGE),
]
ACCEPTED = (
    "", "text/html", "text/xml", "application/xml", "application/xhtml+xml", "image/svg+xml", "application/pdf",
    "text/plain", "video/mp4", "image/png", "application/octet-stream", "application/dicom+xml", "*/*",
)  # fmt: skip


def document(number: int, node: str, media_type: str, content: str) -> Dataset:
    made = image(66, 1, number, PixelData=None, Rows=None, Columns=None, Modality="DOC")
    made.SOPClassUID = f"1.2.840.10008.5.1.4.1.1.{node}"
    made.MIMETypeOfEncapsulatedDocument = media_type
    made.DocumentTitle = PAGE[:64]
    body = content.encode()
    made.EncapsulatedDocument = body + b" " * (len(body) % 2)
    return made


def objects() -> Iterator[bytes]:
    for number, (node, media_type, content) in enumerate(DOCUMENTS, 1):
        yield encoded(document(number, node, media_type, content))
    private = image(66, 2, 1)
    block = private.private_block(0x0009, "EVIL", create=True)
    block.add_new(1, "OB", (PAGE * 40).encode() + b" " * (len(PAGE) * 40 % 2))
    block.add_new(2, "UT", PAGE * 40)
    yield encoded(private)
    film = image(66, 3, 1, NumberOfFrames=10, SamplesPerPixel=3, PhotometricInterpretation="YBR_PARTIAL_420")
    film.PlanarConfiguration = 0
    film.file_meta = FileMetaDataset()
    film.file_meta.TransferSyntaxUID = MPEG4HP41
    film.PixelData = encapsulate([PAGE.encode() + b" " * (len(PAGE) % 2)])
    film["PixelData"].VR = "OB"
    yield saved(film)
    report = dcmread(pydicom_path("test-SR.dcm"))
    report.StudyInstanceUID, report.SeriesInstanceUID, report.SOPInstanceUID = STUDY, f"{STUDY}.4", f"{STUDY}.4.1"
    text = Dataset()
    text.RelationshipType, text.ValueType, text.TextValue = "CONTAINS", "TEXT", PAGE
    report.ContentSequence = Sequence([text])
    yield saved(report)


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Storing]:
    with storing(tmp_path_factory.mktemp("hostile")) as running:
        answer = running.post(*objects())
        assert answer.status_code in (200, 202), answer.text
        yield running


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with chromium() as browser:
        yield browser


def bulk_urls(value: Any) -> Iterator[str]:
    """All addresses of bulk data in DICOM JSON."""
    if isinstance(value, dict):
        if "BulkDataURI" in value:
            yield str(value["BulkDataURI"])
        for inner in value.values():
            yield from bulk_urls(inner)
    elif isinstance(value, list):
        for inner in value:
            yield from bulk_urls(inner)


def addresses(running: Storing) -> Iterator[str]:
    """The addresses under which a browser might open something of the study."""
    root = running.service.root
    metadata = requests.get(f"{root}/studies/{STUDY}/metadata", timeout=60).json()
    for one in metadata:
        series, instance = one["0020000E"]["Value"][0], one["00080018"]["Value"][0]
        path = f"{root}/studies/{STUDY}/series/{series}/instances/{instance}"
        wado = f"{root}/wado?requestType=WADO&studyUID={STUDY}&seriesUID={series}&objectUID={instance}"
        for below in ("", "/rendered", "/thumbnail", "/frames/1", "/frames/1/rendered", "/metadata", "/bulkdata"):
            yield from (f"{path}{below}{'?accept=' + accept if accept else ''}" for accept in ACCEPTED)
        yield from (f"{wado}&contentType={accept}" for accept in ACCEPTED)
        for url in bulk_urls(one):
            yield from (f"{url}{'?accept=' + accept if accept else ''}" for accept in ACCEPTED)


def answers(running: Storing) -> dict[str, requests.Response]:
    """What is there, by its address, with each content and media type once."""
    found: dict[tuple[bytes, str], tuple[str, requests.Response]] = {}
    with requests.Session() as session:
        session.headers["Accept"] = "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8"
        for url in dict.fromkeys(addresses(running)):
            answer = session.get(url.replace("+xml", "%2Bxml"), timeout=60)
            kind = re.sub("boundary=[^;]*", "", answer.headers.get("Content-Type", ""))
            found.setdefault((answer.content, kind), (answer.url, answer))
    return dict(found.values())


def test_what_is_stored_runs_nowhere(running: Storing, browser: Browser) -> None:
    """Each answer is opened as a page, by Chromium, in the origin of the console."""
    found = answers(running)
    whole = [answer for answer in found.values() if b"window.owned" in answer.content and answer.status_code == 200]
    assert len(whole) > len(DOCUMENTS)
    for answer in found.values():
        assert answer.headers["X-Content-Type-Options"] == "nosniff"
    context = browser.new_context()
    page, asked = context.new_page(), list[str]()
    page.on("request", lambda request: asked.append(request.url))
    for url, answer in found.items():
        try:
            page.goto(url, timeout=WAIT_MILLISECONDS)
        except Error as error:  # it is saved as a file
            assert "Download is starting" in error.message or "ERR_ABORTED" in error.message, (url, error)
            continue
        assert page.evaluate("() => typeof window.owned") == "undefined", (url, answer.headers)
    assert [url for url in asked if url.endswith("/owned")] == []
    context.close()


@pytest.mark.parametrize("scripts", [True, False])
def test_its_pages_run_nothing(running: Storing, browser: Browser, scripts: bool) -> None:
    context = browser.new_context(java_script_enabled=scripts)
    page, asked = context.new_page(), list[str]()
    page.on("request", lambda request: asked.append(request.url))
    root = f"{origin(running)}/console/aetitle"
    page.goto(f"{root}/look/{STUDY}")
    links = page.locator("nav [data-series]").evaluate_all("(all) => all.map((one) => one.href)")
    assert len(links) == 4
    for link in links:
        page.goto(link)
        for _ in range(len(DOCUMENTS) if "66.1" in link else 1):
            if scripts:
                expect(page.locator("#keys")).to_be_visible(timeout=WAIT_MILLISECONDS)
                page.keyboard.press("ArrowDown")
            else:
                page.get_by_role("link", name="Next").click()
        found = [frame.evaluate("() => typeof window.owned") for frame in page.frames]  # one may come meanwhile
        assert set(found) == {"undefined"}
    for series in ("1", "2", "3", "4"):
        page.goto(f"{root}/studies/{STUDY}/series/{STUDY}.{series}/instances/{STUDY}.{series}.1")
        assert page.locator("#tree script, #tree img, #tree body").count() == 0
        assert "window.owned" in page.locator("#tree").inner_text() or series == "3"
    assert [url for url in asked if url.endswith("/owned")] == []
    context.close()
