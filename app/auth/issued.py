"""What sessions keep of a principal whom an issuer vouches for: the groups and claims that the rules ask for.

A token may have more than fits into a cookie. Another set of rules asks for other claims: then the session ends.
"""

import json
from collections.abc import Sequence

from app.auth.access_rules import AccessRule
from app.auth.principal import Kept, Principal, mark_of


class Issued:
    """The way to sign in at an issuer, as sessions know it."""

    def __init__(self, issuer: str, rules: Sequence[AccessRule] | None) -> None:
        self._groups = frozenset(rule.group for rule in rules or () if rule.group is not None)
        self._claims = frozenset(claim for rule in rules or () for claim, _ in rule.claims)
        self._mark = mark_of(json.dumps([issuer, sorted(self._groups), sorted(self._claims)]))

    def keep(self, principal: Principal, _proof: str = "") -> Kept:
        """The name, and what the rules ask for."""
        claims = {name: principal.claims[name] for name in sorted(self._claims & principal.claims.keys())}
        return Kept(principal.name, self._mark, tuple(sorted(self._groups & principal.groups)), claims)

    def recall(self, kept: Kept) -> Principal | None:
        """The principal, if the rules still ask for the same."""
        if kept.mark != self._mark:
            return None
        return Principal(kept.name, frozenset(kept.groups), kept.claims, "oidc")
