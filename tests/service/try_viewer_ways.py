"""The ways to OHIF at `/viewer`: from a fresh clone, with each AUTH, and with its upload. Run by script/try-viewer."""

import os
import signal
import subprocess
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path

import pytest
import requests
from playwright.sync_api import Browser, BrowserContext, expect

from datastore.embedded import Embedded
from datastore.samples.anatomy import HEIGHT
from datastore.samples.chest import section
from datastore.samples.ct import SLICES
from tests.app.auth.provider import Provider, provided
from tests.app.auth.users import ANNA
from tests.servers import free_port
from tests.service.browser import chromium
from tests.service.load_balancer import load_balanced
from tests.service.ohif import WAIT_MILLISECONDS, Viewer, reported, watched
from tests.service.ohif_upload import Uploading, files_of, images_of_a_study
from tests.service.people import ENDS, Logins
from tests.service.process import ROOT, Service
from tests.service.viewer_kinds import Kind, windowed, write_kinds
from tests.waiting import PATIENCE_SECONDS, wait_for

SETUP_SECONDS = 1200


@pytest.fixture(scope="module")
def report(request: pytest.FixtureRequest) -> Iterator[list[str]]:
    yield from reported(request)


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with chromium() as browser:
        yield browser


@pytest.fixture
def context(browser: Browser) -> Iterator[BrowserContext]:
    """A new profile."""
    context = browser.new_context(viewport={"width": 1400, "height": 900})
    yield context
    context.close()


@pytest.fixture(scope="module")
def kind(tmp_path_factory: pytest.TempPathFactory) -> Kind:
    """A CT whose picture is known."""
    return write_kinds(tmp_path_factory.mktemp("kinds"))["ct"]


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory, kind: Kind) -> Path:
    """A data store that has the CT."""
    root = tmp_path_factory.mktemp("data")
    for number, image in enumerate(kind.data_sets):
        image.save_as(root / f"{number}.dcm", enforce_file_format=True)
    Embedded(root / "data").fill([root])
    return root / "data"


@pytest.fixture
def settings(data: Path) -> dict[str, str]:
    return {"DATASTORE_ROOT": str(data), "VIEWER_ROOT": os.environ["VIEWER"]}


@pytest.fixture
def provider() -> Iterator[Provider]:
    with provided() as provider:
        yield provider


def test_from_a_fresh_clone_to_the_known_picture(tmp_path: Path, context: BrowserContext, report: list[str]) -> None:
    """As the README says: the clone, one command, the work list, a study, and its first picture in OHIF."""
    clone = tmp_path / "clone"
    subprocess.run(["git", "clone", "--quiet", ROOT, clone], check=True)
    origin = f"http://127.0.0.1:{(port := free_port())}"
    own = {name: value for name, value in os.environ.items() if name not in ("VIEWER", "VIEWER_ROOT", "VIRTUAL_ENV")}
    started = subprocess.Popen([clone / "script" / "server"], env={**own, "PORT": str(port)}, start_new_session=True)
    with ExitStack() as undo:
        undo.callback(started.wait, PATIENCE_SECONDS)
        undo.callback(os.killpg, started.pid, signal.SIGTERM)
        wait_for(lambda: _is_there(f"{origin}/aetitle/health") and _is_there(f"{origin}/viewer/"), SETUP_SECONDS)
        viewer = watched(context.new_page(), origin)
        viewer.page.goto(origin)
        viewer.page.locator("a.open", has_text="Berger").click()
        viewer.page.get_by_role("link", name="Open in OHIF").click()
        viewer.wait_for(windowed(section(HEIGHT - HEIGHT / SLICES), 50, 400))
        report.append(f"from a fresh clone: {viewer.check()}")


def _is_there(url: str) -> bool:
    with suppress(requests.ConnectionError):
        return requests.get(url, headers={"Accept": "text/html"}, timeout=PATIENCE_SECONDS).ok
    return False


WAYS = {"basic": "revoked", "bearer": "signed out", "oidc": "cookies deleted"}


@pytest.mark.parametrize("way", WAYS)
def test_a_login_leads_to_the_study_and_its_end_to_the_login_and_back(
    settings: dict[str, str],
    provider: Provider,
    tmp_path: Path,
    context: BrowserContext,
    kind: Kind,
    report: list[str],
    way: str,
) -> None:
    logins = Logins.at(tmp_path, provider)
    service = Service(tmp_path / "service", {**settings, **logins.of(way)})
    try:
        viewer = watched(context.new_page(), f"http://127.0.0.1:{service.port}")
        page = viewer.page

        def sign_in() -> None:
            if way != "oidc":  # the only way leads to the issuer, and back, by itself
                page.wait_for_url("**/console/login?next=*")
                logins.sign_in(page, way)

        viewer.open(kind.study)
        sign_in()
        _check_shown(viewer, kind)
        ENDS[WAYS[way]](context, viewer.origin)
        with page.expect_request("**/console/login?next=*"):
            page.evaluate(f"void fetch('{service.root}/studies')")  # what any tool of OHIF asks for
        viewer.complaints.clear()  # of the browser, on the end
        sign_in()
        _check_shown(viewer, kind)
        ENDS[WAYS[way]](context, viewer.origin)
        with page.expect_request("**/console/login?next=*"):
            page.locator("[data-cy='return-to-work-list']").click()
        viewer.complaints.clear()
        sign_in()
        expect(page.get_by_text("Kind, ct").first).to_be_visible(timeout=WAIT_MILLISECONDS)
        assert viewer.complaints == []
        assert not [url for url in viewer.asked if logins.token in url or "eyJ" in url]
        assert not [secret for secret in (logins.token, "eyJ", "code=") if secret in service.log]
        report.append(f"AUTH={way}: shown, ended ({WAYS[way]}), shown again; {len(viewer.asked)} requests")
    finally:
        service.stop()


