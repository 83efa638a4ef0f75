"""The session cookie: where it is safe, whose requests it counts for, and how it is set. Runs in the web processes.

A browser sends cookies with requests that any site makes it send. So a session counts only for requests of our own
pages, and for pages that somebody opens by a link. Browsers say it in Sec-Fetch-Site, which no page can forge.
"""

from collections.abc import Mapping
from urllib.parse import urlsplit

from flask import Response

from app.console_parts import is_page
from runtime.hosts import is_loopback

_SECURE_NAME, _NAME = "__Host-session", "session"
_OPENING = ("GET", "HEAD")


class CookieJar:
    """How cookies are kept for one address of the service, which is a URL as the client reaches it."""

    def __init__(self, url: str) -> None:
        parts = urlsplit(url)
        self.origin = f"{parts.scheme}://{parts.netloc}".lower()
        self.secure = parts.scheme == "https"
        host = parts.hostname or ""
        self.safe = self.secure or is_loopback(host) or host.endswith(".localhost")
        """Whether nobody on the way can read a cookie: plain HTTP is for this machine alone."""

    @property
    def name(self) -> str:
        """The name of the session cookie. No other host, and no plain HTTP, can set one of the secure name."""
        return _SECURE_NAME if self.secure else _NAME

    def session_token(self, cookies: Mapping[str, str], headers: Mapping[str, str], method: str, path: str) -> str:
        """The session of a request; "" without one, and for a request that it does not count for."""
        token = cookies.get(self.name, "")
        return token if token and self.safe and self._is_ours(headers, method, path) else ""

    def _is_ours(self, headers: Mapping[str, str], method: str, path: str) -> bool:
        site = headers.get("Sec-Fetch-Site", "")
        if site == "same-origin":
            return True
        if site == "none":  # the user has typed it, or has it as a bookmark
            return method in _OPENING
        if site:  # another site; its links may open our pages, which it cannot read
            opened = headers.get("Sec-Fetch-Mode") == "navigate" and headers.get("Sec-Fetch-Dest") == "document"
            return opened and method in _OPENING and is_page(path)
        return headers.get("Origin", "").lower() == self.origin

    def set_session(self, response: Response, token: str) -> None:
        """Set the session cookie. It has no time of its own: the session in it ends by itself."""
        response.set_cookie(self.name, token, path="/", secure=self.secure, httponly=True, samesite="Lax")

    def delete_session(self, response: Response) -> None:
        """Delete the session cookie."""
        response.delete_cookie(self.name, path="/", secure=self.secure, httponly=True, samesite="Lax")
