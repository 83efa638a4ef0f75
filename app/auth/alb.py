"""Logins at an AWS application load balancer: the header X-Amzn-Oidc-Data, which it signs (ES256).

The signer in the token's header must be our own load balancer. The keys of all others of AWS are in the same place.
"""

import time
from typing import Any

import jwt

from app.auth.claims import DEFAULT_NAMES, ClaimNames
from app.auth.keys import KeysByUrl
from app.auth.oidc import LEEWAY_SECONDS, header_of
from app.auth.principal import Credentials, NotProven, Principal

_ALGORITHMS = ("ES256",)


def public_keys_url(load_balancer_arn: str) -> str:
    """The URL below which AWS publishes the keys of the load balancers of that region."""
    return f"https://public-keys.auth.elb.{load_balancer_arn.split(':')[3]}.amazonaws.com"


class Alb:
    """The authenticator for users whom our load balancer has logged in."""

    challenge = ""

    def __init__(self, load_balancer_arn: str, keys: KeysByUrl, names: ClaimNames = DEFAULT_NAMES) -> None:
        self._load_balancer_arn = load_balancer_arn
        self._keys = keys
        self._names = names

    def principal(self, credentials: Credentials) -> Principal | None:
        """The user that the load balancer names; None without its header, NotProven if its token is not valid."""
        token = credentials.alb_data
        if not token:
            return None
        header = header_of(token, _ALGORITHMS)
        if header.get("signer") != self._load_balancer_arn:
            raise NotProven("signed by another load balancer")
        if not _in_time(header.get("exp")):
            raise NotProven("expired")
        try:
            claims = jwt.decode(token, self._keys.key(header.get("kid")), _ALGORITHMS, leeway=LEEWAY_SECONDS,
                                options={"require": ["sub"], "verify_aud": False})  # fmt: skip
        except (jwt.PyJWTError, ValueError, TypeError) as error:
            raise NotProven(type(error).__name__) from error
        return self._names.principal("alb", claims)


def _in_time(expires: Any) -> bool:
    """Whether `exp` of the header is in the future: seconds since 1970, as a number or as text."""
    try:
        return float(expires) > time.time() - LEEWAY_SECONDS
    except (TypeError, ValueError, OverflowError):
        return False
