"""The gate, as the settings describe it."""

from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import TypeVar

from app.auth.access_rules import parse_access_rules
from app.auth.alb import Alb, public_keys_url
from app.auth.basic import Basic, parse_users
from app.auth.bearer import Bearer, parse_tokens
from app.auth.claims import ClaimNames
from app.auth.gate import Gate
from app.auth.issued import Issued
from app.auth.issuer_login import Client, IssuerLogin
from app.auth.keys import KeysByUrl
from app.auth.links import Links
from app.auth.login_file import LoginFile
from app.auth.oidc import Oidc
from app.auth.principal import Authenticator, Principal
from app.auth.session import Sessions
from app.session_state import SessionState
from app.settings import Settings, SettingsError
from runtime.changes import Changes

T = TypeVar("T")


def open_gate(settings: Settings, state: SessionState | None = None) -> Gate:
    """Make the gate, and read its files; SettingsError if a file or a setting is missing or wrong.

    With the `state` that processes share, people may sign in at the console.
    """
    parse = partial(parse_access_rules, ways=settings.auth)
    rules = _read("ACCESS_RULES", settings.access_rules, parse) if settings.access_rules else None
    if rules is not None and not settings.auth:
        raise SettingsError("ACCESS_RULES says what callers may see, but AUTH has no login")
    links = _links(settings.link_secret, state) if settings.link_secret else None
    changes = state.login_files if state else None
    ways = {way: _WAYS[way](settings, changes) for way in settings.auth}
    sessions = None
    if state and ways and settings.console:
        known = {way: one for way, one in ways.items() if isinstance(one, Basic | Bearer)}
        issued = {"oidc": Issued(settings.oidc_issuer or "", rules)} if "oidc" in ways else {}
        sessions = Sessions(state.key, {**known, **issued}, state.revocations)
    authenticators = [*ways.values(), *([sessions] if sessions else [])]
    issuer_login = _issuer_login(settings) if sessions else None
    return Gate(authenticators, rules, links, settings.auth_query_token, ways, sessions, issuer_login)


def _links(secret: str, state: SessionState | None) -> Links:
    return Links(secret, state.share_links.is_revoked) if state else Links(secret)


def _issuer_login(settings: Settings) -> IssuerLogin | None:
    """The login of people at the issuer; None if the service is no client of it."""
    if not settings.oidc_issuer or not settings.oidc_client_id:
        return None
    client = Client(settings.oidc_client_id, settings.oidc_client_secret, settings.oidc_scopes)
    return IssuerLogin(settings.oidc_issuer, client, settings.oidc_algorithms, _names(settings))


def _read(variable: str, path: Path | None, parse: Callable[[Path], T]) -> T:
    if path is None:
        raise SettingsError(f"{variable} is not set, which AUTH needs")
    try:
        return parse(path)
    except OSError as error:
        raise SettingsError(f"{variable} {path}: {error.strerror}") from error
    except UnicodeDecodeError:
        raise SettingsError(f"{variable} {path}: is not UTF-8") from None  # the cause has the text
    except ValueError as error:
        raise SettingsError(f"{variable}: {error}") from error


def _basic(settings: Settings, changes: Changes | None) -> Authenticator:
    parse = partial(LoginFile[str], parse=parse_users, changes=changes)
    return Basic(_read("AUTH_USERS_FILE", settings.auth_users_file, parse))


def _bearer(settings: Settings, changes: Changes | None) -> Authenticator:
    parse = partial(LoginFile[Principal], parse=parse_tokens, changes=changes)
    return Bearer(_read("AUTH_TOKENS_FILE", settings.auth_tokens_file, parse))


def _oidc(settings: Settings, _: Changes | None) -> Authenticator:
    if not settings.oidc_issuer or not settings.oidc_audience:
        raise SettingsError("OIDC_ISSUER and OIDC_AUDIENCE are not both set, which AUTH needs")
    return Oidc(settings.oidc_issuer, settings.oidc_audience, settings.oidc_algorithms, _names(settings))


def _alb(settings: Settings, _: Changes | None) -> Authenticator:
    if not settings.alb_arn:
        raise SettingsError("ALB_ARN is not set, which AUTH needs")
    keys = KeysByUrl(settings.alb_public_keys_url or public_keys_url(settings.alb_arn))
    return Alb(settings.alb_arn, keys, _names(settings))


def _names(settings: Settings) -> ClaimNames:
    return ClaimNames(settings.auth_name_claim, settings.auth_groups_claim)


_WAYS: Mapping[str, Callable[[Settings, Changes | None], Authenticator]] = {
    "basic": _basic,
    "bearer": _bearer,
    "oidc": _oidc,
    "alb": _alb,
}
