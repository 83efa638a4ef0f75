"""The checks of logins: the servers whose keys verify tokens, and whether people can sign in at the console."""

import logging
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from functools import partial

import jwt

from app.auth.alb import public_keys_url
from app.auth.cookies import CookieJar
from app.auth.keys import fetch, fetch_key_set, find_document, find_key_set
from app.check_result import ERROR, OK, WARNING, CheckResult
from app.commands.remote import Remote, asking, until_error
from app.settings import Settings

_NO_KEY = "00000000-0000-0000-0000-000000000000"
_PEOPLE = "login of people"
_ENDPOINTS = ("authorization_endpoint", "token_endpoint")
_ADVICE = "let the service reach it: until then it answers 503 to tokens whose key it has not cached"


def check_login(settings: Settings) -> Iterator[CheckResult]:
    """The keys that verify tokens can be fetched, and people can sign in; no result for ways that need neither."""
    logging.getLogger("app.auth.keys").setLevel(logging.CRITICAL)  # the result says it
    for way in settings.auth:
        if way in _CHECKS:
            yield from until_error("login", _ADVICE, partial(_CHECKS[way], settings))
    if settings.console and settings.auth:
        yield from _check_people(settings)


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
    if settings.console and settings.oidc_client_id:
        with asking(Remote.from_url(issuer), "its discovery document", LookupError, ValueError):
            document = find_document(issuer)
        if missing := [name for name in _ENDPOINTS if not document.get(name)]:
            told = f"the issuer names no {' and no '.join(missing)}"
            yield CheckResult(_PEOPLE, ERROR, told, "ask whoever runs it for the authorization code flow")


def _check_people(settings: Settings) -> Iterator[CheckResult]:
    """Whether people have a way to sign in at the console, and over a connection that nobody can listen to."""
    ways = [way for way in settings.auth if way != "oidc" or settings.oidc_client_id]
    if not ways:
        advice = "set OIDC_CLIENT_ID to the client that the issuer has for this service, or CONSOLE to false"
        yield CheckResult(_PEOPLE, WARNING, "nobody can sign in at the console", advice)
    elif set(ways) != {"alb"} and settings.public_url and not CookieJar(settings.public_url).safe:
        advice = "set PUBLIC_URL to the https URL of a proxy in front of the service"
        yield CheckResult(_PEOPLE, WARNING, "nobody can sign in at the console: PUBLIC_URL is plain http", advice)
    else:
        yield CheckResult(_PEOPLE, OK, f"people sign in at the console by {', '.join(ways)}")


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
