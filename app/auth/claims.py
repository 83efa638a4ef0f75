"""From the claims of a token to a principal: a name must be guaranteed by the issuer (OpenID Connect Core 5.7).

`sub` is the same person forever. Users may be able to choose `preferred_username` and `name`, and also `email`, unless
the issuer has verified it.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from app.auth.principal import NotProven, Principal

SUBJECT = "sub"
_EMAIL, _VERIFIED = "email", "email_verified"


@dataclass(frozen=True)
class ClaimNames:
    """The names of the claims that hold the user's name and groups; each may be a dotted path."""

    name: str = SUBJECT
    groups: str = "groups"

    def principal(self, scheme: str, claims: Mapping[str, Any]) -> Principal:
        """The principal that the claims describe; NotProven if they have no name."""
        guaranteed = _guaranteed(claims)
        name, groups = _at(guaranteed, self.name), _at(guaranteed, self.groups)
        if not isinstance(name, str) or not name:
            raise NotProven(f"the token has no claim {self.name}, or one that is not verified")
        listed = groups.split() if isinstance(groups, str) else groups if isinstance(groups, list) else []
        return Principal(name, frozenset(group for group in listed if isinstance(group, str)), guaranteed, scheme)


DEFAULT_NAMES = ClaimNames()


def _guaranteed(claims: Mapping[str, Any]) -> Mapping[str, Any]:
    """The claims, without an email address that is not verified. Amazon Cognito writes that flag as text."""
    verified = claims.get(_VERIFIED)
    if verified is True or verified == "true":
        return dict(claims)
    return {name: value for name, value in claims.items() if name != _EMAIL}


def _at(claims: Mapping[str, Any], path: str) -> Any:
    """The claim of that name, or at the end of that dotted path; None if there is none."""
    if path in claims:
        return claims[path]
    value: Any = claims
    for step in path.split("."):
        value = value.get(step) if isinstance(value, Mapping) else None
    return value