def test_the_login_of_a_load_balancer_leads_to_the_study_and_back(
    settings: dict[str, str],
    provider: Provider,
    tmp_path: Path,
    context: BrowserContext,
    kind: Kind,
    report: list[str],
) -> None:
    with load_balanced(provider) as balancer:
        service = Service(tmp_path / "service", {**settings, **balancer.settings})
        balancer.target = f"http://127.0.0.1:{service.port}"
        try:
            viewer = watched(context.new_page(), balancer.origin)
            viewer.open(kind.study)
            viewer.page.get_by_role("link", name="Log in at the hospital").click()
            _check_shown(viewer, kind)
            balancer.end_sessions()
            viewer.page.locator("[data-cy='return-to-work-list']").click()  # OHIF asks for the list, and gets no answer
            viewer.page.wait_for_url(f"{balancer.login}?back=*")
            viewer.complaints.clear()
            viewer.page.get_by_role("link", name="Log in at the hospital").click()
            expect(viewer.page.get_by_text("Kind, ct").first).to_be_visible(timeout=WAIT_MILLISECONDS)
            viewer.open(kind.study)
            _check_shown(viewer, kind)
            report.append(f"AUTH=alb: shown, ended, shown again; {len(viewer.asked)} requests")
        finally:
            service.stop()


def test_without_the_console_the_browser_asks_for_the_password(
    settings: dict[str, str], provider: Provider, tmp_path: Path, browser: Browser, kind: Kind, report: list[str]
) -> None:
    logins = Logins.at(tmp_path, provider)
    service = Service(tmp_path / "service", {**settings, **logins.of("basic"), "CONSOLE": "false"})
    context = browser.new_context(http_credentials={"username": "anna", "password": "geheim"})
    try:
        viewer = watched(context.new_page(), f"http://127.0.0.1:{service.port}")
        viewer.open(kind.study)
        _check_shown(viewer, kind)
        report.append(f"AUTH=basic without the console: {viewer.check()}")
    finally:
        context.close()
        service.stop()


def _check_shown(viewer: Viewer, kind: Kind) -> None:
    """The known picture comes, without a complaint."""
    assert kind.picture is not None
    viewer.wait_for(kind.picture)
    assert viewer.complaints == []


def test_who_may_store_uploads_and_who_may_not_is_not_asked_to(
    settings: dict[str, str], provider: Provider, tmp_path: Path, browser: Browser, report: list[str]
) -> None:
    logins = Logins.at(tmp_path, provider)
    rules = '[{"name": "basic:anna", "rights": ["read", "store"]}, {"name": "bearer:pacs", "rights": ["read"]}]'
    (tmp_path / "rules").write_text(rules)
    service = Service(
        tmp_path / "service",
        {**settings, **logins.of("basic", "bearer"), "ACCESS_RULES": str(tmp_path / "rules")},
    )
    origin = f"http://127.0.0.1:{service.port}"
    try:
        with _listed(browser, origin, logins, "basic") as viewer:
            uploading = Uploading(service.root, viewer.page, ANNA)
            images, text = images_of_a_study(), tmp_path / "letter.txt"
            text.write_text("no DICOM " * 100)
            assert uploading.upload(*files_of(tmp_path, images), text) == [200] * len(images)
            assert "Completed with 1 error!" in uploading.shown()
            uploading.check_stored(images)
            viewer.open(images[0].StudyInstanceUID)
            assert viewer.canvas().any()
            report.append(f"upload by one who may store: {viewer.check()}")
        with _listed(browser, origin, logins, "bearer") as viewer:
            expect(viewer.page.get_by_text("Upload", exact=True)).to_have_count(0)
            report.append(f"no upload for one who may not: {viewer.check()}")
            assert viewer.page.evaluate(POST, f"{service.root}/studies") == 403
    finally:
        service.stop()


POST = """(url) => fetch(url, {method: "POST", body: "--x--", headers: {
    "Content-Type": 'multipart/related; type="application/dicom"; boundary=x'}}).then((answer) => answer.status)"""


@contextmanager
def _listed(browser: Browser, origin: str, logins: Logins, way: str) -> Iterator[Viewer]:
    """The work list of OHIF for somebody who has signed in, in a new profile."""
    context = browser.new_context(viewport={"width": 1400, "height": 900})
    viewer = watched(context.new_page(), origin)
    viewer.page.goto(f"{origin}/viewer/")
    viewer.page.wait_for_url("**/console/login?next=*")
    logins.sign_in(viewer.page, way)
    expect(viewer.page.get_by_text("Kind, ct").first).to_be_visible(timeout=WAIT_MILLISECONDS)
    yield viewer
    context.close()
