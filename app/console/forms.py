"""Tokens in forms against requests that another site has forged (CSRF). Runs in the web processes.

A token belongs to a browser, by a cookie of its own, and to the caller. No other site can read it, and none can make
one: it is an HMAC. The check is in one place, for each request that changes something in the console.
"""

import hashlib
import hmac
import secrets
from urllib.parse import urlsplit

from flask import Flask, Response, g, request

from app.auth.cookies import CookieJar
from app.auth.principal import ANYONE
from app.console_parts import COOKIE, READ_BY_VIEW, is_console
from app.service_roots import blueprint_name
from app.services import Services
from dicomweb.errors import Forbidden, Unauthorized
from dicomweb.public_root import PublicRoot

FIELD, HEADER = "csrf", "X-CSRF-Token"
_OUR_PAGE = "same-origin"
_READING = ("GET", "HEAD", "OPTIONS")
_SALT = b"console form"


class Forms:
    """Makes and checks tokens."""

    def __init__(self, key: bytes) -> None:
        self._key = hmac.digest(key, _SALT, hashlib.sha256)

    def token(self) -> str:
        """The token of this browser and caller, for a form."""
        return self._token(_browser())

    def check(self) -> None:
        """Forbidden if the request has no token, or one of another browser or caller."""
        self.check_token(request.headers.get(HEADER) or request.form.get(FIELD, ""))

    def check_token(self, given: str) -> None:
        """Forbidden if a token is not that of this browser and caller."""
        browser = request.cookies.get(COOKIE, "")
        if not browser or not hmac.compare_digest(given.encode(), self._token(browser).encode()):
            if g.get("session_ended"):
                raise Unauthorized("the session has ended")
            raise Forbidden("this form is no longer valid: open the page again, and send it from there")

    def _token(self, browser: str) -> str:
        principal = g.get("principal", ANYONE)
        owner = f"{browser} {principal.session.session_id if principal.session else ''} {principal.user}"
        return hmac.new(self._key, owner.encode(), hashlib.sha256).hexdigest()


def install_forms(app: Flask, services: Services) -> None:
    """Refuse requests of forged forms, and give each browser a cookie when it gets its first form."""
    if not services.settings.console:
        return
    forms, site = Forms(services.session_state.key), PublicRoot(services.settings.public_url, "")

    @app.before_request
    def check() -> None:
        if request.blueprint is None or not is_console(request.path) or request.method in _READING:
            return
        if not _is_of_our_page(site):
            raise Forbidden("this form was sent by a page of another site")
        if blueprint_name(request.blueprint) not in READ_BY_VIEW:
            forms.check()

    @app.after_request
    def add_cookie(response: Response) -> Response:
        if "new_browser" in g:
            secure = CookieJar(site.of(request.environ)).secure
            response.set_cookie(COOKIE, g.new_browser, path="/", secure=secure, httponly=True, samesite="Lax")
        return response


def _is_of_our_page(site: PublicRoot) -> bool:
    """Whether one of our own pages sends the request, as far as the browser tells.

    By plain HTTP it tells the origin alone. The token is not enough: a neighbour in the same domain can plant its
    cookie. Ports are not compared, since a proxy may have another one.
    """
    if told := request.headers.get("Sec-Fetch-Site"):
        return told == _OUR_PAGE
    origin = request.headers.get("Origin")
    return origin is None or _host(origin) == _host(site.of(request.environ))


def _host(url: str) -> str | None:
    try:
        return urlsplit(url).hostname
    except ValueError:
        return None


def _browser() -> str:
    """The name of this browser in its cookie; a new one if it has none."""
    name: str = request.cookies.get(COOKIE) or g.get("new_browser") or secrets.token_urlsafe(16)
    if not request.cookies.get(COOKIE):
        g.new_browser = name
    return name
