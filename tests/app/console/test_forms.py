"""No form of the console does anything without its token: every route that changes something, those of tomorrow too."""

import re
from collections.abc import Callable
from io import BytesIO
from pathlib import Path
from typing import Any

import pytest
from flask import Flask
from flask.testing import FlaskClient
from werkzeug.test import TestResponse

from app.console.issuer import OIDC
from app.console_parts import COOKIE
from app.factory import create_app
from tests.app.auth.browser import PAGE, token_of
from tests.app.auth.users import write_users
from tests.bare_services import bare_services

OURS = {"Accept": PAGE, "Sec-Fetch-Site": "same-origin", "Sec-Fetch-Mode": "navigate", "Sec-Fetch-Dest": "document"}
Maker = Callable[..., Flask]


@pytest.fixture
def app_with(tmp_path: Path) -> Maker:
    def make(**settings: Any) -> Flask:
        return create_app(bare_services(cache_root=tmp_path, **settings))

    return make


def changing(app: Flask) -> list[tuple[str, str]]:
    """Method and path of every route of the console that changes something."""
    return [
        (method, re.sub(r"<(path:)?\w+>", "1", rule.rule))
        for rule in app.url_map.iter_rules()
        if rule.rule.startswith("/console") and "/link/" not in rule.rule
        for method in sorted((rule.methods or set()) - {"GET", "HEAD", "OPTIONS"})
    ]


def sign_in(client: FlaskClient, name: str = "anna") -> TestResponse:
    csrf = token_of(client.get("/console/login", headers=OURS).text)
    fields = {"csrf": csrf, "way": "basic", "name": name, "password": "geheim"}
    return client.post("/console/login", data=fields, headers=OURS)


@pytest.mark.parametrize("token", ["", "x" * 64])
@pytest.mark.parametrize("way", ["none", "basic"])
def test_every_form_is_refused_without_its_token(app_with: Maker, tmp_path: Path, way: str, token: str) -> None:
    login = {"auth": ("basic",), "auth_users_file": write_users(tmp_path)} if way == "basic" else {}
    app = app_with(store=True, store_datastore_id="a" * 32, host="127.0.0.1", **login)
    client = app.test_client()
    if login:
        assert sign_in(client).status_code == 303
    client.set_cookie(COOKIE, "x")
    found = changing(app)
    assert ("POST", "/console/login") in found
    for method, path in found:
        sent: dict[str, Any] = {"data": {"csrf": token, "file": (BytesIO(b"x"), "x.dcm")}, "headers": OURS}
        answer = client.open(path, method=method, content_type="multipart/form-data", **sent)
        assert answer.status_code in (403, 404), (method, path, answer.status)
        assert answer.status_code == 403 or "/upload" in path, path  # nothing is stored in this test


@pytest.mark.parametrize("site", ["cross-site", "same-site", "none"])
def test_another_site_sends_no_form_whatever_token_it_has(app_with: Maker, tmp_path: Path, site: str) -> None:
    """A neighbour in the same domain can set cookies for us, and so knows a token of the login page."""
    app = app_with(auth=("basic",), auth_users_file=write_users(tmp_path), store=True, store_datastore_id="a" * 32)
    client = app.test_client()
    token = token_of(client.get("/console/login", headers=OURS).text)
    for method, path in changing(app):
        answer = client.open(path, method=method, data={"csrf": token}, headers={**OURS, "Sec-Fetch-Site": site})
        assert answer.status_code in (303, 403), path  # to the login, or refused
        assert answer.status_code == 403 or "/console/login?" in (answer.location or ""), path
    fields = {"csrf": token, "way": "basic", "name": "anna", "password": "geheim"}
    assert client.post("/console/login", data=fields, headers={**OURS, "Sec-Fetch-Site": site}).status_code == 403
    assert client.post("/console/login", data=fields, headers=OURS).status_code == 303


@pytest.mark.parametrize(
    ("origin", "status"),
    [
        (None, 303),
        ("http://localhost", 303),
        ("http://LOCALHOST:8080", 303),
        ("null", 403),
        ("http://evil.localhost", 403),
        ("http://localhost.evil.example", 403),
        ("http://[", 403),
    ],
)
def test_where_a_browser_tells_the_origin_alone_it_must_be_ours(
    app_with: Maker, tmp_path: Path, origin: str | None, status: int
) -> None:
    client = app_with(auth=("basic",), auth_users_file=write_users(tmp_path)).test_client()
    page = client.get("/console/login", headers={"Accept": PAGE})
    assert page.headers["Referrer-Policy"] == "same-origin"  # with `no-referrer`, browsers send `null`
    fields = {"csrf": token_of(page.text), "way": "basic", "name": "anna", "password": "geheim"}
    headers = {"Accept": PAGE, **({"Origin": origin} if origin else {})}
    assert client.post("/console/login", data=fields, headers=headers).status_code == status


