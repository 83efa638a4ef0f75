"""The check before each view: who is calling, and what may they see? No other code checks it."""

from collections.abc import Sequence
from dataclasses import replace
from functools import partial

from flask import Flask, Response, g, request

import store.routes
from app import console_parts, health, viewer_parts
from app.auth.cookies import CookieJar
from app.auth.gate import Gate
from app.auth.principal import ANYONE, Credentials, NotProven, Principal
from app.auth.rights import Grant, Right
from app.auth.session import SessionEnded
from app.service_roots import ServiceRoot, blueprint_name, root_index
from app.services import Services
from dicomweb.errors import Forbidden, NotFound, Unauthorized
from dicomweb.parameters import parse_parameters
from dicomweb.public_root import PublicRoot
from dicomweb.respond import varies

LINKED = Principal("link")
"""The caller of every request by a share link."""

QUERY_TOKEN = "access_token"  # noqa: S105 - the name of a parameter (RFC 6750 Section 2.3)

ROOT_PARAMETER = "root"
"""The parameter of pages that are below no root: an AE title."""

_OPEN = console_parts.OPEN | {health.NAME, viewer_parts.FILES}
_OF_CALLER = {viewer_parts.CONFIG}
"""Resources that depend on the caller, and have nothing of the archive. They look at the caller's rights themselves."""

_NO_CREDENTIALS = Credentials.of_request({}, None)
_READING = ("GET", "HEAD", "OPTIONS")
_RIGHTS = {
    store.routes.NAME: Right.STORE,
    console_parts.UPLOAD: Right.STORE,
    console_parts.UPLOAD_FORM: Right.STORE,
    console_parts.SHARE: Right.SHARE,
    **dict.fromkeys(console_parts.OPERATION, Right.OPERATE),
}
"""The right that a resource needs, by the name of its blueprint; all others need that of reading."""


def install_gate(app: Flask, services: Services) -> None:
    """Set `g.principal`, `g.root`, `g.root_rule`, `g.grant` and `g.scope` before each view, or refuse the request.

    Health checks and the way to a login need none. They have neither principal nor scope: their answers have no patient
    data. A share link has no grant. Pages of the console that are below no root get one that the caller may use.
    """
    gate = services.gate
    site = PublicRoot(services.settings.public_url, "")

    @app.before_request
    def enter() -> None:
        if request.blueprint is None:
            return  # no such resource, or no such method
        index = root_index(request.blueprint)
        link_token = _enter_root(services.roots[index or 0])
        name = blueprint_name(request.blueprint)
        if name in _OPEN:
            if name == console_parts.LOGIN:
                _note_session(gate, _credentials(gate, site))
            return
        if link_token is None:
            g.principal = _identify(gate, _credentials(gate, site))
            g.rights = partial(gate.rights, g.principal)
            if name in _OF_CALLER:
                return
            if index is None:
                _enter_root(_chosen_root(services.roots, gate, g.principal))
            g.grant = gate.grant(g.principal, g.root.ae_title)
            g.scope = g.root.scope & g.grant.scope
            _check_right(g.grant)
        else:
            g.link_token, g.link = gate.open_link(link_token, request.cookies)
            g.principal, g.scope = LINKED, g.root.scope & g.link.scope
            if request.method not in _READING:
                raise Forbidden("a share link allows only reading")

    @app.after_request
    def renew_session(response: Response) -> Response:
        session = g.get("principal", ANYONE).session
        if session and gate.sessions and blueprint_name(request.blueprint or "") != console_parts.LOGIN:
            newer = gate.sessions.renewed(session)
            if newer:
                CookieJar(site.of(request.environ)).set_session(response, gate.sessions.token(newer))
                response.headers["Cache-Control"] = "no-store"  # no cache gives a cookie to others
        return response

    @app.after_request
    def add_vary(response: Response) -> Response:
        if gate.authenticators:
            varies(response, "Authorization")
        return response


def right_for(blueprint: str) -> Right:
    """The right that the resources of a blueprint need, by its name without its root."""
    return _RIGHTS.get(blueprint, Right.READ)


def _chosen_root(roots: Sequence[ServiceRoot], gate: Gate, principal: Principal) -> ServiceRoot:
    """The root that the parameter `root` names by its AE title; without it, the first that the caller may use.

    Sets `g.ae_titles`, the AE titles that the caller may choose from. NotFound if there is no such AE title. If the
    caller may use none, the first is taken, which is refused then.
    """
    by_name = {root.ae_title: root for root in reversed(roots) if root.ae_title}  # dcm4chee's paths come after our own
    needed = right_for(blueprint_name(request.blueprint or ""))
    g.ae_titles = [name for name in reversed(by_name) if needed in gate.rights(principal, name)]
    name = request.args.get(ROOT_PARAMETER) or next(iter(g.ae_titles), roots[0].ae_title)
    if name not in by_name:
        raise NotFound("no such AE title")
    return by_name[name]


def _check_right(grant: Grant) -> None:
    """Forbidden if the caller has not the right that the resource of the request needs."""
    needed = right_for(blueprint_name(request.blueprint or ""))
    if needed not in grant.rights:
        raise Forbidden(f"you have no right to {needed.value} here")


def _enter_root(root: ServiceRoot) -> str | None:
    """Set the root of the request; the token of a share link, which no view has as an argument."""
    token: str | None = (request.view_args or {}).pop("link", None)
    g.root_rule = root.path
    g.root = replace(root, path=root.path.replace("<link>", token)) if token else root
    return token


def _credentials(gate: Gate, site: PublicRoot) -> Credentials:
    if not gate.authenticators:
        return _NO_CREDENTIALS  # headers need not be read
    query = dict(parse_parameters(request.query_string)) if gate.query_tokens else {}
    credentials = Credentials.of_request(dict(request.headers), query.get(QUERY_TOKEN))
    if gate.sessions is None:
        return credentials
    token, of_page = "", _is_sent_by_page()
    if "Cookie" in request.headers:
        jar = CookieJar(site.of(request.environ))
        token = jar.session_token(request.cookies, dict(request.headers), request.method, request.path)
        of_page = of_page or jar.name in request.cookies
    return replace(credentials, session=token, of_page=of_page and gate.has_login_page and not credentials.scheme)


def _is_sent_by_page() -> bool:
    """Whether a page of this origin has sent the request, or shows its answer inside itself.

    Its user may have signed out in another window, or have deleted all cookies.
    """
    headers = request.headers
    return headers.get("Sec-Fetch-Site") == "same-origin" and headers.get("Sec-Fetch-Dest") != "document"


def _identify(gate: Gate, credentials: Credentials) -> Principal:
    """The caller; Unauthorized if nobody can be told. An ended session is noted: it is no guess."""
    try:
        return gate.identify(credentials)
    except Unauthorized as error:
        g.session_ended = isinstance(error.__cause__, SessionEnded)
        raise


def _note_session(gate: Gate, credentials: Credentials) -> None:
    """Set `g.principal` if the request has a session: on the way to a login, it is not needed."""
    try:
        principal = gate.sessions.principal(credentials) if gate.sessions else None
    except NotProven as error:
        g.session_ended = isinstance(error, SessionEnded)
    else:
        if principal:
            g.principal = principal
