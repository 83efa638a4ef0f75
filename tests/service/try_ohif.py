"""OHIF in a headless Chromium shows what the service has, and stores. script/try-ohif says where OHIF is."""

import os
import re
import subprocess
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from io import BytesIO
from pathlib import Path

import pytest
import requests
from PIL import Image
from playwright.sync_api import Page, Route, expect
from pydicom import Dataset

from datastore.embedded import Embedded
from tests.pydicom_files import pydicom_path
from tests.servers import free_port
from tests.service.browser import chromium_page, files_served
from tests.service.clinic import Clinic
from tests.service.ohif_upload import Uploading, files_of, images_of_a_study
from tests.service.process import Service
from tests.store.dicom_files import data_set, encoded
from tests.waiting import wait_for

WAIT_MILLISECONDS = 45_000
ROOT = Path(__file__).parents[2]
SERVICE_IN_DOCUMENT = "http://127.0.0.1:8080/aetitle"
PAGE_IN_DOCUMENT = "http://127.0.0.1:3000"


@pytest.fixture
def complaints() -> list[str]:
    """What the console of the page said in red."""
    return []


@pytest.fixture
def page(clinic_service: Service, complaints: list[str]) -> Iterator[Page]:
    """OHIF's work list, as doc/viewers.md configures it."""

    def configure(route: Route) -> None:
        route.fulfill(body=_configuration(clinic_service.root), content_type="text/javascript")

    with files_served(Path(os.environ["OHIF"])) as url, _ohif(complaints) as page:
        page.route("**/app-config.js", configure)
        page.goto(url)
        yield page


@contextmanager
def _ohif(complaints: list[str]) -> Iterator[Page]:
    """A page for OHIF, without its tour for newcomers."""
    with chromium_page() as page:
        page.set_viewport_size({"width": 1400, "height": 900})
        page.add_init_script("localStorage.setItem('shownTours', JSON.stringify(['basicViewerTour']))")
        page.on("console", lambda said: complaints.append(said.text) if said.type == "error" else None)
        page.on("pageerror", lambda error: complaints.append(str(error)))
        yield page


def _block(language: str, word: str = "") -> str:
    """The first block in the section on OHIF of doc/viewers.md that has this word."""
    section = (ROOT / "doc" / "viewers.md").read_text().partition("\n## OHIF\n")[2].partition("\n## ")[0]
    blocks: list[str] = re.findall(rf"^```{language}\n(.*?)^```", section, re.MULTILINE | re.DOTALL)
    return next(block for block in blocks if word in block)


def _configuration(root: str) -> str:
    """The file app-config.js of doc/viewers.md, for a service at that URL."""
    text = _block("js")
    assert text.count(SERVICE_IN_DOCUMENT) == 2
    return text.replace(SERVICE_IN_DOCUMENT, root)


def test_the_work_list_has_the_studies(page: Page, complaints: list[str]) -> None:
    for name in ("DOE, JOHN", "ROE, JANE"):
        expect(page.get_by_text(name).first).to_be_visible(timeout=WAIT_MILLISECONDS)
    expect(page.get_by_text("Upload", exact=True)).to_have_count(0)
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


@pytest.fixture
def uploading(tmp_path: Path, complaints: list[str]) -> Iterator[Uploading]:
    """All that doc/viewers.md says of OHIF, done word by word on other ports."""
    port = free_port()
    url = f"http://127.0.0.1:{port}"
    serve_service, serve_page = _block("bash", "script/server").splitlines()
    serve_service = serve_service.replace(PAGE_IN_DOCUMENT, url).replace("script/", f"{ROOT}/script/")
    Embedded(tmp_path / "data").fill([pydicom_path("CT_small.dcm")])  # quicker than all samples
    environment = {"DATASTORE_ROOT": str(tmp_path / "data"), "VIEWER_ROOT": ""}  # this one is served elsewhere
    with ExitStack() as undo:
        service = Service(tmp_path / "service", environment, program=("bash", "-c", serve_service))
        undo.callback(service.stop)
        _unpack(tmp_path / "package" / "dist", _configuration(service.root))
        subprocess.run(["bash", "-euc", _block("bash", "dicomUploadEnabled")], cwd=tmp_path, check=True)
        command = serve_page.replace(PAGE_IN_DOCUMENT.rpartition(":")[2], str(port)).split()
        serving = undo.enter_context(subprocess.Popen(command, cwd=tmp_path, stderr=subprocess.DEVNULL))
        undo.callback(serving.terminate)
        wait_for(lambda: _answers(url))
        page = undo.enter_context(_ohif(complaints))
        page.goto(url)
        yield Uploading(service.root, page)


def _unpack(folder: Path, configuration: str) -> None:
    """OHIF in a folder, with a configuration of its own."""
    folder.mkdir(parents=True)
    for path in Path(os.environ["OHIF"]).iterdir():
        if path.name != "app-config.js":
            (folder / path.name).symlink_to(path.resolve())
    (folder / "app-config.js").write_text(configuration)


def _answers(url: str) -> bool:
    with suppress(requests.ConnectionError):
        return requests.get(url, timeout=30).ok
    return False


@pytest.fixture
def images() -> list[Dataset]:
    return images_of_a_study()


def test_the_dialog_uploads_a_study(
    uploading: Uploading, images: list[Dataset], complaints: list[str], tmp_path: Path
) -> None:
    statuses = uploading.upload(*files_of(tmp_path, images))
    assert "Completed!" in uploading.shown()
    assert statuses == [200] * len(images)
    assert [said for said in complaints if "aetitle" in said] == []
    uploading.check_stored(images)


def test_the_dialog_shows_what_failed(uploading: Uploading, images: list[Dataset], tmp_path: Path) -> None:
    """OHIF sends no text; it sends what only the service can refuse."""
    text, damaged = tmp_path / "letter.txt", tmp_path / "damaged.dcm"
    text.write_text("no DICOM " * 100)
    damaged.write_bytes(encoded(data_set("1.2.99.1.9", StudyInstanceUID=None)))
    statuses = uploading.upload(*files_of(tmp_path, images), text, damaged)
    shown = uploading.shown()
    assert "Completed with 2 errors!" in shown
    failures = [text.name, "Not a valid DICOM file.", damaged.name, "request failed"]
    assert shown[-7:-1] == [f"{images[2].SOPInstanceUID}.dcm", f"{images[3].SOPInstanceUID}.dcm", *failures]
    assert statuses == [200] * len(images) + [409]
    uploading.check_stored(images)
