"""Static tokens (RFC 6750) for programs. The file has lines with their SHA-256: `name:hash[:group,group]`.

A token has 256 random bits. A plain hash is enough for it, as it cannot be guessed.
"""

import hashlib
import re
import secrets
from collections.abc import Mapping
from pathlib import Path

from app.auth.principal import Credentials, Kept, NotProven, Principal, mark_of

_LINE = re.compile(r"(?P<name>[^:]+):(?P<hash>[0-9a-f]{64})(?::(?P<groups>[^:]*))?\Z")
PREFIX = "adp_"
"""The beginning of our tokens: scanners for leaked secrets recognise it, and `oidc` skips such tokens."""


def new_token(name: str, groups: str = "") -> tuple[str, str]:
    """A new token, and the line that makes it valid."""
    token = PREFIX + secrets.token_urlsafe(32)
    return token, ":".join(filter(None, (name, _hash(token), groups)))


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
        tokens[match["hash"]] = Principal(match["name"], frozenset(filter(None, groups)), scheme="bearer")
    return tokens


class Bearer:
    """The authenticator for static tokens."""

    challenge = 'Bearer realm="DICOMweb"'

    def __init__(self, tokens: Mapping[str, Principal]) -> None:
        self._tokens = tokens
        self._by_mark = {mark_of(token_hash): principal for token_hash, principal in tokens.items()}

    def principal(self, credentials: Credentials) -> Principal | None:
        """The program that has this token; None for other credentials, NotProven for an unknown token."""
        if credentials.scheme != "bearer" or not credentials.value.startswith(PREFIX):
            return None
        try:
            return self._tokens[_hash(credentials.value)]  # by hash: the time does not tell how much was right
        except KeyError:
            raise NotProven("unknown token") from None

    def keep(self, principal: Principal, proof: str) -> Kept:
        """`proof` is the token; the session ends when the line of the token is removed."""
        return Kept(principal.name, mark_of(_hash(proof)))

    def recall(self, kept: Kept) -> Principal | None:
        """The program, if the file still has a token of it, with its groups of now."""
        known = self._by_mark.get(kept.mark)
        return known if known and known.name == kept.name else None


def _hash(token: str) -> str:
    return hashlib.sha256(token.encode()).hexdigest()
