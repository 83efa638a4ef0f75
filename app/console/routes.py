"""All parts of the console, registered below `/console`. Runs in the web processes."""

from collections.abc import Callable
from typing import NamedTuple

from flask import Blueprint, Flask

from app.console import access, audit, jobs, login, look, static_files, status, study, upload, worklist
from app.console.console import Console, Entry
from app.console_parts import PATH
from app.service_roots import name_without_root, registered_name
from app.services import Services


class Part(NamedTuple):
    """One part of the console.

    `make` makes its blueprint, whose paths begin below `/console`. The paths of a part `below_roots` begin below each
    service root: `/console/aetitle/studies/<study>`, and below share links. `text` is the key of its entry in the
    navigation, "" if it has none; `path` is where the entry leads.
    """

    make: Callable[[Console], Blueprint]
    text: str = ""
    path: str = ""
    below_roots: bool = False


PARTS: tuple[Part, ...] = (
    Part(static_files.blueprint),
    Part(login.blueprint),
    Part(worklist.blueprint, "navigation_worklist", worklist.PATH),
    Part(study.blueprint, below_roots=True),
    Part(study.share, below_roots=True),
    Part(look.blueprint, below_roots=True),
    Part(upload.blueprint, "navigation_upload", upload.PATH),
    Part(upload.form, below_roots=True),
    Part(jobs.blueprint, "navigation_jobs", jobs.PATH),
    Part(status.blueprint, "navigation_status", status.PATH),
    Part(access.blueprint, "navigation_access", access.PATH),
    Part(access.changes),
    Part(audit.blueprint),
)
"""All parts, in the order of the navigation."""


def register_console(app: Flask, services: Services) -> None:
    """Register the blueprint of every part."""
    console: Console = app.extensions[Console.NAME]
    for part in PARTS:
        blueprint = part.make(console)
        if part.text:
            console.add(Entry(part.text, part.path, blueprint.name))
        if not part.below_roots:
            app.register_blueprint(blueprint, url_prefix=PATH, name=name_without_root(blueprint.name))
            continue
        for index, root in enumerate(services.roots):
            if root.path == f"/{root.ae_title}" or not root.ae_title:  # dcm4chee's paths are for programs
                name = registered_name(blueprint.name, index)
                app.register_blueprint(blueprint, url_prefix=f"{PATH}{root.path}", name=name)
