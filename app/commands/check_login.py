"""The checks of logins: the servers whose keys verify tokens."""

import logging
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from functools import partial

import jwt

from app.auth.alb import public_keys_url
from app.auth.keys import fetch, fetch_key_set, find_key_set
from app.commands.check_result import OK, CheckResult
from app.commands.remote import Remote, asking, until_error
from app.settings import Settings

_NO_KEY = "00000000-0000-0000-0000-000000000000"
_ADVICE = "let the service reach it: until then it answers 503 to tokens whose key it has not cached"


def check_login(settings: Settings) -> Iterator[CheckResult]:
    """The keys that verify tokens can be fetched; no result for ways of AUTH that need none."""
    logging.getLogger("app.auth.keys").setLevel(logging.CRITICAL)  # the result says it
    for way in settings.auth:
        if way in _CHECKS:
            yield from until_error("login", _ADVICE, partial(_CHECKS[way], settings))


def _check_issuer(settings: Settings) -> Iterator[CheckResult]:
    """The issuer of OpenID Connect tells its keys, which may be on another host."""
    issuer = settings.oidc_issuer
    if not issuer:
        return  # check_settings tells
    with asking(Remote.from_url(issuer), "its discovery document", LookupError, ValueError):
        url = find_key_set(issuer)
    with asking(Remote.from_url(url), "the keys of the issuer", LookupError, ValueError, jwt.PyJWTError):
        keys = fetch_key_set(url)
    yield CheckResult("login", OK, f"the issuer has {len(keys)} keys")


def _check_load_balancer(settings: Settings) -> Iterator[CheckResult]:
    """AWS answers where the keys of load balancers are; that there is no such key is an answer."""
    if not settings.alb_arn:
        return
    url = settings.alb_public_keys_url or public_keys_url(settings.alb_arn)
    with asking(Remote.from_url(url), "the keys of load balancers"), suppress(LookupError):
        fetch(f"{url.rstrip('/')}/{_NO_KEY}")
    yield CheckResult("login", OK, "the keys of the load balancer can be fetched")


_CHECKS: Mapping[str, Callable[[Settings], Iterator[CheckResult]]] = {
    "oidc": _check_issuer,
    "alb": _check_load_balancer,
}
