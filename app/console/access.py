"""The page Access: who may see what and who may sign in, and forms for users and tokens. Runs in the web processes."""

import os
from collections.abc import Callable
from http import HTTPStatus
from shlex import quote
from typing import Any

from flask import Blueprint, Response, g, request

from app.console.access_parts import ae_title_rows, rule_rows
from app.console.console import Console
from app.console.logins import TOKEN, TOKEN_DAYS, USER, Logins
from app.console_parts import ACCESS, ACCESS_CHANGE
from dicomweb.errors import BadRequest, Conflict, Forbidden
from dicomweb.respond import status_of

PATH = "/access"
REMOVE_PATH = f"{PATH}/remove"
_SURE = "yes"
_LONGEST = 1024
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
        row = logins.row(kind, key)
        leaves = logins.leaves_operators(kind, key)
        return console.page("access_remove.html", kind=kind, row=row, leaves_operators=leaves)

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
        row = logins.row(kind, key)
        g.audit_subject = f"remove {kind} {_WAYS[kind]}:{row.name}" + (f" {key}" if kind == TOKEN else "")
        logins.remove(kind, key, sure=_field("sure") == _SURE)
        return console.page("access.html", **{**_values(console), "removed": {"kind": kind, "name": row.name}})

    return bp


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
    rules = services.gate.rules
    return {
        "logins": _logins(console).lists(),
        "commands": {
            USER: f"htpasswd -B {quote(str(settings.auth_users_file))} NAME",
            TOKEN: "python main.py token NAME --groups GROUP",
            "reload": f"kill -HUP {os.getppid()}",
        },
        "token_days": TOKEN_DAYS,
        "made": None,
        "removed": None,
        "problem": "",
        "ae_titles": ae_title_rows(services.roots, g.scope),
        "rules": None if rules is None else rule_rows(rules, g.scope),
        "rules_file": settings.access_rules,
        "settings_file": settings.settings_file,
        "ways": settings.auth,
    }
