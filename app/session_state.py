"""What all web processes of a host share about logins: the key of sessions, those revoked, failed attempts, links, and
when files of users and tokens changed.

Made before the fork.
"""

import secrets
from dataclasses import dataclass, field, replace
from functools import partial

from app.auth.revocations import Revocations
from app.auth.session import Revoked
from app.auth.shared_links import HostShareLinks, ShareLinks
from app.middleware.rate_limiter import RateLimiter
from app.settings import Settings
from runtime.changes import Changes

_NAME_FAILURES, _NAME_SECONDS = 10, 60.0
_ADDRESS_FAILURES, _ADDRESS_SECONDS = 50, 6.0
"""Failures that are free, and the seconds after which one more is: of a name, and of an address with many people."""


@dataclass(frozen=True)
class SessionState:
    """Key, revocations and limits. Their memory is bounded: it has a fixed number of places."""

    key: bytes = field(default_factory=partial(secrets.token_bytes, 32))
    memory: Revocations = field(default_factory=Revocations)
    everywhere: Revoked | None = None
    login_files: Changes = field(default_factory=Changes)
    host_links: HostShareLinks = field(default_factory=HostShareLinks)
    links_everywhere: ShareLinks | None = None
    of_name: RateLimiter = field(default_factory=partial(RateLimiter, 1 / _NAME_SECONDS, _NAME_FAILURES))
    renewals: RateLimiter = field(default_factory=partial(RateLimiter, 0.1, 1))
    of_address: RateLimiter = field(default_factory=partial(RateLimiter, 1 / _ADDRESS_SECONDS, _ADDRESS_FAILURES))

    @property
    def revocations(self) -> Revoked:
        """The revoked sessions: those that all hosts know, or those of this one."""
        return self.everywhere or self.memory

    @property
    def share_links(self) -> ShareLinks:
        """The share links: those that all hosts know, or those of this one."""
        return self.links_everywhere or self.host_links

    def with_secret(self, settings: Settings) -> "SessionState":
        """The same with SESSION_SECRET as the key, if it is set."""
        return replace(self, key=settings.session_secret.encode()) if settings.session_secret else self
