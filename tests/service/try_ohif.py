"""OHIF in a headless Chromium shows what the service has. Run by script/try-ohif, which says where OHIF is."""

import os
from collections.abc import Iterator
from io import BytesIO
from pathlib import Path

import pytest
from PIL import Image
from playwright.sync_api import Page, Route, expect

from tests.service.browser import chromium_page, files_served
from tests.service.clinic import Clinic
from tests.service.process import Service

WAIT_MILLISECONDS = 45_000
ROOT = Path(__file__).parents[2]
IN_DOCUMENT = "http://127.0.0.1:8080/aetitle"


@pytest.fixture
def complaints() -> list[str]:
    """What the console of the page said in red."""
    return []


@pytest.fixture
def page(clinic_service: Service, complaints: list[str]) -> Iterator[Page]:
    """OHIF, not opened yet, as doc/viewers.md configures it."""
    root, folder = clinic_service.root, Path(os.environ["OHIF"])

    def configure(route: Route) -> None:
        route.fulfill(body=_configuration(root), content_type="text/javascript")

    with files_served(folder) as url, chromium_page() as page:
        page.set_viewport_size({"width": 1400, "height": 900})
        page.add_init_script("localStorage.setItem('shownTours', JSON.stringify(['basicViewerTour']))")
        page.on("console", lambda said: complaints.append(said.text) if said.type == "error" else None)
        page.on("pageerror", lambda error: complaints.append(str(error)))
        page.route("**/app-config.js", configure)
        page.goto(url)
        yield page


def _configuration(root: str) -> str:
    """The file app-config.js of doc/viewers.md, for a service at that URL."""
    text = (ROOT / "doc" / "viewers.md").read_text().partition("```js\n")[2].partition("```")[0]
    assert text.count(IN_DOCUMENT) == 2
    return text.replace(IN_DOCUMENT, root)


def test_the_work_list_has_the_studies(page: Page, complaints: list[str]) -> None:
    for name in ("DOE, JOHN", "ROE, JANE"):
        expect(page.get_by_text(name).first).to_be_visible(timeout=WAIT_MILLISECONDS)
    assert [said for said in complaints if "aetitle" in said] == []


def test_a_ct_study_is_shown(page: Page, clinic: Clinic, complaints: list[str]) -> None:
    fetched: list[str] = []

    def note(answer: object) -> None:
        fetched.append(f"{answer.status} {answer.url}")  # type: ignore[attr-defined]

    page.on("response", note)
    page.goto(f"{page.url.rstrip('/')}/viewer?StudyInstanceUIDs={clinic.slices[0].StudyInstanceUID}")
    canvas = page.locator("canvas.cornerstone-canvas").first
    expect(canvas).to_be_visible(timeout=WAIT_MILLISECONDS)
    page.wait_for_timeout(8000)  # the picture comes after its canvas
    drawn = Image.open(BytesIO(canvas.screenshot())).convert("L")
    drawn.save(os.environ.get("OHIF_PICTURE", os.devnull), "PNG")
    middle = drawn.resize((64, 64)).crop((16, 16, 48, 48))
    assert len(set(middle.tobytes())) > 16
    assert any(line.startswith("200 ") and "/frames/" in line for line in fetched)
    assert [said for said in complaints if "aetitle" in said] == []
