"""The viewer of a running service: its files on the wire, and the ways in and out of it, in a browser.

The viewer is a small made-up one; `script/try-viewer` tries the real one.
"""

import time
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit

import pytest
import requests
from playwright.sync_api import BrowserContext, Page

from app.auth.links import Link, Links, link_id
from tests.app.auth.provider import provided
from tests.app.auth.users import ANNA
from tests.app.viewer.viewer import SCRIPT, make_viewer
from tests.service.browser import chromium_page
from tests.service.clinic import Clinic
from tests.service.load_balancer import LoadBalancer, load_balanced
from tests.service.people import ENDS, Logins
from tests.service.process import Service
from tests.waiting import PATIENCE_SECONDS

SECRET = "s" * 32
BUNDLE = "/viewer/app.bundle.0123456789abcdef.js"
SEARCH = """async () => {
    const source = window.config.dataSources.at(-1).configuration;
    const answer = await fetch(source.qidoRoot + "/studies");
    return answer.ok ? (await answer.json()).map((study) => study["0020000D"].Value[0]) : answer.status;
}"""


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("viewer")


@pytest.fixture(scope="module")
def logins(folder: Path) -> Iterator[Logins]:
    with provided() as provider:
        yield Logins.at(folder, provider)


@pytest.fixture(scope="module")
def settings(clinic_root: Path, folder: Path) -> dict[str, str]:
    """The settings of the service without its logins."""
    viewer = make_viewer(folder / "viewer")
    return {"DATASTORE_ROOT": str(clinic_root), "LINK_SECRET": SECRET, "VIEWER_ROOT": str(viewer)}


@pytest.fixture(scope="module")
def service(settings: dict[str, str], logins: Logins, folder: Path) -> Iterator[Service]:
    """A service that everybody may read, and where Anna may store."""
    (folder / "rules").write_text('[{"name": "basic:anna", "rights": ["read", "store"]}, {"rights": ["read"]}]')
    own = {**logins.of("basic", "bearer", "oidc"), "ACCESS_RULES": str(folder / "rules")}
    own |= {"STORE": "true", "SPOOL_ROOT": str(folder / "spool")}  # another service may use the spool of the data store
    service = Service(folder / "service", {**settings, **own})
    yield service
    assert service.stop() == 0


@pytest.fixture(scope="module")
def chromium() -> Iterator[Page]:
    with chromium_page() as page:
        yield page


@pytest.fixture
def context(chromium: Page) -> Iterator[BrowserContext]:
    """A new profile."""
    assert chromium.context.browser
    context = chromium.context.browser.new_context()
    yield context
    context.close()


def origin(service: Service) -> str:
    return f"http://127.0.0.1:{service.port}"


def token_of(study: str) -> str:
    return Links(SECRET).token(Link(study, int(time.time()) + 3600))


@pytest.mark.parametrize("coding", ["zstd", "gzip", "identity"])
def test_the_kernel_sends_files_whole_in_ranges_and_not_at_all(service: Service, coding: str) -> None:
    with requests.Session() as session:
        session.headers["Accept-Encoding"] = coding
        whole = session.get(origin(service) + BUNDLE, stream=True, timeout=PATIENCE_SECONDS)
        sent = whole.raw.read(decode_content=False)
        assert int(whole.headers["Content-Length"]) == len(sent)
        assert (sent == SCRIPT) == (coding == "identity")
        span = {"Range": "bytes=5-14"}
        part = session.get(origin(service) + BUNDLE, headers=span, stream=True, timeout=PATIENCE_SECONDS)
        assert (part.status_code, part.raw.read(decode_content=False)) == (206, sent[5:15])
        head = session.head(origin(service) + BUNDLE, timeout=PATIENCE_SECONDS)
        assert (head.headers["Content-Length"], head.headers["ETag"]) == (str(len(sent)), whole.headers["ETag"])
        known = {"If-None-Match": whole.headers["ETag"]}
        assert session.get(origin(service) + BUNDLE, headers=known, timeout=PATIENCE_SECONDS).status_code == 304


@pytest.mark.parametrize(
    "path", ["/viewer/../main.py", "/viewer/%2e%2e/%2e%2e/etc/passwd", "/viewer/..%2fusers", "/viewer/%00"]
)
def test_no_raw_path_leaves_the_folder(service: Service, path: str) -> None:
    prepared = requests.Request("GET", origin(service)).prepare()
    prepared.url = origin(service) + path
    with requests.Session() as session:
        answer = session.send(prepared, timeout=PATIENCE_SECONDS)
    assert answer.status_code in (400, 404)
    assert "anna" not in answer.text and "root:" not in answer.text


WAYS = {"basic": "cookies deleted", "bearer": "signed out", "oidc": "revoked"}


@pytest.mark.parametrize("way", WAYS)
def test_from_the_login_back_to_the_study_and_to_the_login_at_the_end(
    service: Service, context: BrowserContext, clinic: Clinic, logins: Logins, way: str
) -> None:
    page, study, asked = context.new_page(), clinic.slices[0].StudyInstanceUID, list[str]()
    page.on("request", lambda request: asked.append(request.url))
    place = f"{origin(service)}/viewer/viewer/aetitle?StudyInstanceUIDs={study}"
    page.goto(place)
    page.wait_for_url("**/console/login?next=*")
    logins.sign_in(page, way)
    page.wait_for_url(place)
    assert study in page.evaluate(SEARCH)
    ENDS[WAYS[way]](context, origin(service))
    page.evaluate(f"void ({SEARCH})()")
    page.wait_for_url("**/console/login?next=*")
    logins.sign_in(page, way)
    page.wait_for_url(place)
    assert study in page.evaluate(SEARCH)
    assert not [url for url in asked if logins.token in url or "eyJ" in url]


