"""From the claims of a token to a principal: only what the issuer guarantees is a name (OpenID Connect Core 5.7).

`sub` is one person for good. Of `preferred_username` and `name` people may choose the value themselves, and of `email`
too, unless the issuer has verified it.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from app.auth.principal import NotProven, Principal

SUBJECT = "sub"
_EMAIL, _VERIFIED = "email", "email_verified"


@dataclass(frozen=True)
class ClaimNames:
    """The claims that have the name and the groups; each may be a dotted path."""

    name: str = SUBJECT
    groups: str = "groups"

    def principal(self, scheme: str, claims: Mapping[str, Any]) -> Principal:
        """Who the claims speak of; NotProven where they do not tell the name."""
        guaranteed = _guaranteed(claims)
        name, groups = _at(guaranteed, self.name), _at(guaranteed, self.groups)
        if not isinstance(name, str) or not name:
            raise NotProven(f"the token has no claim {self.name}, or one that is not verified")
        listed = groups.split() if isinstance(groups, str) else groups if isinstance(groups, list) else []
        return Principal(name, frozenset(group for group in listed if isinstance(group, str)), guaranteed, scheme)


USUAL = ClaimNames()


def _guaranteed(claims: Mapping[str, Any]) -> Mapping[str, Any]:
    """The claims without an address that nobody has verified; Amazon Cognito writes the flag as text."""
    verified = claims.get(_VERIFIED)
    if verified is True or verified == "true":
        return dict(claims)
    return {name: value for name, value in claims.items() if name != _EMAIL}


def _at(claims: Mapping[str, Any], path: str) -> Any:
    """The claim of that name, or at the end of that dotted path; None where there is none."""
    if path in claims:
        return claims[path]
    found: Any = claims
    for step in path.split("."):
        found = found.get(step) if isinstance(found, Mapping) else None
    return found
