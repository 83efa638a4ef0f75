"""A session of an issuer lasts as long as the issuer vouches for its user, and is renewed while pages are opened."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
from flask.testing import FlaskClient
from werkzeug.test import TestResponse

from ahi.workers.pool import FetcherPool
from app.console.issuer import RENEWED_SECONDS
from app.factory import create_app
from app.services import Services
from app.settings import Settings
from tests.app.auth.browser import PAGE, token_of
from tests.app.auth.provider import AUDIENCE, Provider, provided
from tests.servers import OpenDatabase, Sqlite

OPENED = {"Accept": PAGE, "Sec-Fetch-Site": "same-origin", "Sec-Fetch-Mode": "navigate", "Sec-Fetch-Dest": "document"}
FETCHED = {"Sec-Fetch-Site": "same-origin", "Sec-Fetch-Mode": "cors", "Sec-Fetch-Dest": "empty"}


class Visitor:
    """A browser at the service, and the clock of the service."""

    def __init__(self, client: FlaskClient, services: Services, provider: Provider) -> None:
        self.client = client
        self.provider = provider
        self.now = 1_800_000_000.0
        assert services.gate.sessions
        services.gate.sessions._clock = lambda: self.now

    def open(self, path: str, headers: dict[str, str] = OPENED) -> TestResponse:
        return self.client.get(path, headers=headers)

    def sign_in(self) -> TestResponse:
        there = urlsplit(self.open("/console/login/issuer?next=/console").location or "")
        back = urlsplit(self.provider.authorize(there.query))
        return self.open(f"{back.path}?{back.query}", {**OPENED, "Sec-Fetch-Site": "cross-site"})

    def asked_for_tokens(self) -> int:
        return self.provider.asked.count("/token")


@pytest.fixture
def provider() -> Iterator[Provider]:
    with provided() as provider:
        provider.user = {"sub": "u1", "groups": ["radiology"]}
        yield provider


@pytest.fixture
def visitor(provider: Provider, tmp_path: Path, sqlite: Sqlite, open_database: OpenDatabase) -> Visitor:
    (tmp_path / "rules").write_text(json.dumps([{"group": "radiology"}]))
    settings: dict[str, Any] = {
        "auth": ("oidc",),
        "oidc_issuer": provider.issuer,
        "oidc_audience": (AUDIENCE,),
        "oidc_client_id": provider.client[0],
        "oidc_client_secret": provider.client[1],
        "access_rules": tmp_path / "rules",
    }
    services = Services.of(
        Settings(cache_root=tmp_path, **settings), open_database(sqlite.new_index()), FetcherPool([])
    )
    return Visitor(create_app(services).test_client(), services, provider)


def test_a_page_has_the_issuer_vouch_again_now_and_then(visitor: Visitor) -> None:
    assert visitor.sign_in().location == "/console"
    visitor.now += RENEWED_SECONDS - 1
    assert visitor.open("/console").status_code == 200
    visitor.now += 2
    sent = visitor.open("/console?x=1")
    assert sent.location == "/console/login/renew?next=%2Fconsole%3Fx%3D1"
    assert visitor.open(sent.location).location == "/console?x=1"
    assert (visitor.open("/console?x=1").status_code, visitor.asked_for_tokens()) == (200, 2)
    assert list(visitor.provider.refresh_tokens.values()) == [False, True]


def test_the_rights_are_then_those_of_now(visitor: Visitor) -> None:
    visitor.sign_in()
    visitor.provider.user = {"sub": "u1", "groups": ["cleaning"]}
    visitor.now += RENEWED_SECONDS + 1
    visitor.open("/console/login/renew?next=/console")
    assert visitor.open("/console").status_code == 403
    assert visitor.open("/aetitle/studies", FETCHED).status_code == 403


@pytest.mark.parametrize("by", ["a page", "a script"])
def test_who_is_no_longer_vouched_for_has_no_session(visitor: Visitor, by: str) -> None:
    visitor.sign_in()
    visitor.provider.refuses = True
    visitor.now += RENEWED_SECONDS + 1
    stolen = visitor.client.get_cookie("session")
    assert stolen
    if by == "a page":
        assert (visitor.open(visitor.open("/console").location or "").location or "").startswith("/console/login?")
    else:
        assert visitor.open("/console/login/renew", FETCHED).status_code == 401
    visitor.client.set_cookie("session", stolen.value)
    assert visitor.open("/aetitle/studies", FETCHED).status_code == 401


def test_while_the_issuer_is_away_a_session_goes_on_for_an_hour(visitor: Visitor) -> None:
    visitor.sign_in()
    visitor.provider.broken = True
    visitor.now += RENEWED_SECONDS + 1
    assert visitor.open(visitor.open("/console").location or "").location == "/console"
    assert visitor.open("/console").status_code == 200  # it is left alone for a while
    for _ in range(9):
        visitor.now += 299
        visitor.open("/aetitle/studies", FETCHED)
    assert visitor.open("/aetitle/studies", FETCHED).status_code == 200
    visitor.now += 310
    assert visitor.open("/aetitle/studies", FETCHED).status_code == 401


def test_two_pages_at_once_ask_once(visitor: Visitor) -> None:
    """A token that refreshes is for one use; who shows it again loses the login at some issuers."""
    visitor.sign_in()
    visitor.now += RENEWED_SECONDS + 1
    before = {name: visitor.client.get_cookie(name, path=path) for name, path in COOKIES}
    visitor.open("/console/login/renew?next=/console")
    for name, path in COOKIES:  # the other page was sent with what the browser had before
        cookie = before[name]
        assert cookie
        visitor.client.set_cookie(name, cookie.value, path=path)
    assert visitor.open("/console/login/renew?next=/console").location == "/console"
    assert visitor.asked_for_tokens() == 2
    assert visitor.open("/console").status_code == 200


COOKIES = (("session", "/"), ("issued", "/console"))


def test_who_has_no_session_has_nothing_to_renew(visitor: Visitor) -> None:
    """A page behind a load balancer that logs in asks as well, and must not be sent to a login."""
    assert visitor.open("/console/login/renew", FETCHED).status_code == 204
    visitor.client.set_cookie("session", "x")
    assert visitor.open("/console/login/renew", FETCHED).status_code == 401


def test_tokens_of_another_session_renew_nothing(visitor: Visitor) -> None:
    visitor.sign_in()
    first = visitor.client.get_cookie("issued", path="/console")
    assert first
    visitor.sign_in()
    visitor.client.set_cookie("issued", first.value, path="/console")
    visitor.now += RENEWED_SECONDS + 1
    assert visitor.open("/console/login/renew?next=/console").location == "/console"
    assert visitor.asked_for_tokens() == 2


def test_who_comes_back_without_having_left_is_not_signed_in(visitor: Visitor) -> None:
    there = urlsplit(visitor.open("/console/login/issuer?next=/console").location or "")
    back = urlsplit(visitor.provider.authorize(there.query))
    other = visitor.client.application.test_client()
    assert other.get(f"{back.path}?{back.query}", headers=OPENED).status_code == 401
    assert other.get_cookie("session") is None


def test_the_page_of_a_refusal_leads_on(visitor: Visitor) -> None:
    page = visitor.open("/console/login/return?state=x&code=y")
    assert (page.status_code, token_of(page.text)) == (401, "")
    assert "/console/login/issuer" in page.text
