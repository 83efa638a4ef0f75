"""What the service says of itself is what it does: every route, its methods, its parameters."""

import base64
import hashlib
import re
from pathlib import Path
from xml.etree import ElementTree

import pytest
from flask import Flask
from flask.testing import FlaskClient

from ahi.workers.pool import FetcherPool
from app.ae_titles import DEFAULT, parse_ae_titles
from app.factory import create_app
from app.services import Services
from app.settings import Settings
from dicomweb.capabilities import Capability
from dicomweb.capabilities_page import encode_html
from tests.servers import OpenDatabase

PREFIX = f"/{DEFAULT}"
WADL = "{http://wadl.dev.java.net/2009/02}"
PREFLIGHT = {"Origin": "https://viewer.example", "Access-Control-Request-Method": "GET"}


@pytest.fixture
def app(tmp_path: Path, open_database: OpenDatabase) -> Flask:
    settings = Settings(cache_root=tmp_path, cors_origins=("https://viewer.example",))
    return create_app(Services.of(settings, open_database("sqlite://"), FetcherPool([])))


@pytest.fixture
def client(app: Flask) -> FlaskClient:
    return app.test_client()


def _paths(app: Flask) -> list[str]:
    paths = {rule.rule.removeprefix(PREFIX) for rule in app.url_map.iter_rules() if rule.rule.startswith(PREFIX)}
    return sorted(re.sub(r"<(?:\w+:)?(\w+)>", r"{\1}", path) for path in paths)


@pytest.mark.parametrize("path", [PREFIX, f"{PREFIX}/"])
def test_the_root_describes_every_route(app: Flask, client: FlaskClient, path: str) -> None:
    answer = client.options(path)
    assert (answer.status_code, answer.content_type) == (200, "application/vnd.sun.wadl+xml")
    (resources,) = ElementTree.fromstring(answer.text)  # noqa: S314 - our own
    assert resources.attrib["base"] == "http://localhost/aetitle/"
    assert sorted("/" + one.attrib["path"] for one in resources) == _paths(app)
    for resource in resources:
        methods = {method.attrib["name"] for method in resource.iter(f"{WADL}method")}
        assert methods - {"POST"} == {"GET", "HEAD", "OPTIONS"}
        variables = {one.attrib["name"] for one in resource.iter(f"{WADL}param") if one.attrib["style"] == "template"}
        assert variables == set(re.findall(r"{(\w+)}", resource.attrib["path"]))


def test_the_same_is_told_as_json_and_nothing_is_left_out(app: Flask, client: FlaskClient) -> None:
    for answer in (
        client.options(f"{PREFIX}/", headers={"Accept": "application/json"}),
        client.get(f"{PREFIX}/?accept=application/json", headers={"Accept": "*/*"}),
    ):
        described = {one["path"]: one for one in answer.get_json()["resources"]}
        assert sorted(described) == _paths(app)
        assert all(one["mediaTypes"] for one in described.values())
        search = described["/studies/{study}/series"]
        assert {"Modality", "PatientID", "limit", "fuzzymatching"} <= set(search["parameters"])
        assert "SOPClassUID" not in search["parameters"]
        assert "text/csv" in search["mediaTypes"]
        assert "image/jls" in described["/studies/{study}/pixeldata"]["mediaTypes"]


BROWSERS = [
    "text/html,application/xhtml+xml,application/xml;q=0.9,image/avif,image/webp,image/png,*/*;q=0.8",  # Firefox
    "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8",  # Safari
]


@pytest.mark.parametrize("path", [PREFIX, f"{PREFIX}/"])
@pytest.mark.parametrize("accept", BROWSERS)
def test_a_browser_gets_a_page_that_names_every_route(app: Flask, client: FlaskClient, path: str, accept: str) -> None:
    answer = client.get(path, headers={"Accept": accept})
    assert (answer.status_code, answer.content_type) == (200, "text/html; charset=utf-8")
    assert "Content-Disposition" not in answer.headers
    assert "Accept" in answer.headers["Vary"]
    assert sorted(re.findall(r"<tr><td><code>([^<]*)</code>", answer.text)) == _paths(app)
    assert '<a href="http://localhost/aetitle/studies?limit=5">' in answer.text


def test_a_browser_loads_nothing_with_the_page(client: FlaskClient) -> None:
    answer = client.get(PREFIX, headers={"Accept": BROWSERS[0]})
    (policy,) = answer.headers.getlist("Content-Security-Policy")
    (style,) = re.findall("<style>(.*?)</style>", answer.text, re.DOTALL)
    digest = base64.b64encode(hashlib.sha256(style.encode()).digest()).decode()
    assert policy == f"default-src 'none'; style-src 'sha256-{digest}'; frame-ancestors 'none'"
    assert not re.search(r"<script|<img|<link|\son\w+=|javascript:", answer.text)


def test_the_page_is_well_formed_and_escapes_the_address() -> None:
    capability = Capability("/a<b>", (), ("GET", "HEAD"), ("x&y",), (), ('multipart/related; type="a/b"', "c/d"))
    page = encode_html('https://host/"><script>', [capability]).decode()
    assert "<script" not in page and "a&lt;b&gt;" in page and "x&amp;y" in page
    body = page[page.index("<body>") : page.index("</html>")]
    ElementTree.fromstring(body)  # noqa: S314 - our own


def test_programs_that_take_anything_get_wadl_as_before(client: FlaskClient) -> None:
    assert client.get(PREFIX, headers={"Accept": "*/*"}).content_type == "application/vnd.sun.wadl+xml"


def test_a_resource_describes_itself_and_what_is_below(client: FlaskClient) -> None:
    answer = client.options(f"{PREFIX}/studies/1.2/series/1.3/metadata", headers={"Accept": "application/json"})
    assert [one["path"] for one in answer.get_json()["resources"]] == ["/studies/{study}/series/{series}/metadata"]
    below = client.options(f"{PREFIX}/patients", headers={"Accept": "application/json"}).get_json()["resources"]
    assert [one["path"] for one in below] == ["/patients", "/patients/count"]
    assert {word.strip() for word in answer.headers["Allow"].split(",")} == {"GET", "HEAD", "OPTIONS"}


def test_who_asks_for_the_methods_alone_is_not_refused(client: FlaskClient) -> None:
    assert client.options(f"{PREFIX}/studies", headers={"Accept": "text/html"}).status_code == 200


def test_a_preflight_stays_one(client: FlaskClient) -> None:
    for path in (f"{PREFIX}/", f"{PREFIX}/studies", f"{PREFIX}/wado"):
        answer = client.options(path, headers=PREFLIGHT)
        assert (answer.status_code, answer.data) == (204, b"")
        assert answer.headers["Access-Control-Allow-Origin"] == "https://viewer.example"


def test_what_is_not_there_has_no_capabilities(client: FlaskClient) -> None:
    assert client.options(f"{PREFIX}/nothing").status_code == 404


def test_each_service_root_describes_itself(tmp_path: Path, open_database: OpenDatabase) -> None:
    settings = Settings(cache_root=tmp_path, ae_titles=parse_ae_titles('{"research": {}}'))
    client = create_app(Services.of(settings, open_database("sqlite://"), FetcherPool([]))).test_client()
    described = client.options("/research/", headers={"Accept": "application/json"}).get_json()
    own = client.options(PREFIX, headers={"Accept": "application/json"}).get_json()
    assert described["base"] == "http://localhost/research"
    assert described["resources"] == own["resources"]
    below = client.options("/research/patients", headers={"Accept": "application/json"}).get_json()["resources"]
    assert [one["path"] for one in below] == ["/patients", "/patients/count"]
