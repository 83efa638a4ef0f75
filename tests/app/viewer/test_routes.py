"""The viewer over HTTP: files, the page for its own paths, the configuration of each caller, and links."""

import json
import re
import time
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest
from flask.testing import FlaskClient
from hypothesis import given
from hypothesis import strategies as st

from app.ae_titles import parse_ae_titles
from app.auth.links import Link, Links, link_id
from app.factory import create_app
from tests.app.auth.users import ANNA, write_users
from tests.app.viewer.viewer import FILES, PAGE, SCRIPT, make_viewer
from tests.bare_services import bare_services

SECRET = "s" * 32
STUDY = "1.2.3"
BUNDLE = "/viewer/app.bundle.0123456789abcdef.js"
BROWSER = {"Accept": "text/html,application/xhtml+xml,*/*;q=0.8"}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_viewer(tmp_path_factory.mktemp("viewer"))


def client_of(folder: Path | None, **settings: Any) -> FlaskClient:
    return create_app(bare_services(viewer_root=folder, **settings)).test_client()


@pytest.fixture(scope="module")
def client(folder: Path) -> FlaskClient:
    return client_of(folder)


def config_of(text: str) -> dict[str, Any]:
    found = re.match(r"window\.config = (\{.*?\});\n", text, re.DOTALL)
    assert found
    config: dict[str, Any] = json.loads(found[1])
    return config


def sources_of(text: str) -> dict[str, dict[str, Any]]:
    return {one["sourceName"]: one["configuration"] for one in config_of(text)["dataSources"]}


@pytest.mark.parametrize("path", ["/viewer", "/viewer/", "/viewer/index.html"])
def test_the_page_is_asked_for_again(client: FlaskClient, path: str) -> None:
    answer = client.get(path)
    assert (answer.status_code, answer.text, answer.mimetype) == (200, PAGE, "text/html")
    assert answer.headers["Cache-Control"] == "no-cache"
    assert answer.headers["Cross-Origin-Opener-Policy"] == "same-origin"
    assert client.get(path, headers={"If-None-Match": answer.headers["ETag"]}).status_code == 304


def test_the_page_runs_its_own_scripts_and_no_others(client: FlaskClient) -> None:
    policy = dict(part.split(" ", 1) for part in client.get("/viewer/").headers["Content-Security-Policy"].split("; "))
    assert policy["default-src"] == "'none'"
    assert policy["connect-src"] == "'self' blob: data:"
    assert re.fullmatch(r"'self' 'unsafe-eval' 'sha256-[A-Za-z0-9+/=]{44}'", policy["script-src"])
    assert "http" not in str(policy)


@pytest.mark.parametrize(("accept", "coding"), [("gzip, deflate, br, zstd", "zstd"), ("gzip", "gzip"), ("", None)])
def test_a_file_comes_in_a_coding_that_the_browser_reads(client: FlaskClient, accept: str, coding: str | None) -> None:
    answer = client.get(BUNDLE, headers={"Accept-Encoding": accept})
    assert answer.headers.get("Content-Encoding") == coding
    assert answer.headers["Cache-Control"] == "public, max-age=31536000, immutable"
    assert "Accept-Encoding" in answer.headers["Vary"]
    head = client.head(BUNDLE, headers={"Accept-Encoding": accept, "Range": "bytes=0-1"})
    assert (head.status_code, head.headers["ETag"]) == (200, answer.headers["ETag"])
    assert int(head.headers["Content-Length"]) == len(answer.data)
    assert (answer.data == SCRIPT) == (coding is None)
    known = client.get(BUNDLE, headers={"Accept-Encoding": accept, "If-None-Match": answer.headers["ETag"]})
    assert (known.status_code, known.data) == (304, b"")


def test_a_range_is_sent(client: FlaskClient) -> None:
    answer = client.get("/viewer/0123456789abcdef.wasm", headers={"Range": "bytes=1-3"})
    assert (answer.status_code, answer.data, answer.mimetype) == (206, b"asm", "application/wasm")
    assert answer.headers["Content-Range"] == "bytes 1-3/8"
    assert client.get("/viewer/app.css", headers={"Range": "bytes=99-"}).status_code == 416


def test_only_navigations_get_the_page(client: FlaskClient) -> None:
    path = "/viewer/viewer/aetitle"
    assert client.get(path, headers=BROWSER).text == PAGE
    assert client.get(path, headers={**BROWSER, "Sec-Fetch-Mode": "navigate"}).text == PAGE
    for headers in ({}, {"Accept": "*/*"}, {**BROWSER, "Sec-Fetch-Mode": "cors"}):
        assert client.get(path, headers=headers).status_code == 404


