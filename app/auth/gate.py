"""The gate: the ways to prove who one is, and the scope of each caller."""

import logging
from collections.abc import Sequence
from dataclasses import dataclass

from app.auth.access_rules import AccessRule, scope_of
from app.auth.links import Links
from app.auth.principal import ANYONE, Authenticator, Credentials, NotProven, Principal
from db.scope import Scope
from dicomweb.errors import NotFound, Unauthorized

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Gate:
    """The authentication and the access rules of the service.

    Without `authenticators` everybody is anonymous. `rules` is None if all callers may see everything. `links` is None
    if there are no share links. `query_tokens` tells whether a token may be a query parameter.
    """

    authenticators: Sequence[Authenticator] = ()
    rules: Sequence[AccessRule] | None = None
    links: Links | None = None
    query_tokens: bool = False

    def identify(self, credentials: Credentials) -> Principal:
        """The caller, as the first authenticator that knows these credentials says; Unauthorized if none does."""
        if not self.authenticators:
            return ANYONE
        for authenticator in self.authenticators:
            try:
                principal = authenticator.principal(credentials)
            except NotProven as error:
                log.warning("credentials refused reason=%s", error.reason)
                raise Unauthorized(str(error), self._challenges) from error
            if principal:
                return principal
        raise Unauthorized("a login is required", self._challenges)

    def scope(self, principal: Principal, ae_title: str) -> Scope:
        """The part of an AE title that the principal may see; Forbidden if no rule allows anything."""
        return scope_of(self.rules, principal, ae_title)

    def link_scope(self, token: str) -> Scope:
        """The part of the archive that a share link shows; NotFound for a link that is not valid."""
        if self.links is None:
            raise NotFound("share links are not enabled")
        return self.links.read(token).scope

    @property
    def _challenges(self) -> tuple[str, ...]:
        return tuple(dict.fromkeys(one.challenge for one in self.authenticators if one.challenge))