@pytest.fixture
def balancer(settings: dict[str, str], logins: Logins, folder: Path) -> Iterator[LoadBalancer]:
    """A load balancer before a service that knows people by it alone."""
    with load_balanced(logins.provider) as balancer:
        service = Service(folder / "balanced", {**settings, **balancer.settings})
        balancer.target = origin(service)
        yield balancer
        assert service.stop() == 0


def test_the_login_of_a_load_balancer_leads_back_to_the_study(
    balancer: LoadBalancer, context: BrowserContext, clinic: Clinic
) -> None:
    page, study, complaints = context.new_page(), clinic.slices[0].StudyInstanceUID, list[str]()
    page.on("pageerror", lambda error: complaints.append(str(error)))
    place = f"{balancer.origin}/viewer/viewer/aetitle?StudyInstanceUIDs={study}"
    page.goto(place)
    for _ in range(2):
        page.get_by_role("link", name="Log in at the hospital").click()
        page.wait_for_url(place)
        assert study in page.evaluate(SEARCH)
        balancer.end_sessions()
        page.evaluate(f"void ({SEARCH})().catch(() => {{}})")  # its answer leads to another origin, so it fails
        page.wait_for_url(f"{balancer.login}?back=*")
    page.goto(balancer.target + urlsplit(place).path)  # past the load balancer
    page.wait_for_url("**/viewer/ended?next=*")
    assert complaints == []


def test_the_console_opens_a_study(service: Service, context: BrowserContext, clinic: Clinic, logins: Logins) -> None:
    page, study = context.new_page(), clinic.slices[0].StudyInstanceUID
    page.goto(f"{origin(service)}/console/aetitle/studies/{study}")
    logins.sign_in(page, "basic")
    page.get_by_role("link", name="Open in OHIF").click()
    page.wait_for_url(f"{origin(service)}/viewer/viewer/aetitle?StudyInstanceUIDs={study}")
    assert study in page.evaluate(SEARCH)


def test_a_link_opens_its_study_alone_and_its_token_is_in_no_other_url(
    service: Service, context: BrowserContext, clinic: Clinic
) -> None:
    page, study = context.new_page(), clinic.slices[0].StudyInstanceUID
    token, asked = token_of(study), list[str]()
    page.on("request", lambda request: asked.append(request.url))
    page.goto(f"{origin(service)}/link/{token}/viewer")
    page.wait_for_url(f"{origin(service)}/viewer/viewer/{link_id(token)}?StudyInstanceUIDs={study}")
    assert page.evaluate(SEARCH) == [study]
    assert [url for url in asked if token in url] == asked[:1]
    service.logs("/link/***/studies")
    assert token not in service.log
    assert page.evaluate("document.cookie") == ""
    context.clear_cookies()
    page.evaluate(f"void ({SEARCH})()")
    page.wait_for_url("**/viewer/ended?next=*")
    assert "access has ended" in page.inner_text("body")


def test_a_link_and_a_login_are_used_side_by_side(
    service: Service, context: BrowserContext, clinic: Clinic, logins: Logins
) -> None:
    page, study = context.new_page(), clinic.slices[0].StudyInstanceUID
    page.goto(f"{origin(service)}/link/{token_of(study)}/viewer")
    page.goto(f"{origin(service)}/viewer/viewer/aetitle?StudyInstanceUIDs={study}")
    page.wait_for_url("**/console/login?next=*")  # the link does not show this root
    logins.sign_in(page, "basic")
    page.wait_for_url("**/viewer/viewer/aetitle?*")
    names = page.evaluate("window.config.dataSources.map((source) => source.sourceName)")
    assert (names[0], len(names)) == ("aetitle", 2)


def test_who_may_store_has_the_upload(service: Service, logins: Logins) -> None:
    empty = {"Content-Type": 'multipart/related; type="application/dicom"; boundary=x'}
    for headers, uploads, status in ((ANNA, "true", 400), ({"Authorization": f"Bearer {logins.token}"}, "false", 403)):
        answer = requests.get(f"{origin(service)}/viewer/app-config.js", headers=headers, timeout=PATIENCE_SECONDS)
        assert '"sourceName": "aetitle"' in answer.text
        assert f'"dicomUploadEnabled": {uploads}' in answer.text
        stored = requests.post(
            f"{service.root}/studies", "--x--", headers={**headers, **empty}, timeout=PATIENCE_SECONDS
        )
        assert stored.status_code == status


def test_pages_of_the_service_lead_to_the_login_themselves_and_others_have_the_browser_ask(service: Service) -> None:
    """By what Chromium sends, without any cookie."""

    def asks(**headers: str) -> bool:
        answer = requests.get(f"{service.root}/studies", headers=headers, timeout=PATIENCE_SECONDS)
        assert answer.status_code == 401
        return "Basic" in answer.headers.get("WWW-Authenticate", "")

    def sent(site: str, destination: str) -> dict[str, str]:
        return {"Sec-Fetch-Site": site, "Sec-Fetch-Dest": destination}

    for inside in ("empty", "image", "iframe", "object"):
        assert not asks(**sent("same-origin", inside)), inside
    assert asks(**sent("same-origin", "document"))
    assert asks(**sent("same-site", "empty"))
    assert asks(**sent("none", "document"))
    assert asks()
    assert asks(**sent("same-origin", "empty"), Authorization="Basic YTpi")  # one that it has kept, and that is wrong
