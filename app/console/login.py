"""The login of people: a form, or the way to an issuer and back; and the end of a session. Runs in the web processes.

What is typed into the form goes through the same authenticators as the credentials of programs.
"""

import base64
from dataclasses import dataclass
from http import HTTPStatus
from typing import Any
from urllib.parse import urlencode

from flask import Blueprint, Response, g, redirect, request

from app.auth.cookies import CookieJar
from app.auth.issuer_login import Attempt, Issue, IssuerLogin
from app.auth.principal import ANYONE, Credentials, NotProven, Principal, Session
from app.auth.sealed import Sealed
from app.auth.session import LARGEST_BYTES, Sessions, TooLarge
from app.console.console import Console
from app.console.login_limits import COOKIE as BROWSER_COOKIE
from app.console.login_limits import MAX_AGE_SECONDS, LoginLimits
from app.console.next_path import NEXT, safe_next
from app.console_parts import LOGIN
from dicomweb.errors import Forbidden, NotFound, Unauthorized, UpstreamBusy
from dicomweb.public_root import PublicRoot

_ATTEMPT_COOKIE, _ISSUED_COOKIE = "login", "issued"
_ATTEMPT_SECONDS = 600
_LONGEST = 1024  # characters of a name, a password, or a token
_REFRESHED_SECONDS = 600.0


def blueprint(console: Console) -> Blueprint:
    """The routes. They need no login; forms have their tokens as everywhere."""
    bp = Blueprint(LOGIN, __name__)
    bp.add_url_rule("/login", "form", console_login := _Login(console).form)
    return bp
