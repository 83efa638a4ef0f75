"""What every part of the console is given: the services, and the way to make pages. Runs in the web processes."""

from dataclasses import dataclass
from http import HTTPStatus
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from flask import Response, g, request
from jinja2 import Environment, FileSystemLoader, StrictUndefined

from app.auth.middleware import right_for
from app.auth.principal import ANYONE
from app.console.forms import Forms
from app.console.static_files import StaticFiles
from app.console.texts import Texts
from app.console_parts import PATH
from app.services import Services
from app.version import VERSION

_TEMPLATES = Path(__file__).with_name("templates")


@dataclass(frozen=True)
class Entry:
    """One entry of the navigation: the key of its text, where it leads below `/console`, and the part it leads to."""

    text: str
    path: str
    part: str


class Console:
    """Makes pages. One for each application."""

    NAME = "console"
    """Its name among the extensions of the application."""

    def __init__(self, services: Services) -> None:
        self.services = services
        self.texts = Texts()
        self.static = StaticFiles.of_folder()
        self.forms = Forms(services.session_state.key)
        self._navigation: list[Entry] = []
        self._prefix = urlsplit(services.settings.public_url or "").path.rstrip("/")
        self._templates = Environment(
            loader=FileSystemLoader(_TEMPLATES),
            autoescape=True,
            undefined=StrictUndefined,
            trim_blocks=True,
            lstrip_blocks=True,
            auto_reload=False,
        )
        self._templates.globals.update(
            t=self.texts, version=VERSION, path=self.path, static=self.static_path, csrf_token=self.forms.token
        )

    def add(self, entry: Entry) -> None:
        """Add an entry to the navigation."""
        self._navigation.append(entry)

    def page(self, template: str, /, *, http_status: int = HTTPStatus.OK, **values: Any) -> Response:
        """The page of a template. Besides `values`, a template has what `base.html` uses, and `t`, `path`, `static`."""
        return Response(self.fragment(template, **values), status=http_status, content_type="text/html; charset=utf-8")

    def fragment(self, template: str, /, **values: Any) -> str:
        """The text of a template: a page, or a part of one for htmx."""
        return self._templates.get_template(template).render(
            user=self._user(),
            session=g.get("principal", ANYONE).session,
            entries=self._entries(),
            here=request.path,
            **values,
        )

    def path(self, below: str = "") -> str:
        """The path of a page of the console, as the client reaches it: `path("/jobs")`."""
        return self.public_path(PATH + below)

    def public_path(self, path: str) -> str:
        """A path of this service as the client reaches it, behind the path of PUBLIC_URL or of a proxy.

        `public_path(g.root.path + "/studies")` is that of a search.
        """
        return (self._prefix or request.script_root) + path

    def static_path(self, name: str) -> str:
        """The path of a static file, which has the version of all of them; KeyError if there is no such file."""
        return self.path(self.static.path(name))

    def _entries(self) -> list[Entry]:
        """The navigation of the caller: what the caller's rights open; nothing before the login."""
        rights = g.grant.rights if "grant" in g else frozenset()
        return [entry for entry in self._navigation if right_for(entry.part) in rights]

    @staticmethod
    def _user() -> str:
        """The name of the caller; "" without a login."""
        principal = g.get("principal", ANYONE)
        return "" if principal == ANYONE else str(principal.name)
