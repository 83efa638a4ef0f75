"""The login of people, over real sockets and several web processes: what a session opens, for whom, and until when."""

import json
import re
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlencode, urlsplit

import bcrypt
import pytest
import requests

from app.auth.bearer import new_token
from tests.app.auth.browser import PAGE, Browser, token_of
from tests.app.auth.provider import AUDIENCE, Provider, provided
from tests.service.clinic import Clinic
from tests.service.process import Service

USERS = ("anna", "ct", "nothing")


def origin(service: Service) -> str:
    return f"http://127.0.0.1:{service.port}"


@pytest.fixture(scope="module")
def token() -> tuple[str, str]:
    """A token of `bearer`, and its line."""
    return new_token("pacs")


@pytest.fixture(scope="module")
def provider() -> Iterator[Provider]:
    with provided() as provider:
        yield provider


@pytest.fixture(scope="module")
def service(
    clinic_root: Path,
    clinic: Clinic,
    tmp_path_factory: pytest.TempPathFactory,
    token: tuple[str, str],
    provider: Provider,
) -> Iterator[Service]:
    """A service where `anna` sees everything and `ct` some, with every way to sign in by a page, in two processes."""
    folder = tmp_path_factory.mktemp("console")
    hashes = {name: bcrypt.hashpw(name.encode(), bcrypt.gensalt(4)).decode() for name in USERS}
    (folder / "users").write_text("".join(f"{name}:{value}\n" for name, value in hashes.items()))
    (folder / "tokens").write_text(token[1] + "\n")
    rules = [
        {"name": "basic:anna", "rights": ["read", "operate"]},
        {"name": "basic:ct", "filter": {"Modality": "CT"}},
        {"name": "bearer:pacs"},
        {"group": "radiology"},
    ]
    (folder / "rules").write_text(json.dumps(rules))
    environment = {
        "DATASTORE_ROOT": str(clinic_root),
        "WEB_PROCESSES": "2",
        "AUTH": "basic,bearer,oidc",
        "AUTH_USERS_FILE": str(folder / "users"),
        "AUTH_TOKENS_FILE": str(folder / "tokens"),
        "OIDC_ISSUER": provider.issuer,
        "OIDC_AUDIENCE": AUDIENCE,
        "OIDC_CLIENT_ID": provider.client[0],
        "OIDC_CLIENT_SECRET": str(provider.client[1]),
        "ACCESS_RULES": str(folder / "rules"),
        "AUDIT": "file",
        "AUDIT_FILE": str(folder / "audit"),
    }
    service = Service(folder / "service", environment)
    yield service
    assert service.stop() == 0


@pytest.fixture
def browser(service: Service) -> Browser:
    return Browser(origin(service))


def studies(answer: requests.Response) -> set[str]:
    assert answer.status_code == 200, answer.text
    return {study["0020000D"]["Value"][0] for study in answer.json()}


def test_a_page_without_a_login_leads_to_it_and_back(browser: Browser) -> None:
    sent = browser.open("/console/aetitle/studies/1.2?x=1")
    assert sent.status_code == 303
    where = sent.headers["Location"]
    assert where.startswith("/console/login?next=%2Fconsole")
    page = browser.open(where)
    assert (page.status_code, "no-store" in page.headers["Cache-Control"]) == (200, True)
    field = re.search(r'name="next" value="([^"]+)"', page.text)
    assert field and field[1].startswith("/console")


def test_who_has_signed_in_sees_what_the_same_user_sees_by_the_api(browser: Browser, service: Service) -> None:
    for user in ("anna", "ct"):
        begun = browser.sign_in(user, user, "/console")
        assert (begun.status_code, begun.headers["Location"]) == (303, "/console")
        by_api = requests.get(f"{service.root}/studies", auth=(user, user), timeout=60)
        assert studies(browser.fetch("/aetitle/studies")) == studies(by_api)
    assert len(studies(browser.fetch("/aetitle/studies"))) < len(
        studies(requests.get(f"{service.root}/studies", auth=("anna", "anna"), timeout=60))
    )
    Browser(browser.origin).sign_in("nothing", "nothing")
    other = Browser(browser.origin)
    other.sign_in("nothing", "nothing")
    assert other.fetch("/aetitle/studies").status_code == 403


