"""The login in a real browser: what Chromium sends, keeps, blocks and shows; with and without scripts."""

import json
from collections.abc import Iterator
from pathlib import Path

import bcrypt
import pytest
from playwright.sync_api import ConsoleMessage, Page, expect

from tests.app.auth.provider import AUDIENCE, Provider, provided
from tests.app.viewer.viewer import make_viewer
from tests.service.browser import barriers, chromium_page, overflow
from tests.service.process import Service


@pytest.fixture(scope="module")
def provider() -> Iterator[Provider]:
    with provided() as provider:
        provider.user = {"sub": "u1", "groups": ["radiology"]}
        yield provider


@pytest.fixture(scope="module")
def service(clinic_root: Path, tmp_path_factory: pytest.TempPathFactory, provider: Provider) -> Iterator[Service]:
    folder = tmp_path_factory.mktemp("console")
    (folder / "users").write_text(f"anna:{bcrypt.hashpw(b'anna', bcrypt.gensalt(4)).decode()}\n")
    (folder / "rules").write_text(json.dumps([{"name": "basic:anna"}, {"group": "radiology"}]))
    environment = {
        "DATASTORE_ROOT": str(clinic_root),
        "AUTH": "basic,oidc",
        "AUTH_USERS_FILE": str(folder / "users"),
        "OIDC_ISSUER": provider.issuer,
        "OIDC_AUDIENCE": AUDIENCE,
        "OIDC_CLIENT_ID": provider.client[0],
        "OIDC_CLIENT_SECRET": str(provider.client[1]),
        "ACCESS_RULES": str(folder / "rules"),
        "VIEWER_ROOT": str(make_viewer(folder / "viewer")),
    }
    service = Service(folder / "service", environment)
    yield service
    assert service.stop() == 0


@pytest.fixture(scope="module")
def chromium() -> Iterator[Page]:
    with chromium_page() as page:
        yield page


@pytest.fixture(params=["scripts", "no scripts"])
def page(chromium: Page, service: Service, request: pytest.FixtureRequest) -> Iterator[Page]:
    """A page of a new profile; what the browser complains of in our pages is the test's error."""
    browser = chromium.context.browser
    assert browser
    context = browser.new_context(java_script_enabled=request.param == "scripts")
    page, complaints = context.new_page(), list[str]()

    def note(message: ConsoleMessage) -> None:
        if message.type in ("error", "warning") and message.location["url"].startswith(root(service)):
            complaints.append(message.text)

    page.on("console", note)
    page.on("pageerror", lambda error: complaints.append(str(error)))
    yield page
    context.close()
    assert [text for text in complaints if "status of 40" not in text] == []  # refusals are what some tests want


def root(service: Service) -> str:
    return f"http://127.0.0.1:{service.port}"


def test_by_password_in_and_out(service: Service, page: Page) -> None:
    page.goto(f"{root(service)}/console/?Modality=CT")
    assert page.url.startswith(f"{root(service)}/console/login?next=")
    page.get_by_label("Name").fill("anna")
    page.get_by_label("Password").fill("wrong")
    page.get_by_role("button", name="Sign in").click()
    assert page.get_by_role("alert").inner_text().startswith("This is not right")
    page.get_by_label("Password").fill("anna")
    page.get_by_role("button", name="Sign in").click()
    page.wait_for_url("**/console?Modality=CT")
    assert "anna" in page.get_by_role("banner").inner_text()
    answer = page.goto(f"{root(service)}/aetitle/studies?limit=1")
    assert answer and answer.status == 200
    page.go_back()
    page.get_by_role("button", name="Sign out").click()
    assert "You are signed out" in page.get_by_role("main").inner_text()
    page.goto(f"{root(service)}/console/")
    assert "/console/login" in page.url


