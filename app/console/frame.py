"""The frame of all pages: refusals become pages, and answers have headers of pages. Runs in the web processes."""

from http import HTTPStatus

from flask import Flask, Response, request

from app.console.console import Console
from app.console.issuer import IssuerPages
from app.console.sign_in import SignIn
from app.console_parts import LOGIN, STATIC, is_console
from app.middleware.security_headers import POLICY
from app.service_roots import blueprint_name
from app.services import Services
from dicomweb.media_types import HTML

_PROBLEM = "application/problem+json"
_POLICY = "; ".join(
    (
        "default-src 'none'",
        "script-src 'self'",
        "style-src 'self'",
        "img-src 'self' blob: data:",
        "connect-src 'self'",
        "font-src 'self'",
        "media-src 'self' blob:",
        "frame-src 'self'",
        "form-action 'self'",
        "frame-ancestors 'none'",
        "base-uri 'none'",
    )
)
_HEADERS = {
    POLICY[0]: _POLICY,
    "Cache-Control": "no-store",  # pages name patients
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Referrer-Policy": "same-origin",  # else browsers would not tell the origin of our own forms
}
_HTMX = "HX-Request"
_EXPLAINED = (400, 401, 403, 404, 405, 409, 413, 429, 500, 502, 503)
"""Statuses with a text of their own in the catalogue."""


def install_console_frame(app: Flask, services: Services) -> None:
    """Make the console, and turn each refusal below its path into a page for browsers."""
    if not services.settings.console:
        return
    console = app.extensions[Console.NAME] = Console(services)
    sign_in = SignIn(console)

    @app.after_request
    def frame(response: Response) -> Response:
        if not is_console(request.path):
            return response
        if response.mimetype == _PROBLEM and response.status_code == HTTPStatus.UNAUTHORIZED and _may_sign_in(sign_in):
            response = _to_login(sign_in, response)
        elif response.mimetype == _PROBLEM and _reads_pages():
            explain(console, response)
        for name, value in _HEADERS.items():
            response.headers.setdefault(name, value)
        return response


def _reads_pages() -> bool:
    """Whether the client is a browser that shows the answer, rather than a script."""
    return HTML in request.headers.get("Accept", "") and blueprint_name(request.blueprint or "") != STATIC


def install_renewal(app: Flask, services: Services) -> None:
    """Send a page whose session needs it to the issuer, before the page is made."""
    if services.gate.issuer_login is None:
        return
    issuer = IssuerPages(SignIn(app.extensions[Console.NAME]))

    @app.before_request
    def renew() -> Response | None:
        is_page = (
            is_console(request.path) and request.method == "GET" and request.headers.get("Sec-Fetch-Mode") == "navigate"
        )
        of_login = blueprint_name(request.blueprint or "") == LOGIN
        return issuer.renewal() if is_page and not of_login else None


def _may_sign_in(sign_in: SignIn) -> bool:
    """Whether the caller is a browser that has shown no credentials, and that people can sign in with."""
    by_page = _reads_pages() or _HTMX in request.headers
    return by_page and sign_in.has_pages and "Authorization" not in request.headers


def _to_login(sign_in: SignIn, response: Response) -> Response:
    """The way to the login. A script of a page gets it in a header: it cannot see where a redirect leads."""
    way = sign_in.by("/login")
    if _HTMX not in request.headers:
        return way
    response.headers["HX-Redirect"] = way.headers["Location"]
    response.headers.pop("WWW-Authenticate", None)
    return response


def explain(console: Console, response: Response) -> None:
    """Put a page in the place of a problem document; status and headers stay."""
    problem = response.get_json(force=True)
    status = response.status_code if response.status_code in _EXPLAINED else 500
    retry_seconds = response.headers.get("Retry-After")
    page = console.fragment(
        "error.html",
        title=console.texts(f"error_{status}_title"),
        advice=console.texts(f"error_{status}_advice"),
        detail=problem.get("detail", ""),
        status=response.status_code,
        phrase=HTTPStatus(response.status_code).phrase,
        retry_seconds=retry_seconds,
    )
    response.set_data(page)
    response.content_type = "text/html; charset=utf-8"
