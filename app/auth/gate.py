"""One question before each request: who is it, and what may they see? What is not asked here is asked nowhere."""

import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from flask import Flask, Response, g, request

from app.ae_titles import ServiceRoot
from app.auth.access_rules import AccessRule, scope_of
from app.auth.links import Links
from app.auth.principal import ANYONE, Authenticator, Credentials, NotProven, Principal
from db.scope import Scope
from dicomweb.errors import Forbidden, NotFound, Unauthorized
from dicomweb.parameters import parse_parameters
from dicomweb.respond import varies

log = logging.getLogger(__name__)

LINKED = Principal("link")
"""Who comes by a share link: whoever has it."""

_UNREAD = Credentials.of_request({}, None)
"""Where nobody is asked, headers are not gone through."""

_READING = ("GET", "HEAD", "OPTIONS")

QUERY_TOKEN = "access_token"  # noqa: S105 - the name of a parameter (RFC 6750 Section 2.3)


@dataclass(frozen=True)
class Gate:
    """The ways to prove who one is, none for a service that asks nobody; the rules, None if all may see all; links."""

    authenticators: Sequence[Authenticator] = ()
    rules: Sequence[AccessRule] | None = None
    links: Links | None = None
    query_tokens: bool = False

    def identify(self, credentials: Credentials) -> Principal:
        """Who it is; Unauthorized where nothing proves it."""
        if not self.authenticators:
            return ANYONE
        for authenticator in self.authenticators:
            try:
                principal = authenticator.principal(credentials)
            except NotProven as error:
                log.warning("credentials refused reason=%s", error.reason)
                raise Unauthorized(str(error), self._challenges) from error
            if principal:
                return principal
        raise Unauthorized("please say who you are", self._challenges)

    def linked(self, token: str) -> Scope:
        """What a share link shows; NotFound where it shows nothing."""
        if self.links is None:
            raise NotFound("there are no links here")
        return self.links.read(token).scope

    @property
    def _challenges(self) -> tuple[str, ...]:
        return tuple(dict.fromkeys(one.challenge for one in self.authenticators if one.challenge))


def add_gate(app: Flask, gate: Gate, here: Callable[[], ServiceRoot], open_blueprint: str) -> None:
    """Before each view: `g.principal`, `g.root` and `g.scope`, which is what the principal may see below the root.

    `here` tells the root of the request. The views of the open blueprint ask nobody, and see nothing.
    """

    @app.before_request
    def enter() -> None:
        blueprint = request.blueprint
        if blueprint is None:
            return  # no such resource, or no such method
        token, root = (request.view_args or {}).pop("link", None), here()
        g.root_rule = root.path
        g.root = replace(root, path=root.path.replace("<link>", token)) if token else root
        if blueprint_name(blueprint) == open_blueprint:
            return  # it tells nothing of patients
        if token is None:
            g.principal = gate.identify(_credentials(gate))
            g.scope = g.root.scope & scope_of(gate.rules, g.principal, g.root.ae_title)
        else:
            g.principal, g.scope = LINKED, g.root.scope & gate.linked(token)
            if request.method not in _READING:
                raise Forbidden("a link is for reading")

    @app.after_request
    def mark(response: Response) -> Response:
        if gate.authenticators:
            varies(response, "Authorization")
        return response


def blueprint_name(registered: str) -> str:
    """The name of a blueprint that is registered below several roots, as `name@number` but for the first."""
    return registered.partition("@")[0]


def _credentials(gate: Gate) -> Credentials:
    if not gate.authenticators:
        return _UNREAD
    query = dict(parse_parameters(request.query_string)) if gate.query_tokens else {}
    return Credentials.of_request(dict(request.headers), query.get(QUERY_TOKEN))
