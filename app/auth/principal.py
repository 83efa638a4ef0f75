"""The caller of a request, and the credentials that prove it."""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import date
from typing import Any, Protocol

from dicomweb.errors import Unauthorized


@dataclass(frozen=True)
class Principal:
    """A caller: name, groups, and the claims of the token.

    `scheme` is the way of AUTH that vouches for the name, "" without a login. The same name in another scheme is
    another caller. `session` is the one whose cookie came in the place of credentials.
    `until` is the last day of a token, in UTC; None for all others.
    """

    name: str
    groups: frozenset[str] = frozenset()
    claims: Mapping[str, Any] = field(default_factory=dict, compare=False)
    scheme: str = ""
    session: "Session | None" = field(default=None, compare=False, repr=False)
    until: date | None = field(default=None, compare=False)

    @property
    def user(self) -> str:
        """The name for logs, the audit trail and the rate limit: `basic:anna`; no two principals share one."""
        return f"{self.scheme}:{self.name}" if self.scheme else self.name


@dataclass(frozen=True)
class Kept:
    """What a session keeps of a principal.

    `mark` is a digest of what the login rests on, such as a password: another one ends the session. `groups` and
    `claims` are those of an issuer.
    """

    name: str
    mark: str
    groups: tuple[str, ...] = ()
    claims: Mapping[str, Any] = field(default_factory=dict)


def mark_of(text: str) -> str:
    """A digest of what a login rests on."""
    return hashlib.sha256(text.encode()).hexdigest()[:16]


@dataclass(frozen=True)
class Session:
    """A session of a person: its ID and user, and when it began, got its last cookie, and was last vouched for.

    Times are seconds since 1970.
    """

    session_id: str
    principal: Principal
    kept: Kept
    started: float
    renewed: float
    vouched: float


ANYONE = Principal("anonymous")
"""The caller of a service without a login."""


@dataclass(frozen=True)
class Credentials:
    """The credentials of a request: `scheme` (lower case) and `value` of Authorization, and the header of the ALB.

    `session` is the token of a session that counts for the request. `of_page` tells that one of our pages sent the
    request, and leads to the login by itself: then the browser shall not ask for a password.
    """

    scheme: str = ""
    value: str = ""
    alb_data: str = ""
    session: str = ""
    of_page: bool = False

    @classmethod
    def of_request(cls, headers: Mapping[str, str], query_token: str | None) -> "Credentials":
        """Read the headers; `query_token`, None if that is not allowed, is used if there is no Authorization."""
        scheme, _, value = headers.get("Authorization", "").strip().partition(" ")
        if not scheme and query_token:
            scheme, value = "bearer", query_token
        return cls(scheme.lower(), value.strip(), headers.get("X-Amzn-Oidc-Data", ""))


class Authenticator(Protocol):
    """One way to log in."""

    @property
    def challenge(self) -> str:
        """The challenge for WWW-Authenticate; "" for a way that clients cannot choose."""

    def principal(self, credentials: Credentials) -> Principal | None:
        """The caller; None if the credentials are of another kind.

        Unauthorized if they are not valid, UpstreamBusy if they cannot be checked now.
        """


class NotProven(Unauthorized):
    """Credentials that are not valid. Only the log has the reason, as a client that guesses could use it."""

    def __init__(self, reason: str) -> None:
        super().__init__("the credentials are not valid")
        self.reason = reason
