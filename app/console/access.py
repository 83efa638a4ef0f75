"""The page Access: who may see what and who may sign in, and forms for users and tokens. Runs in the web processes."""

import os
from collections.abc import Callable
from functools import partial
from http import HTTPStatus
from shlex import quote
from typing import Any
from urllib.parse import quote as quote_url
from urllib.parse import urlencode

from flask import Blueprint, Response, g, request

from app.auth.middleware import ROOT_PARAMETER
from app.auth.rights import Right
from app.console.access_parts import ae_title_rows, rule_rows
from app.console.console import Console
from app.console.logins import TOKEN, TOKEN_DAYS, USER, Logins
from app.console.shared import find_links, revoke
from app.console_parts import ACCESS, ACCESS_CHANGE
from dicomweb.errors import BadRequest, Conflict, Forbidden
from dicomweb.respond import status_of

PATH = "/access"
REMOVE_PATH = f"{PATH}/remove"
_SURE = "yes"
_LONGEST = 1024
LINK, LINKS = "link", "links"
"""Kinds of what is removed: one share link by its ID, and all links of a user."""

_WAYS = {USER: "basic", TOKEN: "bearer"}


def blueprint(console: Console) -> Blueprint:
    """The page, and the question before something is removed, for callers who may operate; the gate refuses others."""
    bp = Blueprint(ACCESS, __name__)

    @bp.get(PATH)
    def show() -> Response:
        return console.page("access.html", **_values(console))

    @bp.get(REMOVE_PATH)
    def ask() -> Response:
        logins, kind, key = _logins(console), request.args.get("kind", ""), request.args.get("key", "")
        if kind in (LINK, LINKS):
            return console.page("access_remove.html", kind=kind, key=key, name=key, warning="")
        row = logins.row(kind, key)
        is_last = not logins.leaves_operators(kind, key)
        warning = "access_last_operator" if is_last else "access_yourself" if row.is_reader else ""
        return console.page("access_remove.html", kind=kind, key=key, name=row.name, warning=warning)

    return bp


def changes(console: Console) -> Blueprint:
    """The forms that make and remove users and tokens."""
    bp = Blueprint(ACCESS_CHANGE, __name__)

    @bp.post(f"{PATH}/users")
    def add_user() -> Response:
        name, password = _field("name").strip(), _field("password")
        g.audit_subject = f"add user {_WAYS[USER]}:{name}"
        return _made(console, USER, name, lambda logins: logins.add_user(name, password), shown=not password)

    @bp.post(f"{PATH}/tokens")
    def add_token() -> Response:
        name, groups, days = _field("name").strip(), _field("groups").strip(), _field("days")
        g.audit_subject = f"add token {_WAYS[TOKEN]}:{name} groups {groups} days {days}"
        number = int(days) if days.isascii() and days.isdecimal() and len(days) < 5 else -1
        return _made(console, TOKEN, name, lambda logins: logins.add_token(name, groups, number), shown=True)

    @bp.post(REMOVE_PATH)
    def remove() -> Response:
        logins, kind, key = _logins(console), _field("kind"), _field("key")
        if kind in (LINK, LINKS):
            return _revoked(console, kind, key)
        row = logins.row(kind, key)
        g.audit_subject = f"remove {kind} {_WAYS[kind]}:{row.name}" + (f" {key}" if kind == TOKEN else "")
        logins.remove(kind, key, sure=_field("sure") == _SURE)
        return console.page("access.html", **{**_values(console), "removed": {"kind": kind, "name": row.name}})

    return bp


def _revoked(console: Console, kind: str, key: str) -> Response:
    """The page after one link was revoked, or all of a user."""
    g.audit_subject = f"revoke {kind} {key}"
    links = console.services.session_state.share_links
    found = revoke(links, link_id=key) if kind == LINK else revoke(links, user=key)
    name = found[0].user if kind == LINK else key
    return console.page("access.html", **{**_values(console), "removed": {"kind": kind, "name": name}})


def _made(console: Console, kind: str, name: str, make: Callable[[Logins], str], *, shown: bool) -> Response:
    """The page with what was made, whose secret is shown once; or with the reason why it was not."""
    try:
        secret = make(_logins(console))
    except (BadRequest, Conflict, Forbidden) as error:
        status = HTTPStatus(status_of(error))
        return console.page("access.html", http_status=status, **{**_values(console), "problem": str(error)})
    made = {"kind": kind, "name": name, "secret": secret if shown else ""}
    return console.page("access.html", **{**_values(console), "made": made})


def _field(name: str) -> str:
    return request.form.get(name, "")[:_LONGEST]


def _logins(console: Console) -> Logins:
    return Logins(console.services, g.principal)


def _values(console: Console) -> dict[str, Any]:
    services, settings = console.services, console.services.settings
    rules, user, page = services.gate.rules, request.args.get("user", ""), request.args.get("page", "")
    number = max(1, int(page)) if page.isascii() and page.isdecimal() and len(page) < 7 else 1
    return {
        "logins": _logins(console).lists(),
        "commands": {
            USER: f"htpasswd -B {quote(str(settings.auth_users_file))} NAME",
            TOKEN: "python main.py token NAME --groups GROUP",
            "reload": f"kill -HUP {os.getppid()}",
        },
        "token_days": TOKEN_DAYS,
        "links": find_links(services, g.scope, user[:_LONGEST], number) if services.gate.links else None,
        "studies": console.path(f"{g.root.path}/studies") if Right.READ in g.grant.rights else "",
        "quoted": partial(quote_url, safe=""),
        "url_of_links": partial(_url_of_links, console),
        "made": None,
        "removed": None,
        "problem": "",
        "ae_titles": ae_title_rows(services.roots, g.scope),
        "rules": None if rules is None else rule_rows(rules, g.scope),
        "rules_file": settings.access_rules,
        "settings_file": settings.settings_file,
        "ways": settings.auth,
    }


def _url_of_links(console: Console, user: str, page: int = 1) -> str:
    """The URL of the page with links of a user, or of all for ""."""
    root = {ROOT_PARAMETER: g.root.ae_title} if request.args.get(ROOT_PARAMETER) else {}
    query = urlencode({**root, **({"user": user} if user else {}), **({"page": page} if page > 1 else {})})
    return f"{console.path(PATH)}{'?' if query else ''}{query}#links"
