"""Tokens of an OpenID Connect issuer (RFC 7519, RFC 8725): signature, algorithm, issuer, audience and times."""

from collections.abc import Mapping, Sequence
from typing import Any

import jwt

from app.auth.bearer import PREFIX
from app.auth.claims import DEFAULT_NAMES, ClaimNames
from app.auth.keys import IssuerKeys
from app.auth.principal import Credentials, NotProven, Principal

LEEWAY_SECONDS = 60


class Oidc:
    """The authenticator for tokens of one issuer, for one of the audiences, signed with one of the algorithms."""

    challenge = 'Bearer realm="DICOMweb"'

    def __init__(
        self,
        issuer: str,
        audiences: Sequence[str],
        algorithms: Sequence[str] = ("RS256",),
        names: ClaimNames = DEFAULT_NAMES,
    ) -> None:
        self._keys = IssuerKeys(issuer)
        self._issuer = issuer
        self._audiences = list(audiences)
        self._algorithms = list(algorithms)
        self._names = names

    def principal(self, credentials: Credentials) -> Principal | None:
        """The user of the token; None for other credentials, NotProven if the token is not valid."""
        if credentials.scheme != "bearer" or credentials.value.startswith(PREFIX):
            return None
        return self._names.principal("oidc", self.claims(credentials.value))

    def claims(self, token: str) -> Mapping[str, Any]:
        """The claims of a token; NotProven if it is not valid, UpstreamBusy if that cannot be checked now."""
        key = self._keys.key(header_of(token, self._algorithms).get("kid"))
        try:
            claims: Mapping[str, Any] = jwt.decode(
                token,
                key,
                algorithms=self._algorithms,
                issuer=self._issuer,
                audience=self._audiences,
                leeway=LEEWAY_SECONDS,
                options={"require": ["exp", "iss", "aud", "sub"]},
            )
        except (jwt.PyJWTError, ValueError, TypeError) as error:  # the latter two from claims of odd types
            raise NotProven(type(error).__name__) from error
        return claims


def header_of(token: str, algorithms: Sequence[str]) -> Mapping[str, Any]:
    """The header of a token, not verified; NotProven if the token is malformed, or of another algorithm."""
    try:
        header = jwt.get_unverified_header(token)
    except (jwt.PyJWTError, RecursionError) as error:  # the latter for JSON that is nested thousands of times
        raise NotProven(type(error).__name__) from error
    if header.get("alg") not in algorithms:
        raise NotProven("signed with another algorithm")
    return header
