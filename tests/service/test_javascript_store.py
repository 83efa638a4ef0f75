"""The JavaScript client stores from a page of another origin: preflight, zeros behind the last boundary, and all."""

from base64 import b64encode
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Page

from tests.service.browser import call, chromium_page, files_served
from tests.service.storing import Storing, storing
from tests.store.dicom_files import file

BUNDLE = Path(__file__).parent / "javascript" / "bundle"

_STORE = """async (texts) => {
    const bytes = (text) => Uint8Array.from(atob(text), (letter) => letter.charCodeAt(0)).buffer;
    await window.client.dicomweb("storeInstances", {datasets: texts.map(bytes)});
}"""


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Storing]:
    with storing(tmp_path_factory.mktemp("store"), CORS_ORIGINS="loopback") as running:
        yield running


@pytest.fixture
def page(running: Storing) -> Iterator[Page]:
    with files_served(BUNDLE) as url, chromium_page() as page:
        page.goto(url)
        call(page, "connect", running.service.root)
        yield page


def test_a_page_stores(page: Page, running: Storing) -> None:
    uids = [f"1.2.88.1.{number}" for number in range(3)]
    files = [b64encode(file(uid, study="1.2.88", series="1.2.88.1", size=10 + len(uid))).decode() for uid in uids]
    page.evaluate(_STORE, files)
    assert running.found(StudyInstanceUID="1.2.88") == uids


def test_a_page_is_told_of_a_failure(page: Page) -> None:
    with pytest.raises(Exception, match="request failed|409"):
        page.evaluate(_STORE, [b64encode(b"not DICOM").decode()])
