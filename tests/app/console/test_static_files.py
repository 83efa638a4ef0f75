"""Style and scripts are read once, kept forever by browsers, and have no words of code in pages."""

import re
from pathlib import Path

import pytest
from flask.testing import FlaskClient

from app.console.console import Console
from app.console.static_files import FOREVER, StaticFiles
from app.factory import create_app
from tests.bare_services import bare_services

TEMPLATES = sorted((Path(__file__).parents[3] / "app" / "console" / "templates").rglob("*.html"))


@pytest.fixture
def client(tmp_path: Path) -> FlaskClient:
    return create_app(bare_services(cache_root=tmp_path)).test_client()


def paths(client: FlaskClient) -> dict[str, str]:
    """The path of each file."""
    console: Console = client.application.extensions[Console.NAME]
    with client.application.test_request_context():
        return {name: console.static_path(name) for name in console.static.files}


def test_every_file_is_sent_with_its_type_for_ever(client: FlaskClient) -> None:
    kinds = {".css": "text/css", ".js": "text/javascript", ".svg": "image/svg+xml", ".txt": "text/plain"}
    for name, path in paths(client).items():
        answer = client.get(path)
        assert (answer.status_code, answer.mimetype) == (200, kinds[Path(name).suffix])
        assert answer.data == StaticFiles.of_folder().files[name]
        assert answer.headers["Cache-Control"] == FOREVER
        assert "Content-Disposition" not in answer.headers
        assert "sandbox" not in answer.headers["Content-Security-Policy"]


def test_they_are_compressed_for_those_who_can_read_it(client: FlaskClient) -> None:
    path = paths(client)["htmx.min.js"]
    sent = client.get(path, headers={"Accept-Encoding": "gzip"})
    assert sent.headers["Content-Encoding"] == "gzip"
    assert len(sent.data) < len(client.get(path).data) / 2
    assert "Accept-Encoding" in str(sent.vary)


def test_a_file_that_changes_has_another_path(tmp_path: Path) -> None:
    (tmp_path / "a.js").write_text("1")
    before = StaticFiles.of_folder(tmp_path)
    (tmp_path / "a.js").write_text("2")
    assert StaticFiles.of_folder(tmp_path).path("a.js") != before.path("a.js")
    with pytest.raises(KeyError):
        before.path("b.js")


@pytest.mark.parametrize("name", ["none.css", "..%2Fconsole.py", "../console.py", "%2e%2e/console.py", "texts.py"])
def test_nothing_else_is_sent(client: FlaskClient, name: str) -> None:
    folder = paths(client)["console.css"].rpartition("/")[0]
    assert client.get(f"{folder}/{name}").status_code == 404
    assert client.get(f"/console/static/0/{name}").status_code == 404


@pytest.mark.parametrize("template", TEMPLATES, ids=lambda path: path.name)
def test_no_page_has_script_or_style_in_it(template: Path) -> None:
    text = template.read_text()
    assert not re.search(r"<style|\sstyle=|\son\w+=|javascript:|\|\s*safe\b|hx-on|hx-vars|\bjs:", text)
    assert all("src=" in tag for tag in re.findall(r"<script[^>]*>", text))
    assert "Markup" not in text


def test_the_scripts_put_no_text_into_pages_as_markup() -> None:
    for name, content in StaticFiles.of_folder().files.items():
        if name.endswith(".js") and not name.startswith("htmx"):
            assert not re.search(
                rb"innerHTML|outerHTML|insertAdjacentHTML|document\.write|\beval\b|new Function", content
            ), name
