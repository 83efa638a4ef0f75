"""The bounds of failed logins: by name and by address, so that guessing takes years. Runs in the web processes.

One attacker must not lock out others. So a browser that has signed in as a user before has a cookie that says so, and
counts by itself for that user: whatever others do with the name or behind the same address, it is not held up. An
attacker has no such cookie of another user. A new browser may have to wait for a minute.
"""

import hashlib
import hmac
import math
import secrets
from ipaddress import IPv6Address

from app.auth.principal import NotProven
from app.auth.sealed import Sealed
from app.middleware.rate_limiter import RateLimiter
from app.networks import parse_address
from app.session_state import SessionState
from dicomweb.errors import TooManyRequests

COOKIE = "browser"
MAX_AGE_SECONDS = 90 * 86_400
_USERS = 8  # of one browser: those who share a workstation


class KnownBrowser:
    """A browser, and digests of the names that have signed in with it."""

    def __init__(self, browser_id: str, names: tuple[str, ...] = ()) -> None:
        self.browser_id = browser_id
        self.names = names


class LoginLimits:
    """Counts failed logins. Right passwords are refused as well while a name must wait: else they could be found."""

    def __init__(self, state: SessionState) -> None:
        self._state = state
        self._sealed = Sealed(state.key, "browsers that have signed in")
        self._key = hmac.digest(state.key, b"names of browsers", hashlib.sha256)

    def browser(self, cookie: str) -> KnownBrowser:
        """The browser that a cookie tells; a new one if there is none of ours."""
        try:
            browser_id, *names = self._sealed.open(cookie)
        except NotProven:
            return KnownBrowser(secrets.token_urlsafe(12))
        return KnownBrowser(browser_id, tuple(names))

    def cookie(self, browser: KnownBrowser, name: str) -> str:
        """The cookie of a browser with which a user has now signed in."""
        digest = self._digest(name)
        names = (digest, *(other for other in browser.names if other != digest))[:_USERS]
        return self._sealed.seal([browser.browser_id, *names])

    def check(self, name: str, address: str, browser: KnownBrowser) -> None:
        """TooManyRequests if too many logins of the name or from the address have failed."""
        waits = [limiter.wait(key) for limiter, key in self._counters(name, address, browser)]
        if seconds := max(waits):
            raise TooManyRequests("too many logins have failed", math.ceil(seconds))

    def note_failure(self, name: str, address: str, browser: KnownBrowser) -> None:
        """Count a login that has failed."""
        for limiter, key in self._counters(name, address, browser):
            limiter.take(key)

    def _counters(self, name: str, address: str, browser: KnownBrowser) -> list[tuple[RateLimiter, str]]:
        """What counts an attempt; a token, which has no `name` yet, counts by the address alone."""
        by_address, digest = (self._state.of_address, network_of(address)), self._digest(name)
        if not name:
            return [by_address]
        if digest in browser.names:
            return [(self._state.of_name, f"{browser.browser_id} {digest}")]
        return [(self._state.of_name, digest), by_address]

    def _digest(self, name: str) -> str:
        return hmac.new(self._key, name.encode("utf-8", "replace"), hashlib.sha256).hexdigest()[:16]


def network_of(address: str) -> str:
    """The address, or the network of an IPv6 address: one subscriber has all 2**64 addresses of it."""
    parsed = parse_address(address)
    return f"{parsed.exploded[:19]}::/64" if isinstance(parsed, IPv6Address) else address
