"""The login of people at an OpenID Connect issuer: the authorization code flow with PKCE (RFC 7636).

The browser is sent to the issuer, comes back with a code, and the service exchanges it for tokens by itself. What the
browser brings back must belong to what it was sent with: `state` against forged returns, `nonce` against replayed
tokens, and the verifier of PKCE against stolen codes.
"""

import base64
import hashlib
import json
import logging
import secrets
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from hmac import compare_digest
from typing import Any
from urllib.parse import quote, urlencode, urlsplit

from app.auth.claims import ClaimNames
from app.auth.keys import find_document, read_body
from app.auth.oidc import Oidc
from app.auth.principal import NotProven, Principal
from app.setting_parsers import parse_url
from dicomweb.errors import UpstreamBusy
from runtime.single_flight import SingleFlight, ended

log = logging.getLogger(__name__)

_TIMEOUT_SECONDS = 5
_FRESH_SECONDS = 3600.0
_PAUSE_SECONDS = 10.0
_PATIENCE_SECONDS = 2.0
_AT_ONCE = 8  # exchanges with the issuer: one that hangs holds no more threads
_NOT_NOW = "the issuer of logins does not answer at the moment"


@dataclass(frozen=True)
class Client:
    """This service as the issuer knows it; `secret` is None for a public client, which PKCE protects."""

    client_id: str
    secret: str | None
    scopes: Sequence[str]


@dataclass(frozen=True)
class Attempt:
    """A login that has begun: what the browser must bring back, and what proves that we began it."""

    state: str
    nonce: str
    verifier: str

    @classmethod
    def new(cls) -> "Attempt":
        """An attempt that nobody can guess."""
        return cls(*(secrets.token_urlsafe(32) for _ in range(3)))


@dataclass(frozen=True)
class Issue:
    """An answer of the issuer: the principal, None if it only vouches again; the ID token, and one to refresh."""

    principal: Principal | None
    id_token: str
    refresh_token: str


