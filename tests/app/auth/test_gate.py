"""Nothing is let through that nobody has asked after: every route of the application is closed to strangers."""

import json
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from flask import Flask
from werkzeug.test import TestResponse

from ahi.workers.pool import FetcherPool
from app.auth.bearer import new_token
from app.auth.links import Link, Links
from app.factory import create_app
from app.services import Services
from app.settings import Settings, SettingsError
from app.telemetry.logs import TextLines
from tests.app.auth.provider import AUDIENCE, Provider, provided
from tests.app.auth.users import ANNA, write_users
from tests.qido.archive import Series, Study, image, write
from tests.servers import OpenDatabase, Sqlite

OPEN = {"health", "live"}
WITHOUT_LOGIN = ("/console/static/", "/console/login", "/console/logout")
"""The way to a login. Think twice before a path is added here."""

A, B = "a" * 32, "b" * 32


def _series(uid: str, modality: str, institution: str, datastore: str) -> Series:
    columns = {"modality": modality, "institutionname": institution}
    return Series(uid, columns, (image(f"{uid}.1", 1, datastore=datastore),), (datastore,))


STUDIES = (
    Study("1.1", series=(_series("1.1.1", "CT", "North", A),)),
    Study("1.2", series=(_series("1.2.1", "MR", "South", B),)),
)
SECRET = "s" * 32


@pytest.fixture(scope="session")
def index(sqlite: Sqlite) -> str:
    url = sqlite.new_index()
    write(url, STUDIES)
    return url


Maker = Callable[..., Flask]


@pytest.fixture
def app_with(index: str, tmp_path: Path, open_database: OpenDatabase) -> Maker:
    """Makes applications with settings; `rules` are written to a file."""

    def make(rules: Any = None, **settings: Any) -> Flask:
        if rules is not None:
            (tmp_path / "rules").write_text(json.dumps(rules))
            settings["access_rules"] = tmp_path / "rules"
        return create_app(Services.of(Settings(cache_root=tmp_path, **settings), open_database(index), FetcherPool([])))

    return make


@pytest.fixture
def users(tmp_path: Path) -> Path:
    return write_users(tmp_path)


@pytest.fixture
def provider() -> Iterator[Provider]:
    with provided() as provider:
        yield provider


def oidc(provider: Provider) -> dict[str, Any]:
    return {"auth": ("oidc",), "oidc_issuer": provider.issuer, "oidc_audience": (AUDIENCE,)}


