"""The page Access: who may see what, and who may sign in. Runs in the web processes."""

from typing import Any

from flask import Blueprint, Response, g

from app.console.access_parts import ae_title_rows, rule_rows
from app.console.console import Console
from app.console_parts import ACCESS

PATH = "/access"


def blueprint(console: Console) -> Blueprint:
    """The page, for callers who may operate; the gate refuses others."""
    bp = Blueprint(ACCESS, __name__)

    @bp.get(PATH)
    def show() -> Response:
        return console.page("access.html", **_values(console))

    return bp


def _values(console: Console) -> dict[str, Any]:
    services, settings = console.services, console.services.settings
    rules = services.gate.rules
    return {
        "ae_titles": ae_title_rows(services.roots, g.scope),
        "rules": None if rules is None else rule_rows(rules, g.scope),
        "rules_file": settings.access_rules,
        "settings_file": settings.settings_file,
        "ways": settings.auth,
    }
