"""A browser at the console, as far as its requests tell: cookies, the origin of each request, and forms."""

import re
from html import unescape
from typing import Any
from urllib.parse import urlsplit

import requests

PAGE = "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8"


class Browser:
    """Keeps cookies, and sends with each request what Chromium sends. `origin` is that of the service."""

    def __init__(self, origin: str) -> None:
        self.origin = origin
        self.session = requests.Session()

    def open(self, path: str, *, site: str = "none", follow: bool = False, **more: Any) -> requests.Response:
        """Go to a page, which a user has typed, or which another `site` links to."""
        headers = {"Accept": PAGE, **_fetch(site, "navigate", "document")}
        return self.session.get(self._url(path), headers=headers, allow_redirects=follow, timeout=60, **more)

    def fetch(self, path: str, *, site: str = "same-origin", method: str = "GET", **more: Any) -> requests.Response:
        """Have the script of a page fetch something."""
        headers = {"Accept": "application/dicom+json", **_fetch(site, "cors", "empty"), **more.pop("headers", {})}
        return self.session.request(method, self._url(path), headers=headers, allow_redirects=False, timeout=60, **more)

    def send(self, page: requests.Response | str, path: str, **fields: str) -> requests.Response:
        """Send a form of a page, with its hidden token."""
        text = page if isinstance(page, str) else page.text
        headers = {"Accept": PAGE, "Origin": self.origin, **_fetch("same-origin", "navigate", "document")}
        data = {"csrf": token_of(text), **fields}
        return self.session.post(self._url(path), data, headers=headers, allow_redirects=False, timeout=60)

    def sign_in(self, name: str, password: str, next_path: str = "") -> requests.Response:
        """Fill in the form of the login."""
        page = self.open("/console/login")
        fields = {"way": "basic", "name": name, "password": password}
        return self.send(page, "/console/login", **fields, **({"next": next_path} if next_path else {}))

    def sign_out(self) -> requests.Response:
        """Press the button of the page."""
        return self.send(self.open("/console/login"), "/console/logout")

    @property
    def cookie(self) -> str:
        """The session cookie; "" without one."""
        return next((one.value or "" for one in self.session.cookies if one.name.endswith("session")), "")

    def _url(self, path: str) -> str:
        return path if urlsplit(path).scheme else self.origin + path


def token_of(text: str) -> str:
    """The token of the first form of a page; "" without one."""
    found = re.search(r'name="csrf" value="(\w+)"', text)
    return unescape(found[1]) if found else ""


def _fetch(site: str, mode: str, destination: str) -> dict[str, str]:
    return {"Sec-Fetch-Site": site, "Sec-Fetch-Mode": mode, "Sec-Fetch-Dest": destination}