def by(token: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {token}"}


def seen(answer: TestResponse) -> list[str]:
    """The studies of an answer."""
    assert answer.status_code == 200, answer.text
    return sorted(study["0020000D"]["Value"][0] for study in answer.get_json(force=True))


def test_every_route_is_closed_to_strangers(app_with: Maker, users: Path) -> None:
    app = app_with(auth=("basic",), auth_users_file=users)
    closed = 0
    for rule in app.url_map.iter_rules():
        path = re.sub(r"<(path:)?\w+>", "1", rule.rule)
        if path == "/" or path.rpartition("/")[2] in OPEN or path.startswith(WITHOUT_LOGIN) or "/link/" in path:
            continue
        for method in (rule.methods or set()) - {"OPTIONS"}:
            answer = app.test_client().open(path, method=method)
            assert (answer.status_code, answer.headers.getlist("WWW-Authenticate")) == (
                401,
                ['Basic realm="DICOMweb", charset="UTF-8"'],
            ), (path, method)
            closed += 1
    assert closed > 50


def test_no_link_opens_anything_unless_it_was_made_here(app_with: Maker, users: Path) -> None:
    paths = [rule.rule for rule in app_with().url_map.iter_rules() if rule.rule.startswith("/link/")]
    assert len(paths) > 20
    tokens = ("1", Links("x" * 32).token(Link("1.1", 2**33)), Links(SECRET).token(Link("1.1", 1)))
    for settings in ({}, {"link_secret": SECRET}):
        app = app_with(auth=("basic",), auth_users_file=users, **settings)
        for path in paths:
            if path.rpartition("/")[2] in OPEN:
                continue
            for token in tokens:
                link = re.sub(r"<(path:)?\w+>", "1", path.replace("<link>", token))
                method = "POST" if link.endswith("/prefetch") else "GET"
                assert app.test_client().open(link, method=method).status_code == 404, link


@pytest.mark.parametrize("path", ["/aetitle/live", "/aetitle/nothing", "/nothing/studies"])
def test_what_tells_nothing_asks_nobody(app_with: Maker, users: Path, path: str) -> None:
    answer = app_with(auth=("basic",), auth_users_file=users).test_client().get(path)
    assert answer.status_code == (200 if path.endswith("live") else 404)


def test_a_preflight_needs_no_credentials_and_a_refusal_can_be_read(app_with: Maker, users: Path) -> None:
    """Browsers send none with a preflight, and a viewer asks for a token when it reads 401."""
    app = app_with(auth=("basic",), auth_users_file=users, cors_origins=("https://viewer.example.org",))
    origin = {"Origin": "https://viewer.example.org"}
    asked = {"Access-Control-Request-Method": "GET", "Access-Control-Request-Headers": "authorization,range,accept"}
    preflight = app.test_client().options("/aetitle/studies", headers={**origin, **asked})
    assert preflight.status_code == 204
    assert preflight.headers["Access-Control-Allow-Headers"] == "authorization,range,accept"
    refused = app.test_client().get("/aetitle/studies", headers=origin)
    assert (refused.status_code, refused.headers["Access-Control-Allow-Origin"]) == (401, origin["Origin"])


def test_all_who_are_known_see_everything_without_rules(app_with: Maker, users: Path) -> None:
    answer = app_with(auth=("basic",), auth_users_file=users).test_client().get("/aetitle/studies", headers=ANNA)
    assert seen(answer) == ["1.1", "1.2"]
    assert "Authorization" in answer.vary


@pytest.mark.parametrize("ways", [("basic", "oidc", "bearer"), ("bearer", "oidc", "basic")])
def test_any_of_several_ways_counts(
    app_with: Maker, users: Path, provider: Provider, tmp_path: Path, ways: tuple[str, ...]
) -> None:
    token, line = new_token("pacs")
    (tmp_path / "tokens").write_text(line)
    files = {"auth_users_file": users, "auth_tokens_file": tmp_path / "tokens"}
    client = app_with(**{**oidc(provider), "auth": ways}, **files).test_client()
    for headers in (ANNA, by(token), by(provider.token())):
        assert seen(client.get("/aetitle/studies", headers=headers)) == ["1.1", "1.2"]
    refused = client.get("/aetitle/studies", headers=by("x.y.z"))
    assert refused.status_code == 401
    assert {challenge.split()[0] for challenge in refused.headers.getlist("WWW-Authenticate")} == {"Basic", "Bearer"}


@pytest.mark.parametrize(("allowed", "status"), [(True, 200), (False, 401)])
def test_a_token_in_the_query_counts_if_it_is_allowed(
    app_with: Maker, provider: Provider, *, allowed: bool, status: int
) -> None:
    client = app_with(**oidc(provider), auth_query_token=allowed).test_client()
    answer = client.get(f"/aetitle/studies?access_token={provider.token()}")
    assert answer.status_code == status


RULES: list[tuple[Any, dict[str, Any], list[str] | int]] = [
    ([{}], {}, ["1.1", "1.2"]),
    ([], {}, 403),
    ([{"group": "r"}], {}, 403),
    ([{"group": "r"}], {"groups": ["q", "r"]}, ["1.1", "1.2"]),
    ([{"name": "u1", "datastores": [A]}], {}, ["1.1"]),
    ([{"name": "oidc:u1", "datastores": [A]}], {}, ["1.1"]),
    ([{"name": "oidc:basic:u1", "datastores": [A]}], {"sub": "basic:u1"}, ["1.1"]),
    ([{"name": "urn:u:1", "datastores": [A]}], {"sub": "urn:u:1"}, ["1.1"]),
    ([{"name": "admin"}], {"preferred_username": "admin", "email": "admin", "email_verified": True}, 403),
    ([{"claim": {"email": "a@b.org"}}], {"email": "a@b.org", "email_verified": True}, ["1.1", "1.2"]),
    ([{"claim": {"email": "a@b.org"}}], {"email": "a@b.org", "email_verified": False}, 403),
    ([{"claim": {"email": "a@b.org"}}], {"email": "a@b.org"}, 403),
    ([{"claim": {"site": "n"}, "filter": {"InstitutionName": "North"}}], {"site": "n"}, ["1.1"]),
    ([{"claim": {"site": "n"}, "filter": {"InstitutionName": "North"}}], {"site": ["m", "n"]}, ["1.1"]),
    ([{"claim": {"site": "n"}}], {"site": "m"}, 403),
    ([{"studies": ["1.2"]}], {}, ["1.2"]),
    ([{"studies": ["1.1"], "datastores": [B]}], {}, []),
    ([{"ae_titles": ["aetitle"]}], {}, ["1.1", "1.2"]),
    ([{"ae_titles": ["research"]}], {}, 403),
    ([{"group": "r", "datastores": [A]}, {"datastores": [B]}], {"groups": ["r"]}, ["1.1"]),
    ([{"group": "r", "datastores": [A]}, {"datastores": [B]}], {}, ["1.2"]),
]


@pytest.mark.parametrize(("rules", "claims", "expected"), RULES)
def test_the_first_rule_that_fits_says_what_is_seen(
    app_with: Maker, provider: Provider, rules: Any, claims: dict[str, Any], expected: list[str] | int
) -> None:
    client = app_with(rules, **oidc(provider)).test_client()
    answer = client.get("/aetitle/studies", headers=by(provider.token(**claims)))
    if isinstance(expected, int):
        assert answer.status_code == expected
        return
    assert seen(answer) == expected
    for uid in ("1.1", "1.2"):
        series = client.get(f"/aetitle/studies/{uid}/series", headers=by(provider.token(**claims)))
        assert series.status_code == (200 if uid in expected else 404)
    count = client.get("/aetitle/studies/count", headers=by(provider.token(**claims)))
    assert count.get_json() == {"count": len(expected)}


def test_the_same_name_by_another_way_is_somebody_else(
    app_with: Maker, users: Path, provider: Provider, tmp_path: Path
) -> None:
    token, line = new_token("anna")
    (tmp_path / "tokens").write_text(line)
    rules = [{"name": "basic:anna", "studies": ["1.1"]}, {"name": "oidc:anna", "studies": ["1.2"]}]
    ways = {**oidc(provider), "auth": ("basic", "oidc", "bearer"), "auth_users_file": users}
    client = app_with(rules, **ways, auth_tokens_file=tmp_path / "tokens").test_client()
    assert seen(client.get("/aetitle/studies", headers=ANNA)) == ["1.1"]
    assert seen(client.get("/aetitle/studies", headers=by(provider.token(sub="anna")))) == ["1.2"]
    assert client.get("/aetitle/studies", headers=by(token)).status_code == 403


def test_a_name_that_could_be_of_several_ways_stops_the_start(app_with: Maker, users: Path, provider: Provider) -> None:
    ways = {**oidc(provider), "auth": ("basic", "oidc"), "auth_users_file": users}
    with pytest.raises(SettingsError, match="rule 2: AUTH has several ways.* basic:NAME or oidc:NAME"):
        app_with([{"group": "r"}, {"name": "anna"}], **ways)
    with pytest.raises(SettingsError, match="rule 1: its name is of bearer, but AUTH has no bearer"):
        app_with([{"name": "bearer:anna"}], **ways)


def test_a_link_shows_one_study_without_an_account(app_with: Maker, users: Path) -> None:
    app = app_with(auth=("basic",), auth_users_file=users, link_secret=SECRET)
    root = f"/link/{Links(SECRET).token(Link('1.2', 2**33))}"
    answer = app.test_client().get(f"{root}/studies")
    assert seen(answer) == ["1.2"]
    assert answer.get_json(force=True)[0]["00081190"]["Value"] == [f"http://localhost{root}/studies/1.2"]
    assert app.test_client().get(f"{root}/studies/1.1/series").status_code == 404
    assert seen(app.test_client().get(f"{root}/studies?StudyInstanceUID=1.1")) == []


def test_the_log_has_neither_tokens_nor_links(
    app_with: Maker, provider: Provider, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO")
    client = app_with(**oidc(provider), auth_query_token=True, link_secret=SECRET).test_client()
    token, link = provider.token(), Links(SECRET).token(Link("1.2", 2**33))
    client.get(f"/aetitle/studies?access_token={token}").close()
    client.get("/aetitle/studies", headers=by(token + "x")).close()
    client.get(f"/link/{link}/studies").close()
    logged = caplog.text + "".join(map(TextLines().format, caplog.records))
    assert "path=/link/***/studies" in logged
    assert token[-20:] not in logged
    assert link not in logged


@pytest.mark.parametrize(
    ("settings", "problem"),
    [
        ({"auth": ("basic",)}, "AUTH_USERS_FILE"),
        ({"auth": ("basic",), "auth_users_file": Path("/nowhere")}, "AUTH_USERS_FILE /nowhere"),
        ({"auth": ("bearer",)}, "AUTH_TOKENS_FILE"),
        ({"auth": ("oidc",), "oidc_issuer": "https://idp"}, "OIDC_AUDIENCE"),
        ({"auth": ("alb",)}, "ALB_ARN"),
        ({"access_rules": Path("/nowhere")}, "ACCESS_RULES"),
        ({"auth": ("alb",), "alb_arn": "arn:aws:x:eu:1:l", "access_rules": Path("/nowhere")}, "ACCESS_RULES /nowhere"),
        ({"rules": [{}]}, "AUTH has no login"),
        ({"rules": {}}, "list of rules"),
        ({"rules": [{"grup": "x"}]}, "rule 1"),
        ({"rules": [{}, {"filter": {"Rows": "1"}}]}, "rule 2"),
        ({"rules": [{"datastores": ["x"]}]}, "rule 1"),
        ({"rules": [{"studies": ["*"]}]}, "rule 1"),
        ({"rules": [{"ae_titles": [1]}]}, "rule 1"),
        ({"rules": [{"ae_titles": 5}]}, "rule 1: ae_titles is a list"),
        ({"rules": [{"ae_titles": "research"}]}, "rule 1: ae_titles is a list"),
        ({"rules": [{"filter": 5, "studies": ["1.2"]}]}, "rule 1: claim and filter are objects"),
        ({"rules": [{"claim": ["x"]}]}, "rule 1: claim and filter are objects"),
    ],
)
def test_a_gate_that_cannot_be_built_stops_the_start(app_with: Maker, settings: Any, problem: str) -> None:
    with pytest.raises(SettingsError, match=problem):
        app_with(**settings)


def test_a_link_is_for_reading(app_with: Maker) -> None:
    link = Links(SECRET).token(Link("1.2", 2**33))
    answer = app_with(link_secret=SECRET).test_client().post(f"/link/{link}/prefetch", json={"studies": ["1.2"]})
    assert answer.status_code == 403


def test_only_what_may_be_seen_may_be_prefetched(app_with: Maker, provider: Provider) -> None:
    client = app_with([{"studies": ["1.2"]}], **oidc(provider)).test_client()
    refused = client.post("/aetitle/prefetch", json={"studies": ["1.1"]}, headers=by(provider.token()))
    assert refused.status_code == 404
    taken = client.post("/aetitle/prefetch", json={"studies": ["1.2"]}, headers=by(provider.token()))
    assert taken.status_code == 503  # there is no prefetch process here: it was asked


def test_health_asks_nobody_below_a_link_either(app_with: Maker) -> None:
    assert app_with().test_client().get("/link/x/live").status_code == 200
