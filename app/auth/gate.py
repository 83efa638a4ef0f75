"""The gate: the ways to prove who one is, and the scope of each caller."""

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from app.auth.access_rules import AccessRule, grant_of
from app.auth.issuer_login import IssuerLogin
from app.auth.links import Link, Links
from app.auth.principal import ANYONE, Authenticator, Credentials, NotProven, Principal
from app.auth.rights import ALL_RIGHTS, Grant, Right
from app.auth.session import Sessions
from db.scope import EVERYTHING
from dicomweb.errors import Forbidden, NotFound, Unauthorized

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Gate:
    """The authentication and the access rules of the service.

    Without `authenticators` everybody is anonymous. `rules` is None if all callers may see everything. `links` is None
    if there are no share links. `query_tokens` tells whether a token may be a query parameter. `ways` are the
    authenticators of AUTH by their names. `sessions`, the last authenticator, and `issuer_login` are for people.
    """

    authenticators: Sequence[Authenticator] = ()
    rules: Sequence[AccessRule] | None = None
    links: Links | None = None
    query_tokens: bool = False
    ways: Mapping[str, Authenticator] = field(default_factory=dict)
    sessions: Sessions | None = None
    issuer_login: IssuerLogin | None = None

    def identify(self, credentials: Credentials) -> Principal:
        """The caller, as the first authenticator that knows these credentials says; Unauthorized if none does."""
        if not self.authenticators:
            return ANYONE
        challenges = () if credentials.of_page else self._challenges
        for authenticator in self.authenticators:
            try:
                principal = authenticator.principal(credentials)
            except NotProven as error:
                log.warning("credentials refused reason=%s", error.reason)
                raise Unauthorized(str(error), challenges) from error
            if principal:
                return principal
        raise Unauthorized("a login is required", challenges)

    def grant(self, principal: Principal, ae_title: str) -> Grant:
        """The grant of the principal below an AE title: scope and rights; Forbidden if no rule allows anything.

        Without a login, everybody may do everything: such a service stores only for its own machine.
        """
        if not self.authenticators:
            return Grant(EVERYTHING, ALL_RIGHTS)
        return grant_of(self.rules, principal, ae_title)

    def rights(self, principal: Principal, ae_title: str) -> frozenset[Right]:
        """The rights of the principal below an AE title; empty if no rule allows anything."""
        try:
            return self.grant(principal, ae_title).rights
        except Forbidden:
            return frozenset()

    def open_link(self, text: str, cookies: Mapping[str, str]) -> tuple[str, Link]:
        """The token and the share link that a path names; NotFound for a link that is not valid."""
        if self.links is None:
            raise NotFound("share links are not enabled")
        token = self.links.token_of(text, cookies)
        return token, self.links.read(token)

    @property
    def has_login_page(self) -> bool:
        """Whether people can sign in by a page of the console."""
        return bool(self.sessions) and bool(self.issuer_login or {"basic", "bearer"} & self.ways.keys())

    @property
    def _challenges(self) -> tuple[str, ...]:
        return tuple(dict.fromkeys(one.challenge for one in self.authenticators if one.challenge))
