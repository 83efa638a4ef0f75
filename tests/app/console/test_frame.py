"""Refusals in the console are pages for browsers and problem documents for scripts; `/` leads browsers there."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from flask import Blueprint, Flask, g

from app import console_parts
from app.console import routes
from app.console.console import Console
from app.console.routes import PARTS, Part
from app.factory import create_app
from app.middleware.rate_limiter import RateLimiter
from app.settings import Settings, SettingsError
from dicomweb.errors import Conflict, Forbidden, NotFound, ProxyError, UpstreamBusy
from tests.app.auth.users import ANNA, write_users
from tests.bare_services import bare_services

BROWSER = {"Accept": "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8"}
ERRORS: dict[str, ProxyError | Exception] = {
    "busy": UpstreamBusy("the metadata index does not answer", 7),
    "forbidden": Forbidden("<b>not yours</b>"),
    "gone": NotFound("no such study"),
    "changed": Conflict("something else has changed it"),
    "broken": ZeroDivisionError("secret"),
}
Maker = Callable[..., Flask]


@pytest.fixture
def app_with(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Maker:
    """Makes applications whose console has a part more, which shows a page, fails, or takes a form."""

    def part(console: Console) -> Blueprint:
        bp = Blueprint("console-tried", __name__)

        @bp.get("/tried/<kind>")
        def fail(kind: str) -> Any:
            if kind in ERRORS:
                raise ERRORS[kind]
            return console.page("error.html", title=g.root.ae_title, advice="", detail="", status=200, phrase="",
                                retry_seconds=None)  # fmt: skip

        return bp

    def make(limiter: RateLimiter | None = None, **settings: Any) -> Flask:
        monkeypatch.setattr(routes, "PARTS", (*PARTS, Part(part, "navigation_jobs", "/tried/page")))
        return create_app(replace(bare_services(cache_root=tmp_path, **settings), rate_limiter=limiter))

    return make


def test_browsers_are_sent_to_the_console_and_programs_are_not(app_with: Maker) -> None:
    client = app_with().test_client()
    sent = client.get("/", headers=BROWSER)
    assert (sent.status_code, sent.headers["Location"]) == (303, "console/")
    for headers in ({}, {"Accept": "*/*"}):
        assert client.get("/", headers=headers).text == "OK"


def test_without_the_console_all_is_as_it_was(app_with: Maker) -> None:
    app = app_with(console=False)
    sent = app.test_client().get("/", headers=BROWSER)
    assert (sent.status_code, sent.headers["Location"]) == (303, "aetitle")
    assert not [rule for rule in app.url_map.iter_rules() if rule.rule.startswith("/console")]
    assert app.test_client().get("/console", headers=BROWSER).content_type == "application/problem+json"


@pytest.mark.parametrize(
    ("kind", "status", "words"),
    [
        ("busy", 503, ["The service cannot answer now", "7 seconds", "the metadata index does not answer"]),
        ("forbidden", 403, ["You have no right to this", "&lt;b&gt;not yours&lt;/b&gt;"]),
        ("gone", 404, ["There is no such page"]),
        ("changed", 409, ["Something else has changed this"]),
        ("broken", 500, ["Something went wrong here"]),
    ],
)
def test_a_refusal_is_a_page_with_words(app_with: Maker, kind: str, status: int, words: list[str]) -> None:
    answer = app_with().test_client().get(f"/console/tried/{kind}", headers=BROWSER)
    assert (answer.status_code, answer.mimetype) == (status, "text/html")
    assert [word for word in words if word not in answer.text] == []
    assert "secret" not in answer.text
    assert answer.headers.get("Retry-After") == ("7" if kind == "busy" else None)


def test_a_path_that_is_not_there_is_a_page(app_with: Maker) -> None:
    answer = app_with().test_client().get("/console/nothing/there", headers=BROWSER)
    assert (answer.status_code, answer.mimetype) == (404, "text/html")
    wrong_method = app_with().test_client().put("/console/tried/page", headers=BROWSER)
    assert (wrong_method.status_code, wrong_method.mimetype) == (405, "text/html")
    assert "GET" in wrong_method.headers["Allow"]


@pytest.mark.parametrize("headers", [{}, {"Accept": "*/*"}, {"Accept": "application/json"}])
def test_scripts_get_the_problem_itself(app_with: Maker, headers: dict[str, str]) -> None:
    answer = app_with().test_client().get("/console/tried/busy", headers=headers)
    assert (answer.status_code, answer.content_type) == (503, "application/problem+json")


@pytest.mark.parametrize("path", ["/console/tried/page", "/console/tried/busy", "/console/nothing"])
def test_every_answer_has_the_policy_of_pages(app_with: Maker, path: str) -> None:
    answer = (
        app_with(cors_origins=("*",)).test_client().get(path, headers={**BROWSER, "Origin": "https://other.example"})
    )
    policy = answer.headers["Content-Security-Policy"]
    assert "default-src 'none'" in policy and "frame-ancestors 'none'" in policy and "unsafe" not in policy
    assert answer.headers["Cache-Control"] == "no-store"
    assert answer.headers["X-Content-Type-Options"] == "nosniff"
    assert "Access-Control-Allow-Origin" not in answer.headers
    assert "Content-Disposition" not in answer.headers


def test_the_navigation_has_what_the_caller_may_open(app_with: Maker, tmp_path: Path) -> None:
    page = app_with().test_client().get("/console/tried/page", headers=BROWSER)
    assert '<a href="/console/tried/page" aria-current="page">Jobs</a>' in page.text
    app = app_with(auth=("basic",), auth_users_file=write_users(tmp_path))
    assert "Jobs" in app.test_client().get("/console/tried/page", headers={**BROWSER, **ANNA}).text
    assert "Jobs" not in app.test_client().get("/console/tried/none", headers=BROWSER).text


def test_paths_are_those_that_the_client_reaches(app_with: Maker) -> None:
    trusted = Settings.from_env({"TRUSTED_PROXY": "127.0.0.1"}).trusted_proxy
    behind = {**BROWSER, "X-Forwarded-Prefix": "/dicom", "X-Forwarded-For": "192.0.2.1"}
    for page in (
        app_with(trusted_proxy=trusted).test_client().get("/console/tried/page", headers=behind),
        app_with(public_url="https://x.example/dicom/").test_client().get("/console/tried/page", headers=BROWSER),
    ):
        assert 'href="/dicom/console/static/' in page.text
        assert 'href="/console' not in page.text


def test_the_console_is_behind_the_gate(app_with: Maker, tmp_path: Path) -> None:
    client = app_with(auth=("basic",), auth_users_file=write_users(tmp_path)).test_client()
    assert client.get("/console/tried/page").status_code == 401
    assert client.get("/console/tried/page", headers=ANNA).status_code == 200


def test_a_page_has_a_root_that_the_caller_may_use(app_with: Maker, tmp_path: Path) -> None:
    (tmp_path / "rules").write_text('[{"name": "anna", "ae_titles": ["research"]}]')
    titles = Settings.from_env({"AE_TITLES": '{"research": {}, "teaching": {}}'}).ae_titles
    client = app_with(
        auth=("basic",), auth_users_file=write_users(tmp_path), ae_titles=titles, access_rules=tmp_path / "rules"
    ).test_client()
    assert '<h1 id="error">research</h1>' in client.get("/console/tried/page", headers=ANNA).text
    for name, status in (("research", 200), ("teaching", 403), ("aetitle", 403), ("none", 404)):
        assert client.get(f"/console/tried/page?root={name}", headers=ANNA).status_code == status


def test_the_rate_limit_holds_for_the_console(app_with: Maker) -> None:
    client = app_with(limiter=RateLimiter(0.001, 2)).test_client()
    answers = [client.get("/console/tried/page", headers=BROWSER) for _ in range(3)]
    assert [answer.status_code for answer in answers] == [200, 200, 429]
    assert "Too many requests" in answers[-1].text


@pytest.mark.parametrize("name", ["console", "viewer", "link", "dcm4chee-arc"])
def test_names_of_our_own_paths_are_no_ae_titles(name: str) -> None:
    with pytest.raises(SettingsError, match="reserved"):
        Settings.from_env({"AE_TITLES": f'{{"{name}": {{}}}}'})


def test_parts_are_named_once() -> None:
    names = [value for name, value in vars(console_parts).items() if name.isupper() and isinstance(value, str)]
    assert len(names) == len(set(names))