def test_the_cookie_is_for_the_browser_alone(browser: Browser) -> None:
    begun = browser.sign_in("anna", "anna")
    cookie = next(one for one in begun.raw.headers.getlist("Set-Cookie") if one.startswith("session="))
    assert {"HttpOnly", "Path=/", "SameSite=Lax"} <= set(cookie.split("; "))
    assert "Domain" not in cookie and "Secure" not in cookie  # plain HTTP on loopback
    assert "anna:" not in cookie and begun.headers["Clear-Site-Data"] == '"cache"'
    assert len(browser.cookie) < 4000


@pytest.mark.parametrize("site", ["cross-site", "same-site"])
def test_other_sites_get_nothing_with_the_cookie(browser: Browser, site: str) -> None:
    browser.sign_in("anna", "anna")
    for path in ("/aetitle/studies", "/aetitle/studies/count", "/console"):
        refused = browser.fetch(path, site=site)
        assert (refused.status_code, "WWW-Authenticate" in refused.headers) == (401, False), path
        assert "Access-Control-Allow-Credentials" not in refused.headers
    posted = browser.fetch("/console/logout", site=site, method="POST", data={"csrf": "x"})
    assert posted.status_code == 403
    assert browser.fetch("/aetitle/studies").status_code == 200
    without = browser.session.get(f"{browser.origin}/aetitle/studies", timeout=60)  # no browser sends this
    assert without.status_code == 401


def test_after_a_logout_the_cookie_counts_nowhere(browser: Browser) -> None:
    browser.sign_in("anna", "anna")
    stolen = browser.cookie
    left = browser.sign_out()
    assert (left.status_code, "You are signed out" in left.text, browser.cookie) == (200, True, "")
    assert left.headers["Clear-Site-Data"] == '"cache"'
    for _ in range(20):  # each web process knows it
        thief = Browser(browser.origin)
        thief.session.cookies.set("session", stolen)
        refused = thief.fetch("/aetitle/studies")
        assert (refused.status_code, "WWW-Authenticate" in refused.headers) == (401, False)
        assert thief.open("/console").status_code == 303


def test_a_session_cannot_be_fixed(browser: Browser) -> None:
    attacker = Browser(browser.origin)
    attacker.sign_in("ct", "ct")
    planted = attacker.cookie
    browser.session.cookies.set("session", planted)
    begun = browser.sign_in("anna", "anna")
    assert begun.status_code == 303
    own = re.search(r"session=([^;]+)", begun.headers["Set-Cookie"])
    assert own and own[1] != planted
    assert attacker.fetch("/aetitle/studies").status_code == 401  # the one that was planted has ended


def test_a_wrong_password_says_nothing_about_the_name(browser: Browser) -> None:
    pages = [browser.sign_in(name, "wrong") for name in ("anna", "nobody")]
    assert [page.status_code for page in pages] == [401, 401]
    first, second = (re.sub(r'value="\w+"', "", page.text) for page in pages)
    assert first == second
    assert "WWW-Authenticate" not in pages[0].headers
    assert browser.cookie == ""


def test_a_token_signs_in_without_being_kept(browser: Browser, token: tuple[str, str]) -> None:
    page = browser.open("/console/login")
    assert browser.send(page, "/console/login", way="bearer", token="adp_wrong").status_code == 401  # noqa: S106 - wrong
    assert browser.send(page, "/console/login", way="bearer", token=f" {token[0]} ").status_code == 303
    assert studies(browser.fetch("/aetitle/studies"))
    assert token[0] not in str(browser.session.cookies)


def test_forms_need_their_token(browser: Browser) -> None:
    fields = {"way": "basic", "name": "anna", "password": "anna"}
    page = browser.open("/console/login")
    for wrong in ("", "x", token_of(Browser(browser.origin).open("/console/login").text)):
        refused = browser.session.post(f"{browser.origin}/console/login", {**fields, "csrf": wrong}, timeout=60)
        assert refused.status_code == 403
    assert browser.send(page, "/console/login", **fields).status_code == 303
    old = browser.send(page, "/console/logout")  # the token of before the login is not that of the session
    assert old.status_code == 403
    assert browser.fetch("/aetitle/studies").status_code == 200


