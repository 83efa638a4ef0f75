"""Static tokens (RFC 6750) for programs. The file has lines with their SHA-256: `name:hash[:group,group[:last day]]`.

A token has 256 random bits. A plain hash is enough for it, as it cannot be guessed.
"""

import hashlib
import re
import secrets
from collections.abc import Callable, Mapping
from datetime import date, datetime, timezone
from pathlib import Path

from app.auth.login_file import LoginFile
from app.auth.principal import Credentials, Kept, NotProven, Principal, mark_of

_LINE = re.compile(r"(?P<name>[^:]+):(?P<hash>[0-9a-f]{64})(?::(?P<groups>[^:]*))?(?::(?P<until>[0-9-]{10}))?\Z")
PREFIX = "adp_"
"""The beginning of our tokens: scanners for leaked secrets recognise it, and `oidc` skips such tokens."""


def new_token(name: str, groups: str = "", until: date | None = None) -> tuple[str, str]:
    """A new token, and the line that makes it valid, up to the end of a day in UTC if `until` is one."""
    token = PREFIX + secrets.token_urlsafe(32)
    parts = [name, _hash(token), groups, until.isoformat() if until else ""]
    while not parts[-1]:
        parts.pop()
    return token, ":".join(parts)


def parse_tokens(path: Path) -> dict[str, Principal]:
    """Parse the principal of each hash; ValueError for a line that is not `name:hash[:groups]`."""
    tokens: dict[str, Principal] = {}
    for number, line in enumerate(path.read_text("utf-8").splitlines(), 1):
        text = line.strip()
        if not text or text.startswith("#"):
            continue
        match = _LINE.match(text)
        if not match:
            raise ValueError(f"line {number} of {path} is not a name and the SHA-256 of a token")
        groups = (group.strip() for group in (match["groups"] or "").split(","))
        until = _day(match["until"], f"line {number} of {path}")
        tokens[match["hash"]] = Principal(match["name"], frozenset(filter(None, groups)), scheme="bearer", until=until)
    return tokens


def _day(text: str | None, where: str) -> date | None:
    try:
        return date.fromisoformat(text) if text else None
    except ValueError:
        raise ValueError(f"{where} ends with something else than a day like 2027-01-31") from None


class Bearer:
    """The authenticator for static tokens."""

    challenge = 'Bearer realm="DICOMweb"'

    def __init__(self, tokens: Mapping[str, Principal] | Callable[[], Mapping[str, Principal]]) -> None:
        """`tokens` has the principal of each hash; a function gives the ones of now."""
        self._find_tokens = tokens if callable(tokens) else lambda: tokens
        self.file = tokens if isinstance(tokens, LoginFile) else None
        self._marks: tuple[Mapping[str, Principal], Mapping[str, Principal]] = ({}, {})

    def principal(self, credentials: Credentials) -> Principal | None:
        """The program that has this token; None for other credentials, NotProven for an unknown token."""
        if credentials.scheme != "bearer" or not credentials.value.startswith(PREFIX):
            return None
        found = self._find_tokens().get(_hash(credentials.value))  # by hash: the time does not tell how much was right
        if found is None:
            raise NotProven("unknown token")
        if is_over(found):
            raise NotProven("the token has ended")
        return found

    @property
    def tokens(self) -> Mapping[str, Principal]:
        """The principal of each token, by its mark, which is no secret."""
        tokens = self._find_tokens()
        known, marks = self._marks
        if known is not tokens:
            marks = {mark_of(token_hash): principal for token_hash, principal in tokens.items()}
            self._marks = (tokens, marks)
        return marks

    def keep(self, principal: Principal, proof: str) -> Kept:
        """`proof` is the token; the session ends when the line of the token is removed."""
        return Kept(principal.name, mark_of(_hash(proof)))

    def recall(self, kept: Kept) -> Principal | None:
        """The program, if the file still has a token of it, with its groups of now."""
        known = self.tokens.get(kept.mark)
        return known if known and known.name == kept.name and not is_over(known) else None


def is_token(line: str, mark: str) -> bool:
    """Whether a line of the file makes the token of a mark valid."""
    match = _LINE.match(line.strip())
    return match is not None and mark_of(match["hash"]) == mark


def is_over(principal: Principal) -> bool:
    """Whether the last day of a token is over."""
    return principal.until is not None and datetime.now(timezone.utc).date() > principal.until


def _hash(token: str) -> str:
    return hashlib.sha256(token.encode()).hexdigest()