class IssuerLogin:
    """Logs people in at one issuer. Safe to share between threads."""

    def __init__(self, issuer: str, client: Client, algorithms: Sequence[str], names: ClaimNames) -> None:
        self._issuer = issuer
        self._client = client
        self._names = names
        self._verifier = Oidc(issuer, [client.client_id], algorithms, names)
        self._document: Mapping[str, Any] = {}
        self._fetched_at = -_FRESH_SECONDS
        self._renewal = SingleFlight(self._fetch)
        self._places = threading.BoundedSemaphore(_AT_ONCE)

    def url(self, attempt: Attempt, redirect_uri: str) -> str:
        """The URL at the issuer that a browser is sent to; UpstreamBusy if the issuer does not answer."""
        challenge = base64.urlsafe_b64encode(hashlib.sha256(attempt.verifier.encode()).digest()).decode().rstrip("=")
        parameters = {
            "response_type": "code",
            "client_id": self._client.client_id,
            "redirect_uri": redirect_uri,
            "scope": " ".join(self._client.scopes),
            "state": attempt.state,
            "nonce": attempt.nonce,
            "code_challenge": challenge,
            "code_challenge_method": "S256",
        }
        return _with_query(self._endpoint("authorization_endpoint"), parameters)

    def finish(self, attempt: Attempt, answer: Mapping[str, str], redirect_uri: str) -> Issue:
        """The answer of the issuer to the code that the browser brings back; NotProven if anything does not fit."""
        if not compare_digest(answer.get("state", "").encode(), attempt.state.encode()):
            raise NotProven("another state came back than was sent")
        if answer.get("iss", self._issuer) != self._issuer:  # RFC 9207
            raise NotProven("another issuer answered")
        if "error" in answer or not answer.get("code"):
            raise NotProven("the issuer refused the login")
        form = {
            "grant_type": "authorization_code",
            "code": answer["code"],
            "redirect_uri": redirect_uri,
            "code_verifier": attempt.verifier,
        }
        tokens = self._tokens(form)
        claims = self._claims(tokens.get("id_token"))
        if not compare_digest(str(claims.get("nonce", "")).encode(), attempt.nonce.encode()):
            raise NotProven("the token is of another login")
        return Issue(self._names.principal("oidc", claims), tokens["id_token"], _text(tokens.get("refresh_token")))

    def refresh(self, refresh_token: str, user: Principal) -> Issue:
        """The present answer of the issuer; NotProven if it no longer vouches for this user."""
        tokens = self._tokens({"grant_type": "refresh_token", "refresh_token": refresh_token})
        kept = _text(tokens.get("refresh_token")) or refresh_token
        if "id_token" not in tokens:  # OpenID Connect Core Section 12.2 leaves it to the issuer
            return Issue(None, "", kept)
        principal = self._names.principal("oidc", self._claims(tokens["id_token"]))
        if principal.name != user.name:
            raise NotProven("the token is of another user")
        return Issue(principal, tokens["id_token"], kept)

    def end_url(self, id_token: str, return_url: str) -> str | None:
        """The URL at the issuer that ends the login there; None if the issuer has none, or does not answer."""
        try:
            url = self._endpoint("end_session_endpoint")
        except UpstreamBusy:
            return None
        parameters = {"client_id": self._client.client_id, "post_logout_redirect_uri": return_url}
        return _with_query(url, {**parameters, **({"id_token_hint": id_token} if id_token else {})})

    def _claims(self, token: Any) -> Mapping[str, Any]:
        if not isinstance(token, str):
            raise NotProven("the issuer gave no ID token")
        claims = self._verifier.claims(token)
        if claims.get("azp", self._client.client_id) != self._client.client_id:
            raise NotProven("the token is for another client")
        return claims

    def _endpoint(self, name: str) -> str:
        """A URL of the discovery document; UpstreamBusy without one that can be used."""
        if time.monotonic() - self._fetched_at > _FRESH_SECONDS:
            renewal = self._renewal.latest(_PAUSE_SECONDS)
            if not self._document:
                ended(renewal, _PATIENCE_SECONDS)
        try:
            url = parse_url(str(self._document.get(name)))
        except ValueError:
            raise UpstreamBusy(_NOT_NOW) from None
        if urlsplit(url).scheme != urlsplit(self._issuer).scheme:
            raise UpstreamBusy(_NOT_NOW)  # no secret of ours goes over plain HTTP
        return url

    def _fetch(self) -> None:
        try:
            self._document = find_document(self._issuer)
        except UpstreamBusy:
            return
        except (LookupError, ValueError) as error:
            log.error("the discovery document of the issuer cannot be used error=%r", error)
            return
        self._fetched_at = time.monotonic()

    def _tokens(self, form: Mapping[str, str]) -> dict[str, Any]:
        """The answer of the token endpoint; NotProven if it refuses, UpstreamBusy if it does not answer."""
        url, headers = self._endpoint("token_endpoint"), {"Accept": "application/json"}
        client_id, secret = self._client.client_id, self._client.secret
        supported = self._document.get("token_endpoint_auth_methods_supported", ["client_secret_basic"])
        if secret is not None and "client_secret_basic" in supported:
            pair = f"{quote(client_id, safe='')}:{quote(secret, safe='')}"
            headers["Authorization"] = f"Basic {base64.b64encode(pair.encode()).decode()}"
        else:
            form = {**form, "client_id": client_id, **({"client_secret": secret} if secret is not None else {})}
        if not self._places.acquire(timeout=_PATIENCE_SECONDS):
            raise UpstreamBusy(_NOT_NOW)
        try:
            return _post(url, form, headers)
        finally:
            self._places.release()


class _NoRedirect(urllib.request.HTTPRedirectHandler):
    """A token endpoint does not redirect: what it is sent has secrets."""

    def redirect_request(self, *_arguments: Any) -> None:
        return None


_OPENER = urllib.request.build_opener(_NoRedirect)


def _post(url: str, form: Mapping[str, str], headers: Mapping[str, str]) -> dict[str, Any]:
    request = urllib.request.Request(url, urlencode(form).encode(), dict(headers))  # noqa: S310 - from the issuer
    try:
        with _OPENER.open(request, timeout=_TIMEOUT_SECONDS) as answer:
            document = json.loads(read_body(answer))
    except urllib.error.HTTPError as error:
        error.close()
        if error.code in (400, 401, 403):
            log.warning("the issuer refuses status=%d", error.code)
            raise NotProven("the issuer refuses") from error
        raise UpstreamBusy(_NOT_NOW) from error
    except (OSError, ValueError, RecursionError) as error:
        log.error("the issuer does not answer url=%s error=%s", url, type(error).__name__)
        raise UpstreamBusy(_NOT_NOW) from error
    if not isinstance(document, dict):
        raise UpstreamBusy(_NOT_NOW)
    return document


def _text(value: Any) -> str:
    return value if isinstance(value, str) else ""


def _with_query(url: str, parameters: Mapping[str, str]) -> str:
    return f"{url}{'&' if '?' in url else '?'}{urlencode(parameters)}"
