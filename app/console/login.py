"""The login of people by a form, and the end of a session. Runs in the web processes.

What is typed into the form goes through the same authenticators as the credentials of programs.
`app/console/issuer.py` has the login at an issuer.
"""

import base64
from http import HTTPStatus

from flask import Blueprint, Response, request

from app.auth.principal import Credentials, NotProven, Principal
from app.auth.session import TooLarge
from app.console.console import Console
from app.console.issuer import IssuerPages
from app.console.login_limits import COOKIE, MAX_AGE_SECONDS, LoginLimits
from app.console.sign_in import SignIn
from app.console_parts import LOGIN
from dicomweb.errors import BadRequest

BASIC, BEARER = "basic", "bearer"
_LONGEST = 1024  # characters of a name, a password, or a token


def blueprint(console: Console) -> Blueprint:
    """The routes of the form, of the issuer, and of the end. None needs a login."""
    bp, sign_in, issuer = Blueprint(LOGIN, __name__), SignIn(console), IssuerPages(SignIn(console))
    limits = LoginLimits(console.services.session_state)

    @bp.get("/login")
    def form() -> Response:
        if not sign_in.is_needed:
            return sign_in.leave(console.path("/"))
        if sign_in.session is None and sign_in.gate.issuer_login and not sign_in.gate.ways.keys() & {BASIC, BEARER}:
            return sign_in.leave(sign_in.link("/login/issuer"))  # nothing to choose
        return sign_in.page()

    @bp.post("/login")
    def sent() -> Response:
        sign_in.check_address()
        way, name = request.form.get("way", ""), _field("name")
        browser = limits.browser(sign_in.cookie(COOKIE))
        counted = name if way == BASIC else ""  # a token cannot be guessed; its attempts count by address
        limits.check(counted, request.remote_addr or "", browser)
        try:
            principal, proof = _principal(sign_in, way, name)
            session = sign_in.sessions.open(principal, proof)
        except (NotProven, TooLarge):
            limits.note_failure(counted, request.remote_addr or "", browser)
            return sign_in.page("login_wrong", name, HTTPStatus.UNAUTHORIZED)
        response = sign_in.begin(session)
        if way == BASIC:
            sign_in.set_cookie(response, COOKIE, limits.cookie(browser, name), MAX_AGE_SECONDS)
        return response

    @bp.post("/logout")
    def logout() -> Response:
        return issuer.sign_out()

    @bp.get("/login/out")
    def out() -> Response:
        return console.page("signed_out.html", end_url=None)

    issuer.add_routes(bp)
    return bp


def _principal(sign_in: SignIn, way: str, name: str) -> tuple[Principal, str]:
    """The user who has filled in the form, and the proof; NotProven if a word of it is wrong."""
    if way not in (BASIC, BEARER) or way not in sign_in.gate.ways:
        raise BadRequest("there is no such way to sign in")
    if way == BEARER:
        proof = _field("token").strip()
        credentials = Credentials("bearer", proof)
    else:
        proof = ""
        pair = f"{name}:{_field('password')}".encode()
        credentials = Credentials("basic", base64.b64encode(pair).decode())
    principal = sign_in.gate.ways[way].principal(credentials)
    if principal is None or (way == BASIC and principal.name != name):
        raise NotProven("not a credential of this way")
    return principal, proof


def _field(name: str) -> str:
    text = request.form.get(name, "")
    if len(text) > _LONGEST:
        raise BadRequest(f"{name} has more than {_LONGEST} characters")
    return text