def test_plain_http_beyond_this_machine_is_refused_with_words(service: Service, browser: Browser) -> None:
    headers = {"Host": "dicom.example.org", "Accept": PAGE}
    page = requests.get(f"{origin(service)}/console/login", headers=headers, timeout=60)
    assert "https only" in page.text and "password" not in page.text
    cookies = {"console": "x"}
    browser.sign_in("anna", "anna")
    away = requests.get(
        f"{service.root}/studies",
        headers={"Host": "dicom.example.org", "Sec-Fetch-Site": "same-origin"},
        cookies={**cookies, "session": browser.cookie},
        timeout=60,
    )
    assert away.status_code == 401


def test_an_htmx_request_is_told_where_to_sign_in(browser: Browser) -> None:
    answer = browser.fetch("/console", headers={"HX-Request": "true", "Accept": "*/*"})
    assert (answer.status_code, answer.headers["HX-Redirect"][:14]) == (401, "/console/login")


def by_issuer(browser: Browser, next_path: str = "/console") -> requests.Response:
    """Sign in at the issuer: there and back."""
    there = browser.open(f"/console/login/issuer?next={next_path}")
    assert there.status_code == 303, there.text
    back = requests.get(there.headers["Location"], allow_redirects=False, timeout=60).headers["Location"]
    return browser.open(back, site="cross-site")


def test_an_issuer_signs_in_renews_and_ends(browser: Browser, provider: Provider, service: Service) -> None:
    provider.user = {"sub": "u1", "groups": ["radiology", *(f"group{number}" for number in range(400))]}
    begun = by_issuer(browser)
    assert (begun.status_code, begun.headers["Location"]) == (303, "/console")
    assert studies(browser.fetch("/aetitle/studies"))
    assert browser.fetch("/console/login/renew").status_code == 204
    kept = "".join(str(one.value) for one in browser.session.cookies)
    assert not [secret for secret in (*provider.refresh_tokens, "eyJ") if secret in kept]
    assert all(len(str(one.value)) < 4000 for one in browser.session.cookies)
    provider.user = {"sub": "u1", "groups": ["radiology"]}  # the token to end the login fits into a cookie
    by_issuer(browser)
    left = browser.sign_out()
    end = left.headers["Refresh"].partition("url=")[2]
    assert end.startswith(f"{provider.issuer}/end?") and "id_token_hint=eyJ" in end
    assert browser.fetch("/aetitle/studies").status_code == 401
    service.logs("path=/console/login/return")
    assert "code=" not in service.log


@pytest.mark.parametrize("change", ["state", "code", "cookie"])
def test_what_comes_back_from_the_issuer_is_what_was_sent(browser: Browser, provider: Provider, change: str) -> None:
    provider.user = {"sub": "u1", "groups": ["radiology"]}
    there = browser.open("/console/login/issuer")
    back = requests.get(there.headers["Location"], allow_redirects=False, timeout=60).headers["Location"]
    if change == "cookie":
        browser.session.cookies.clear()
    else:
        back = re.sub(rf"{change}=[\w-]+", f"{change}=x", back)
    refused = browser.open(back, site="cross-site")
    assert (refused.status_code, "did not succeed" in refused.text, browser.cookie) == (401, True, "")


def test_a_user_of_the_issuer_has_the_rights_of_the_rules(browser: Browser, provider: Provider) -> None:
    provider.user = {"sub": "u2", "groups": ["cleaning"]}
    assert by_issuer(browser).status_code == 303
    assert browser.fetch("/aetitle/studies").status_code == 403


def test_logins_and_logouts_are_audited(
    browser: Browser, service: Service, tmp_path_factory: pytest.TempPathFactory
) -> None:
    browser.sign_in("ct", "ct")
    browser.sign_out()
    audit = service.log_path.parent.parent / "audit"
    service.wait(lambda: "Logout" in audit.read_text())
    lines = [line for line in audit.read_text().splitlines() if "User Authentication" in line and "basic:ct" in line]
    assert any("Login" in line and 'EventOutcomeIndicator="0"' in line for line in lines)


def changed(browser: Browser, path: str, **fields: str) -> str:
    """Send a form of the page Access; what the page shows then."""
    page = browser.open("/console/access")
    assert page.status_code == 200
    answer = browser.send(page, f"/console/access/{path}", **fields)
    assert answer.status_code == 200, answer.text
    return answer.text


def secret_of(text: str) -> str:
    found = re.search(r'id="secret" readonly value="([^"]+)"', text)
    assert found
    return found[1]


