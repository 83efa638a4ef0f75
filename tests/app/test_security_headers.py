"""Every answer, errors included, tells browsers not to guess, not to embed and not to tell where they came from."""

import pytest
from flask import Flask, Response

from app.security_headers import add_security_headers

HTTPS = "https://dicom.example.org"


def app_of(public_url: str | None) -> Flask:
    app = Flask(__name__)
    add_security_headers(app, public_url)

    @app.get("/page")
    def page() -> Response:
        return Response("<p>", headers={"Content-Security-Policy": "default-src 'self'"})

    @app.get("/document")
    def document() -> Response:
        return Response(b"%PDF", content_type="application/pdf")

    @app.get("/broken")
    def broken() -> Response:
        raise RuntimeError

    return app


@pytest.mark.parametrize("path", ["/page", "/none", "/broken"])
def test_every_answer_has_them(path: str) -> None:
    headers = app_of(None).test_client().get(path).headers
    assert headers["X-Content-Type-Options"] == "nosniff"
    assert headers["Referrer-Policy"] == "no-referrer"
    assert "Content-Security-Policy" in headers


@pytest.mark.parametrize(
    ("path", "policy"),
    [("/page", "default-src 'self'"), ("/none", "default-src 'none'; frame-ancestors 'none'")],
)
def test_a_page_may_have_a_policy_of_its_own(path: str, policy: str) -> None:
    assert app_of(None).test_client().get(path).headers.getlist("Content-Security-Policy") == [policy]


def test_the_viewer_of_a_document_may_work() -> None:
    assert "Content-Security-Policy" not in app_of(None).test_client().get("/document").headers


@pytest.mark.parametrize(("public_url", "there"), [(HTTPS, True), ("http://dicom.example.org", False), (None, False)])
def test_https_is_for_good_where_it_is_known(public_url: str | None, there: bool) -> None:
    assert ("Strict-Transport-Security" in app_of(public_url).test_client().get("/page").headers) == there
