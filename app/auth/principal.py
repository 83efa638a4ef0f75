"""The caller of a request, and the credentials that prove it."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol

from dicomweb.errors import Unauthorized


@dataclass(frozen=True)
class Principal:
    """A caller: name, groups, and the claims of the token.

    `scheme` is the way of AUTH that vouches for the name, "" without a login. The same name in another scheme is
    another caller.
    """

    name: str
    groups: frozenset[str] = frozenset()
    claims: Mapping[str, Any] = field(default_factory=dict, compare=False)
    scheme: str = ""

    @property
    def user(self) -> str:
        """The name for logs, the audit trail and the rate limit: `basic:anna`; no two principals share one."""
        return f"{self.scheme}:{self.name}" if self.scheme else self.name


ANYONE = Principal("anonymous")
"""The caller of a service without a login."""


@dataclass(frozen=True)
class Credentials:
    """The credentials of a request: `scheme` (lower case) and `value` of Authorization, and the header of the ALB."""

    scheme: str = ""
    value: str = ""
    alb_data: str = ""

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
