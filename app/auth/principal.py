"""Who calls, and what they say to prove it."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol

from dicomweb.errors import Unauthorized


@dataclass(frozen=True)
class Principal:
    """Who calls: their name, the groups they belong to, and all that is claimed of them.

    `scheme` is the way of AUTH that vouches for the name, "" where nobody was asked: the same name by another way is
    somebody else.
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
"""Who calls where nobody is asked."""


@dataclass(frozen=True)
class Credentials:
    """What a request says of who sends it: `scheme` (lower case) and `value` of Authorization, and ALB's own header."""

    scheme: str = ""
    value: str = ""
    alb_data: str = ""

    @classmethod
    def of_request(cls, headers: Mapping[str, str], query_token: str | None) -> "Credentials":
        """Those of the headers; a token from the query, if that is allowed, counts where there is no Authorization."""
        scheme, _, value = headers.get("Authorization", "").strip().partition(" ")
        if not scheme and query_token:
            scheme, value = "bearer", query_token
        return cls(scheme.lower(), value.strip(), headers.get("X-Amzn-Oidc-Data", ""))


class Authenticator(Protocol):
    """One way to prove who one is."""

    @property
    def challenge(self) -> str:
        """What WWW-Authenticate says of it; "" for a way that no client can choose."""

    def principal(self, credentials: Credentials) -> Principal | None:
        """Who it is; None where the credentials are not of this kind.

        Unauthorized where they are and do not hold, UpstreamBusy where that cannot be told for now.
        """


class NotProven(Unauthorized):
    """Credentials that do not hold. Why is for the log: a client that guesses should not learn from it."""

    def __init__(self, reason: str) -> None:
        super().__init__("the credentials are not valid")
        self.reason = reason