def test_a_token_is_for_one_browser_one_user_and_one_session(app_with: Maker, tmp_path: Path) -> None:
    app = app_with(auth=("basic",), auth_users_file=write_users(tmp_path))
    client, other = app.test_client(), app.test_client()
    before = token_of(client.get("/console/login", headers=OURS).text)
    of_other = token_of(other.get("/console/login", headers=OURS).text)
    fields = {"way": "basic", "name": "anna", "password": "geheim"}
    assert client.post("/console/login", data={**fields, "csrf": of_other}, headers=OURS).status_code == 403
    assert sign_in(client).status_code == 303
    first = token_of(client.get("/console/login", headers=OURS).text)
    assert sign_in(client).status_code == 303  # another session in the same browser
    assert sign_in(other).status_code == 303
    for token in (before, of_other, first, token_of(other.get("/console/login", headers=OURS).text)):
        assert client.post("/console/logout", data={"csrf": token}, headers=OURS).status_code == 403
    token = token_of(client.get("/console/login", headers=OURS).text)
    assert client.post("/console/logout", headers={**OURS, "X-CSRF-Token": token}).status_code == 200


def test_who_leaves_after_the_session_has_ended_signs_in_again(app_with: Maker, tmp_path: Path) -> None:
    app = app_with(auth=("basic",), auth_users_file=write_users(tmp_path))
    client, elsewhere = app.test_client(), app.test_client()
    sign_in(client)
    token = token_of(client.get("/console/login", headers=OURS).text)
    session, browser = client.get_cookie("session"), client.get_cookie(COOKIE)
    assert session and browser
    elsewhere.set_cookie("session", session.value)
    elsewhere.set_cookie(COOKIE, browser.value)
    assert elsewhere.post("/console/logout", data={"csrf": token}, headers=OURS).status_code == 200
    sent = client.post("/console/logout", data={"csrf": token}, headers=OURS)
    assert (sent.status_code, sent.location) == (303, "/console/login?next=%2Fconsole")


@pytest.mark.parametrize(("way", "words"), [("alb", "no login for people"), ("bearer", "With a token")])
def test_each_way_has_its_page(app_with: Maker, tmp_path: Path, way: str, words: str) -> None:
    (tmp_path / "tokens").write_text("")
    arn = "arn:aws:elasticloadbalancing:us-east-1:1:loadbalancer/app/x/1"
    app = app_with(auth=(way,), auth_tokens_file=tmp_path / "tokens", alb_arn=arn)
    page = app.test_client().get("/console/login", headers=OURS)
    assert words in page.text and 'name="password"' not in page.text
    refused = app.test_client().get("/console", headers=OURS)
    assert refused.status_code == (401 if way == "alb" else 303)


def test_one_way_alone_leads_straight_to_the_issuer(app_with: Maker) -> None:
    issuer = {"oidc_issuer": "https://idp.example", "oidc_audience": ("x",), "oidc_client_id": "console"}
    client = app_with(auth=(OIDC,), **issuer).test_client()
    assert client.get("/console/login?next=/console/upload", headers=OURS).location == (
        "/console/login/issuer?next=%2Fconsole%2Fupload"
    )
    assert "signed out" in client.get("/console/login/out", headers=OURS).text


def test_without_a_login_there_is_none(app_with: Maker) -> None:
    client = app_with().test_client()
    assert client.get("/console/login", headers=OURS).location == "/console/"
    page = client.get("/console/upload", headers=OURS)
    assert "Sign out" not in page.text and not client.get_cookie("session")


def test_a_session_of_https_is_kept_so(app_with: Maker, tmp_path: Path) -> None:
    url = "https://dicom.example.org/pacs"
    client = app_with(auth=("basic",), auth_users_file=write_users(tmp_path), public_url=url).test_client()
    page = client.get("/console/login", headers=OURS, base_url="https://dicom.example.org")
    fields = {"csrf": token_of(page.text), "way": "basic", "name": "anna", "password": "geheim"}
    begun = client.post("/console/login", data=fields, headers=OURS, base_url="https://dicom.example.org")
    assert (begun.status_code, begun.location) == (303, "/pacs/console/")
    cookies = {one.partition("=")[0]: one for one in begun.headers.getlist("Set-Cookie")}
    assert {"__Host-session", "__Secure-browser"} <= cookies.keys()
    assert all("Secure" in one and "HttpOnly" in one and "SameSite=Lax" in one for one in cookies.values())
    assert "Path=/;" in cookies["__Host-session"] and "Domain" not in cookies["__Host-session"]
    assert "Path=/pacs/console;" in cookies["__Secure-browser"]