@given(st.text(max_size=40))
def test_no_path_gets_anything_else(client: FlaskClient, path: str) -> None:
    answer = client.get(f"/viewer/{quote(path)}")
    known = re.sub("/+", "/", path).strip("/") in {"", "ended", "app-config.js", *FILES}
    assert answer.status_code == (200 if known else 404)


def test_scripts_of_other_files_cannot_run(client: FlaskClient) -> None:
    for path in ("/viewer/assets/logo.svg", "/viewer/app.css"):
        assert client.get(path).headers["Content-Security-Policy"].endswith("sandbox")
        assert "Content-Disposition" not in client.get(path).headers


def test_without_a_viewer_it_is_said_what_to_do(tmp_path: Path) -> None:
    answer = client_of(tmp_path / "none").get("/viewer/", headers=BROWSER)
    assert answer.status_code == 404
    assert "script/viewer" in answer.get_json()["detail"]
    assert client_of(None).get("/viewer/").status_code == 404


def test_below_a_path_of_a_proxy_the_page_names_that_path(folder: Path) -> None:
    client = client_of(folder, public_url="https://dicom.example.org/pacs/")
    assert 'src="/pacs/viewer/app-config.js"' in client.get("/viewer/").text
    assert 'PUBLIC_URL="/pacs/viewer/"' in client.get("/viewer/").text
    config = client.get("/viewer/app-config.js").text
    assert config_of(config)["routerBasename"] == "/pacs/viewer"
    assert sources_of(config)["aetitle"]["qidoRoot"] == "/pacs/aetitle"
    assert client.get("/aetitle/viewer").location == "/pacs/viewer/?datasources=aetitle"


def test_the_configuration_has_every_root_and_no_upload_where_nothing_is_stored(folder: Path) -> None:
    text = '{"research": {"filter": {"Modality": "MR"}}}'
    answer = client_of(folder, ae_titles=parse_ae_titles(text), dcm4chee_paths=True).get("/viewer/app-config.js")
    assert answer.headers["Cache-Control"] == "no-store"
    sources = sources_of(answer.text)
    assert {name: one["wadoRoot"] for name, one in sources.items()} == {
        "aetitle": "/aetitle",
        "research": "/research",
    }
    assert not any(one["dicomUploadEnabled"] for one in sources.values())
    assert config_of(answer.text)["defaultDataSourceName"] == "aetitle"


def test_the_extension_that_the_configuration_names_is_kept_by_browsers(folder: Path) -> None:
    for settings in ({}, {"public_url": "https://dicom.example.org/pacs"}):
        client = client_of(folder, **settings)
        (path,) = config_of(client.get("/viewer/app-config.js").text)["extensions"]
        assert path.startswith("/pacs/viewer/" if settings else "/viewer/")
        answer = client.get(path.removeprefix("/pacs"))
        assert (answer.status_code, answer.mimetype) == (200, "text/javascript")
        assert answer.headers["Cache-Control"].endswith("immutable")
        assert "webGlContextCount: 1" in answer.text


def test_a_root_opens_the_viewer(client: FlaskClient) -> None:
    assert client.get("/aetitle/viewer").location == "/viewer/?datasources=aetitle"
    opened = client.get("/aetitle/viewer?StudyInstanceUIDs=1.2,1.3%26x%3D")
    assert (opened.status_code, opened.location) == (303, "/viewer/viewer/aetitle?StudyInstanceUIDs=1.2,1.3%26x%3D")


@pytest.fixture
def closed(folder: Path, tmp_path: Path) -> FlaskClient:
    """A service with passwords, rules and links. Anna may read below one of two AE titles."""
    rules = [{"name": "anna", "ae_titles": ["research"]}]
    (tmp_path / "rules").write_text(json.dumps(rules))
    return client_of(
        folder,
        auth=("basic",),
        auth_users_file=write_users(tmp_path),
        access_rules=tmp_path / "rules",
        ae_titles=parse_ae_titles('{"research": {}}'),
        link_secret=SECRET,
    )


def test_files_need_no_login_and_the_configuration_does(closed: FlaskClient) -> None:
    assert closed.get(BUNDLE).status_code == 200
    assert closed.get("/viewer/viewer/aetitle", headers=BROWSER).text == PAGE
    wrong = closed.get("/viewer/app-config.js", auth=("anna", "wrong"))
    assert (wrong.status_code, "aetitle" in wrong.text) == (401, False)


def test_without_a_login_the_page_goes_to_the_one_of_the_console(closed: FlaskClient) -> None:
    answer = closed.get("/viewer/app-config.js")
    assert (answer.status_code, answer.headers["Cache-Control"]) == (200, "no-store")
    assert 'window.location.replace("/console/login" + "?next="' in answer.text
    assert "aetitle" not in answer.text


