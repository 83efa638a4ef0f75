"""The rate limits: requests of each client, and refused logins of each address."""

import math

from flask import Flask, Response, g, request

from app import health
from app.auth.middleware import LINKED
from app.auth.principal import ANYONE
from app.service_roots import blueprint_name
from app.services import Services
from dicomweb.errors import TooManyRequests


def install_failed_login_limit(app: Flask, services: Services) -> None:
    """Answer 429 to an address that was refused too often, before its credentials are checked."""
    limiter = services.rate_limiter
    if limiter is None:
        return

    @app.before_request
    def check_address() -> None:
        if request.blueprint is not None:
            _check(limiter.wait(_refused_address()))

    @app.after_request
    def count_refusal(response: Response) -> Response:
        if response.status_code == 401 and not g.get("session_ended"):
            limiter.take(_refused_address())
        return response


def install_rate_limit(app: Flask, services: Services) -> None:
    """Answer 429 to a client that makes too many requests. A client is its user, or its address without a login."""
    limiter = services.rate_limiter
    if limiter is None:
        return

    @app.before_request
    def count_request() -> None:
        if request.blueprint is not None and blueprint_name(request.blueprint) != health.NAME:
            principal = g.get("principal", ANYONE)  # of no caller yet, on the way to a login
            logged_in = principal not in (ANYONE, LINKED)
            _check(limiter.take(f"user {principal.user}" if logged_in else f"address {request.remote_addr}"))


def _refused_address() -> str:
    return f"refused {request.remote_addr}"


def _check(seconds: float) -> None:
    if seconds:
        raise TooManyRequests("too many requests", math.ceil(seconds))
