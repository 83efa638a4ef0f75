"""The check before each view: who is calling, and what may they see? No other code checks it."""

from dataclasses import replace

from flask import Flask, Response, g, request

import store.routes
from app import health
from app.auth.configure import open_gate
from app.auth.gate import Gate
from app.auth.principal import Credentials, Principal
from app.auth.rights import Grant, Right
from app.service_roots import ServiceRoot, blueprint_name, root_index
from app.services import Services
from dicomweb.errors import Forbidden
from dicomweb.parameters import parse_parameters
from dicomweb.respond import varies

LINKED = Principal("link")
"""The caller of every request by a share link."""

QUERY_TOKEN = "access_token"  # noqa: S105 - the name of a parameter (RFC 6750 Section 2.3)

_NO_CREDENTIALS = Credentials.of_request({}, None)
_READING = ("GET", "HEAD", "OPTIONS")
_RIGHTS = {store.routes.NAME: Right.STORE}
"""The right that a resource needs, by the name of its blueprint; all others need that of reading."""


def install_gate(app: Flask, services: Services) -> None:
    """Set `g.principal`, `g.root`, `g.root_rule` and `g.scope` before each view, or refuse the request.

    Health checks need no login, and have neither principal nor scope: their answers have no patient data.
    SettingsError if a file of users, tokens or rules cannot be used.
    """
    gate = open_gate(services.settings)

    @app.before_request
    def enter() -> None:
        if request.blueprint is None:
            return  # no such resource, or no such method
        link_token = _enter_root(services.roots[root_index(request.blueprint)])
        if blueprint_name(request.blueprint) == health.NAME:
            return
        if link_token is None:
            g.principal = gate.identify(_credentials(gate))
            grant = gate.grant(g.principal, g.root.ae_title)
            g.scope = g.root.scope & grant.scope
            _check_right(grant)
        else:
            g.principal, g.scope = LINKED, g.root.scope & gate.link_scope(link_token)
            if request.method not in _READING:
                raise Forbidden("a share link allows only reading")

    @app.after_request
    def add_vary(response: Response) -> Response:
        if gate.authenticators:
            varies(response, "Authorization")
        return response


def _check_right(grant: Grant) -> None:
    """Forbidden if the caller has not the right that the resource of the request needs."""
    needed = _RIGHTS.get(blueprint_name(request.blueprint or ""), Right.READ)
    if needed not in grant.rights:
        raise Forbidden(f"you have no right to {needed.value} here")


def _enter_root(root: ServiceRoot) -> str | None:
    """Set the root of the request; the token of a share link, which no view has as an argument."""
    token: str | None = (request.view_args or {}).pop("link", None)
    g.root_rule = root.path
    g.root = replace(root, path=root.path.replace("<link>", token)) if token else root
    return token


def _credentials(gate: Gate) -> Credentials:
    if not gate.authenticators:
        return _NO_CREDENTIALS  # headers need not be read
    query = dict(parse_parameters(request.query_string)) if gate.query_tokens else {}
    return Credentials.of_request(dict(request.headers), query.get(QUERY_TOKEN))
