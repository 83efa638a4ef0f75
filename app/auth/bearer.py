"""Static tokens (RFC 6750), for programs. The file has their SHA-256: `name:hash[:group,group]`.

A token has 256 random bits, so that a plain hash is enough: there is nothing to guess.
"""

import hashlib
import re
import secrets
from collections.abc import Mapping
from pathlib import Path

from app.auth.principal import Credentials, NotProven, Principal

_LINE = re.compile(r"(?P<name>[^:]+):(?P<hash>[0-9a-f]{64})(?::(?P<groups>[^:]*))?\Z")
PREFIX = "adp_"
"""What our tokens begin with, so that scanners for leaked secrets know them, and OIDC does not try them."""


def new_token(name: str, groups: str = "") -> tuple[str, str]:
    """A new token, and the line that makes it valid."""
    token = PREFIX + secrets.token_urlsafe(32)
    return token, ":".join(filter(None, (name, _hash(token), groups)))


def parse_tokens(path: Path) -> dict[str, Principal]:
    """Who has the token of each hash; ValueError where a line is not `name:hash[:groups]`."""
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
    """Who has one of the tokens."""

    challenge = 'Bearer realm="DICOMweb"'

    def __init__(self, tokens: Mapping[str, Principal]) -> None:
        self._tokens = tokens

    def principal(self, credentials: Credentials) -> Principal | None:
        """Who it is, by a token of ours."""
        if credentials.scheme != "bearer" or not credentials.value.startswith(PREFIX):
            return None
        try:
            return self._tokens[_hash(credentials.value)]  # by hash: no comparison tells how much was right
        except KeyError:
            raise NotProven("unknown token") from None


def _hash(token: str) -> str:
    return hashlib.sha256(token.encode()).hexdigest()