@pytest.mark.parametrize("path", ["/console/", "/viewer/"])
@pytest.mark.parametrize("page", ["scripts"], indirect=True)
def test_a_page_that_is_used_keeps_its_session(service: Service, page: Page, path: str) -> None:
    page.clock.install()
    page.goto(f"{root(service)}/console/login")
    page.get_by_label("Name").fill("anna")
    page.get_by_label("Password").fill("anna")
    page.get_by_role("button", name="Sign in").click()
    page.wait_for_url("**/console/")
    page.goto(root(service) + path)
    asked = list[str]()
    page.on("request", lambda one: asked.append(one.url))
    page.clock.fast_forward("06:00")
    assert [url for url in asked if not url.endswith(".svg")] == []  # nobody is there; the icon may come late
    page.keyboard.press("Tab")
    with page.expect_response("**/console/login/renew") as answer:
        page.clock.fast_forward("06:00")
    assert answer.value.status == 204


def test_by_the_issuer_in_and_out(service: Service, page: Page, provider: Provider) -> None:
    page.goto(f"{root(service)}/console/")
    page.get_by_role("link", name="Sign in at 127.0.0.1").click()
    page.wait_for_url("**/console")
    assert "u1" in page.get_by_role("banner").inner_text()
    page.get_by_role("button", name="Sign out").click()
    page.wait_for_url(f"{provider.issuer}/end?**")
    page.goto(f"{root(service)}/console/")
    assert "/console/login" in page.url


def test_another_site_cannot_use_the_session(service: Service, page: Page, provider: Provider) -> None:
    page.goto(f"{root(service)}/console/login")
    page.get_by_label("Name").fill("anna")
    page.get_by_label("Password").fill("anna")
    page.get_by_role("button", name="Sign in").click()
    page.wait_for_url("**/console/")
    session = next(one for one in page.context.cookies() if one["name"] == "session")
    assert (session["httpOnly"], session["sameSite"]) == (True, "Lax")
    evil = provider.issuer.replace("127.0.0.1", "localhost")  # another site
    provider.documents["/evil"] = (
        f'<!DOCTYPE html><img src="{root(service)}/aetitle/studies"><iframe src="{root(service)}/console/"></iframe>'
        f'<form method="post" action="{root(service)}/console/logout"><button>x</button></form>'
        f'<a href="{root(service)}/console/">a link</a>'
    ).encode()
    before = len(service.log)
    page.goto(f"{evil}/evil")
    service.wait(lambda: "path=/aetitle/studies status=401" in service.log[before:])
    page.get_by_role("button").click()
    service.wait(lambda: "path=/console/logout status=403" in service.log[before:])
    page.goto(f"{evil}/evil")
    page.get_by_role("link").click()
    page.wait_for_url(f"{root(service)}/console/")  # a link opens our page, with the session of the user
    assert "anna" in page.get_by_role("banner").inner_text()


def usable(page: Page) -> bool:
    """Whether nothing keeps people from using the page, in a wide window and on a phone."""
    found = list[str]()
    for width, height in ((1200, 800), (400, 800)):
        page.set_viewport_size({"width": width, "height": height})
        found += [*barriers(page), *overflow(page)]
    assert found == []
    return True


@pytest.mark.parametrize("page", ["scripts"], indirect=True)
def test_pages_of_the_login_have_no_barriers_and_fit_a_phone(service: Service, page: Page) -> None:
    page.goto(f"{root(service)}/console/login")
    assert usable(page)
    page.get_by_label("Name").fill("w" * 300)
    page.get_by_label("Password").fill("wrong")
    page.get_by_role("button", name="Sign in").click()
    expect(page.get_by_role("alert")).to_be_visible()
    assert usable(page)
    page.get_by_label("Name").fill("anna")
    page.get_by_label("Password").fill("anna")
    page.get_by_role("button", name="Sign in").click()
    page.wait_for_url("**/console/")
    page.goto(f"{root(service)}/console/login")
    assert "Signed in as anna" in page.get_by_role("main").inner_text() and usable(page)
    for path, words in (("/console/upload", "no right"), ("/console/x", "no such page")):
        page.goto(root(service) + path)
        assert words in page.get_by_role("main").inner_text() and usable(page)
    page.get_by_role("link", name="Back to the work list").click()
    page.get_by_role("button", name="Sign out").click()
    expect(page.get_by_role("main")).to_contain_text("You are signed out")
    assert usable(page)
