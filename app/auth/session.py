"""Sessions of people: a signed cookie in the place of credentials. Runs in the web processes.

A session is self-contained: who signed in, by which way of AUTH, and when. Its rights are not in it. They follow from
the principal at each request, as for every other caller. What is in the cookie can be read, but not changed. It has
neither a password nor a token.

A session ends 15 minutes after its last use, 12 hours after the login, when it is revoked, and when its user, password
or token is no longer valid. One of an issuer ends an hour after the issuer vouched for its user last.
"""

import hashlib
import json
import secrets
import time
from collections.abc import Callable, Mapping
from dataclasses import replace
from hmac import compare_digest
from typing import Protocol

from itsdangerous import BadData, Signer
from itsdangerous.encoding import base64_decode, base64_encode

from app.auth.principal import Credentials, Kept, NotProven, Principal, Session

IDLE_SECONDS = 15 * 60
LONGEST_SECONDS = 12 * 3600
VOUCHED_SECONDS = 3600
RENEWED_SECONDS = 5 * 60
"""The age at which a session that is used gets a new cookie."""

LARGEST_BYTES = 3800
"""The longest token: browsers keep 4096 bytes of a cookie, its name and attributes included."""

_CLOCK_SECONDS = 60.0  # the clocks of two hosts may differ by as much
_SALT = "console session"


class SessionEnded(NotProven):
    """A session of ours that is over. No sign of an attack: browsers go on sending its cookie."""


class TooLarge(Exception):
    """What a session must keep does not fit into a cookie."""


class Way(Protocol):
    """One way to sign in, as sessions know it."""

    def keep(self, principal: Principal, proof: str) -> Kept:
        """What a session keeps of a principal who has just signed in, by the proof of a token."""

    def recall(self, kept: Kept) -> Principal | None:
        """The principal of a session, as known now; None if there is no such user any more."""


class Revoked(Protocol):
    """The sessions that were revoked."""

    def add(self, session_id: str, until: float, now: float) -> None:
        """Note that a session is revoked; its cookies expire before `until`."""

    def has(self, session_id: str, renewed: float) -> bool:
        """Whether a session is revoked, which was last renewed at a time."""


class Sessions:
    """Makes, reads, renews and revokes sessions; the authenticator for them."""

    challenge = ""

    def __init__(
        self,
        key: bytes,
        ways: Mapping[str, Way],
        revocations: Revoked,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._signer = Signer(key, _SALT, key_derivation="hmac", digest_method=hashlib.sha256)
        self._ways = ways
        self._revocations = revocations
        self._clock = clock

    def open(self, principal: Principal, proof: str = "") -> Session:
        """A new session, with an ID that nobody has had before. Whatever session the browser had is none of it."""
        now, kept = self._clock(), self._ways[principal.scheme].keep(principal, proof)
        return Session(secrets.token_urlsafe(16), principal, kept, started=now, renewed=now, vouched=now)

    def token(self, session: Session) -> str:
        """The token of a session, signed; TooLarge if it does not fit into a cookie."""
        kept, way = session.kept, session.principal.scheme
        times = [round(at, 3) for at in (session.started, session.renewed, session.vouched)]
        members = [session.session_id, way, kept.name, kept.mark, kept.groups, kept.claims, *times]
        token = self._signer.sign(base64_encode(json.dumps(members, separators=(",", ":")))).decode()
        if len(token) > LARGEST_BYTES:
            raise TooLarge
        return token

    def principal(self, credentials: Credentials) -> Principal | None:
        """The user of the session; None without one, NotProven if it is forged, SessionEnded if it is over."""
        if credentials.scheme or not credentials.session:
            return None
        session = self.read(credentials.session)
        return replace(session.principal, session=session)

    def read(self, token: str) -> Session:
        """The session of a token; NotProven if it is forged, SessionEnded if it is over."""
        way, kept, session_id, times = self._unsigned(token)
        now = self._clock()
        started, renewed, vouched = times
        over = (
            not renewed - _CLOCK_SECONDS <= now < renewed + IDLE_SECONDS
            or now >= started + LONGEST_SECONDS
            or (way == "oidc" and now >= vouched + VOUCHED_SECONDS)
        )
        if over or self._revocations.has(session_id, renewed):
            raise SessionEnded("the session has ended")
        principal = self._ways[way].recall(kept) if way in self._ways else None
        if principal is None:
            raise SessionEnded("the user of the session is no longer known")
        return Session(session_id, principal, kept, *times)

    def renewed(self, session: Session) -> Session | None:
        """The session with a later end, if it is time for one; None otherwise."""
        now = self._clock()
        return replace(session, renewed=now) if now >= session.renewed + RENEWED_SECONDS else None

    def vouched(self, session: Session, principal: Principal | None = None) -> Session:
        """The session of a user for whom the issuer has just vouched again, perhaps with other claims."""
        now, known = self._clock(), principal or session.principal
        kept = self._ways[known.scheme].keep(known, "") if principal else session.kept
        return replace(session, principal=known, kept=kept, renewed=now, vouched=now)

    def revoke(self, session: Session) -> None:
        """End a session, with every cookie that it ever had."""
        now = self._clock()
        self._revocations.add(session.session_id, now + IDLE_SECONDS + 2 * _CLOCK_SECONDS, now)

    def vouched_ago(self, session: Session) -> float:
        """Seconds since the issuer vouched for the user."""
        return self._clock() - session.vouched

    def _unsigned(self, token: str) -> tuple[str, Kept, str, tuple[float, float, float]]:
        """The members of a token; NotProven if we have not signed it, byte for byte."""
        try:
            payload = self._signer.unsign(token)
            if not compare_digest(self._signer.sign(payload), token.encode()):  # base64 has several texts for one value
                raise NotProven("a forged session")
            session_id, way, name, mark, groups, claims, *times = json.loads(base64_decode(payload))
            return way, Kept(name, mark, tuple(groups), claims), session_id, tuple(times)
        except (BadData, ValueError) as error:
            raise NotProven("a forged session") from error