@pytest.mark.parametrize("way", ["bearer", "alb"])
def test_where_nobody_can_sign_in_the_page_says_so(folder: Path, tmp_path: Path, way: str) -> None:
    (tmp_path / "tokens").write_text("")
    files: dict[str, Any] = {"auth_tokens_file": tmp_path / "tokens", "alb_arn": "arn:aws:x:eu-west-1:1:y"}
    answer = client_of(folder, auth=(way,), console=way == "alb", **files).get("/viewer/app-config.js")
    assert answer.status_code == 200
    assert 'window.location.replace("/viewer/ended" + "?next="' in answer.text


def test_without_a_console_the_browser_asks_for_the_password(folder: Path, tmp_path: Path) -> None:
    client = client_of(folder, auth=("basic",), auth_users_file=write_users(tmp_path), console=False)
    answer = client.get("/viewer/app-config.js")
    assert (answer.status_code, answer.headers["WWW-Authenticate"].split()[0]) == (401, "Basic")
    assert sources_of(client.get("/viewer/app-config.js", headers=ANNA).text).keys() == {"aetitle"}


def test_the_configuration_has_the_roots_that_the_caller_may_read(closed: FlaskClient) -> None:
    answer = closed.get("/viewer/app-config.js", headers=ANNA)
    assert sources_of(answer.text).keys() == {"research"}
    assert closed.get("/aetitle/viewer", headers=ANNA).status_code == 403
    assert closed.get("/research/viewer", headers=ANNA).location == "/viewer/?datasources=research"


def opened_link(closed: FlaskClient, seconds: int = 60) -> str:
    token = Links(SECRET).token(Link(STUDY, int(time.time()) + seconds))
    answer = closed.get(f"/link/{token}/viewer", headers=BROWSER)
    assert answer.status_code == 303
    assert answer.location == f"/viewer/viewer/{link_id(token)}?StudyInstanceUIDs={STUDY}"
    assert token not in answer.location
    cookie = answer.headers["Set-Cookie"]
    assert "HttpOnly" in cookie and "SameSite=Lax" in cookie and "Path=/" in cookie
    return token


def test_a_link_opens_its_study_without_a_token_in_any_url(closed: FlaskClient) -> None:
    token = opened_link(closed)
    text = closed.get("/viewer/app-config.js").text
    assert token not in text
    sources = sources_of(text)
    assert sources.keys() == {link_id(token)}
    assert sources[link_id(token)]["qidoRoot"] == f"/link/{link_id(token)}"
    assert closed.get(f"/link/{link_id(token)}/").status_code == 200
    assert closed.post(f"/link/{link_id(token)}/prefetch").status_code == 403


def test_several_links_are_open_at_once_and_beside_a_login(closed: FlaskClient) -> None:
    tokens = [opened_link(closed, seconds) for seconds in (60, 70)]
    answer = closed.get("/viewer/app-config.js", headers=ANNA)
    assert sources_of(answer.text).keys() == {"research", *map(link_id, tokens)}


def test_a_link_needs_the_cookie_of_its_browser(closed: FlaskClient) -> None:
    token = Links(SECRET).token(Link(STUDY, int(time.time()) + 60))
    other = Links(SECRET).token(Link("1.9", int(time.time()) + 60))
    path = f"/link/{link_id(token)}/"
    assert closed.get(path).status_code == 401
    for forged in (other, "x", ""):
        closed.set_cookie(f"link-{link_id(token)}", forged)
        assert closed.get(path).status_code == 401
    ended = Links(SECRET).token(Link(STUDY, int(time.time()) - 1))
    closed.set_cookie(f"link-{link_id(ended)}", ended)
    assert closed.get(f"/link/{link_id(ended)}/").status_code == 401


def test_the_cookie_is_for_https_alone_where_the_browser_came_by_it(closed: FlaskClient) -> None:
    token = Links(SECRET).token(Link(STUDY, int(time.time()) + 60))
    answer = closed.get(f"/link/{token}/viewer", base_url="https://dicom.example.org")
    assert answer.headers["Set-Cookie"].startswith(f"__Host-link-{link_id(token)}=")
    assert "Secure" in answer.headers["Set-Cookie"]
    assert closed.get(f"/link/{link_id(token)}/", base_url="https://dicom.example.org").status_code == 200


def test_who_has_lost_everything_sees_a_page(closed: FlaskClient) -> None:
    answer = closed.get("/viewer/ended?next=/viewer/")
    assert (answer.status_code, "access has ended" in answer.text) == (200, True)