def test_a_user_who_is_made_and_removed_is_known_to_all_processes(browser: Browser, service: Service) -> None:
    browser.sign_in("anna", "anna")
    password = secret_of(changed(browser, "users", name="carl", password=""))
    carl = Browser(browser.origin)
    assert carl.sign_in("carl", password).status_code == 303

    def by_api() -> int:
        return requests.get(f"{service.root}/studies", auth=("carl", password), timeout=60).status_code

    for _ in range(10):  # each web process knows the user, for whom no rule fits
        assert carl.fetch("/aetitle/studies").status_code == 403
        assert by_api() == 403
    changed(browser, "remove", kind="user", key="carl")
    for _ in range(10):
        assert carl.fetch("/aetitle/studies").status_code == 401
    assert by_api() == 401
    assert browser.fetch("/aetitle/studies").status_code == 200


def test_a_token_that_is_removed_ends_its_sessions(browser: Browser, service: Service) -> None:
    browser.sign_in("anna", "anna")
    made = changed(browser, "tokens", name="workstation", groups="radiology", days="30")
    secret, people = secret_of(made), Browser(browser.origin)
    assert people.send(people.open("/console/login"), "/console/login", way="bearer", token=secret).status_code == 303
    headers = {"Authorization": f"Bearer {secret}"}
    for _ in range(10):
        assert people.fetch("/aetitle/studies").status_code == 200
        assert requests.get(f"{service.root}/studies", headers=headers, timeout=60).status_code == 200
    key = re.findall(r"kind=token&amp;key=([0-9a-f]{16})", browser.open("/console/access").text)[-1]
    changed(browser, "remove", kind="token", key=key)
    for _ in range(10):
        assert people.fetch("/aetitle/studies").status_code == 401
        assert requests.get(f"{service.root}/studies", headers=headers, timeout=60).status_code == 401
    assert secret not in service.log + (service.log_path.parent.parent / "audit").read_text()


def test_changes_of_access_are_found_in_the_audit_trail(browser: Browser, service: Service) -> None:
    browser.sign_in("anna", "anna")
    changed(browser, "tokens", name="printer", groups="radiology", days="0")

    def search(**query: str) -> str:
        page = browser.open(f"/console/access/audit?{urlencode(query)}")
        assert page.status_code == 200
        return page.text

    service.wait(lambda: "add token bearer:printer" in search(action="change", user="anna"))
    assert "add token bearer:printer" not in search(action="login")
    service.wait(lambda: "action=change" in search(action="trail"))  # the search itself


def test_an_operator_opens_pages_that_the_api_refuses_to_others(browser: Browser, service: Service) -> None:
    browser.sign_in("ct", "ct")
    for path in ("/console/access", "/console/access/audit", "/console/access/remove?kind=user&key=anna"):
        assert browser.open(path).status_code == 403
        url = f"{origin(service)}{path}"
        assert requests.get(url, auth=("ct", "ct"), timeout=60).status_code == 403
        assert requests.get(url, timeout=60).status_code == 401
    page = browser.open("/console/")
    assert "/console/access" not in page.text
    for path in ("users", "tokens", "remove"):
        fields = {"name": "x", "password": "", "groups": "", "days": "0", "kind": "user", "key": "anna"}
        assert browser.send(page, f"/console/access/{path}", **fields).status_code == 403
    assert requests.get(f"{service.root}/studies", auth=("anna", "anna"), timeout=60).status_code == 200


def test_guesses_are_slowed_down(service: Service) -> None:
    """Last in this file: after it, the address must wait."""
    attacker = Browser(origin(service))
    page = attacker.open("/console/login")
    found = [
        attacker.send(page, "/console/login", way="basic", name="victim", password=str(number)) for number in range(12)
    ]
    assert [one.status_code for one in found] == [401] * 10 + [429] * 2
    assert int(found[-1].headers["Retry-After"]) <= 60
    assert "Too many requests" in found[-1].text


def test_paths_of_other_hosts_are_not_followed(browser: Browser) -> None:
    begun = browser.sign_in("anna", "anna", "//evil.example/console")
    assert begun.status_code == 303
    assert urlsplit(begun.headers["Location"]).netloc == ""
    assert begun.headers["Location"] == "/console/"
