"""Every answer, errors included, tells browsers not to guess, not to embed and not to tell where they came from."""

import pytest
from flask import Flask, Response, request
from hypothesis import example, given
from hypothesis import strategies as st

from app.middleware.security_headers import install_security_headers
from tests.bare_services import bare_services

HTTPS = "https://dicom.example.org"


def app_of(public_url: str | None) -> Flask:
    app = Flask(__name__)
    install_security_headers(app, bare_services(public_url=public_url))

    @app.get("/page")
    def page() -> Response:
        return Response("<p>", headers={"Content-Security-Policy": "default-src 'self'"})

    @app.get("/document")
    def document() -> Response:
        return Response(b"%PDF", content_type="application/pdf")

    @app.get("/stored")
    def stored() -> Response:
        return Response(b"<script>", content_type=request.args["type"], status=int(request.args.get("status", "200")))

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
    headers = app_of(None).test_client().get(path).headers
    assert headers.getlist("Content-Security-Policy") == [policy]
    assert "Content-Disposition" not in headers


@given(
    media_type=st.from_regex(r"[a-z]{1,9}/[a-z0-9.+-]{1,9}(\+xml)?", fullmatch=True), status=st.sampled_from([200, 206])
)
@example(media_type="text/html", status=206)
@example(media_type="image/svg+xml", status=200)
@example(media_type="application/pdf+xml", status=200)
def test_what_nobody_knows_to_be_inert_is_for_saving(media_type: str, status: int) -> None:
    headers = app_of(None).test_client().get("/stored", query_string={"type": media_type, "status": status}).headers
    if media_type.startswith(("image/", "video/", "audio/", "model/")) and not media_type.endswith("+xml"):
        return
    assert headers["Content-Disposition"] == "attachment"
    assert headers.getlist("Content-Security-Policy") == ["default-src 'none'; frame-ancestors 'none'; sandbox"]


@pytest.mark.parametrize(
    "media_type",
    ["application/dicom", "application/dicom+json", "application/json", "image/jpeg", "image/jphc", "video/mp4",
     "multipart/related; type=x", "text/plain; charset=utf-8", "application/zip"],
)  # fmt: skip
def test_what_is_inert_is_shown(media_type: str) -> None:
    headers = app_of(None).test_client().get("/stored", query_string={"type": media_type}).headers
    assert "Content-Disposition" not in headers
    assert headers["Content-Security-Policy"] == "default-src 'none'; frame-ancestors 'none'"


def test_metadata_as_xml_is_shown_in_a_sandbox() -> None:
    headers = app_of(None).test_client().get("/stored?type=application/dicom%2Bxml").headers
    assert "Content-Disposition" not in headers
    assert headers["Content-Security-Policy"].endswith("; sandbox")


def test_what_the_client_has_keeps_its_policy() -> None:
    headers = app_of(None).test_client().get("/stored?type=text/html&status=304").headers
    assert "Content-Security-Policy" not in headers
    assert "Content-Disposition" not in headers


def test_the_viewer_of_a_document_may_work() -> None:
    assert "Content-Security-Policy" not in app_of(None).test_client().get("/document").headers


@pytest.mark.parametrize(("public_url", "there"), [(HTTPS, True), ("http://dicom.example.org", False), (None, False)])
def test_https_is_for_good_where_it_is_known(public_url: str | None, there: bool) -> None:
    assert ("Strict-Transport-Security" in app_of(public_url).test_client().get("/page").headers) == there
