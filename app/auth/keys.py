"""Public keys that verify tokens: fetched from the issuer, cached, and fetched again when they change."""

import json
import logging
import re
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Mapping
from concurrent.futures import Future
from functools import partial
from http.client import HTTPResponse
from typing import Any

import jwt

from app.auth.principal import NotProven
from app.setting_parsers import parse_url
from dicomweb.errors import UpstreamBusy
from runtime.single_flight import SingleFlight, ended

log = logging.getLogger(__name__)

_TIMEOUT_SECONDS = 5
_LARGEST_BYTES = 2**20
_FRESH_SECONDS = 3600.0
_PAUSE_SECONDS = 10.0  # between two fetches, however many tokens name unknown keys meanwhile
_PATIENCE_SECONDS = 2.0  # the longest wait of a request whose key is not cached
_MOST_WAITING = 16
_MOST_UNKNOWN = 10
_NOT_NOW = "the login cannot be verified at the moment"
_KEY_ID = re.compile(r"[A-Za-z0-9-]{1,64}\Z")


def fetch(url: str) -> bytes:
    """Fetch the body of a URL; LookupError if there is none, UpstreamBusy if the server does not answer."""
    try:
        with urllib.request.urlopen(url, timeout=_TIMEOUT_SECONDS) as answer:  # noqa: S310 - from the settings
            body = read_body(answer)
    except (OSError, ValueError) as error:
        if isinstance(error, urllib.error.HTTPError) and error.code in (403, 404):
            raise LookupError(url) from error
        log.error("keys cannot be fetched url=%s error=%s", url, type(error).__name__)
        raise UpstreamBusy(_NOT_NOW) from error
    if len(body) > _LARGEST_BYTES:
        raise UpstreamBusy(_NOT_NOW)
    return body


def read_body(answer: HTTPResponse) -> bytes:
    """Read the body, up to one byte more than allowed; TimeoutError if it takes longer than five seconds."""
    body, give_up = b"", time.monotonic() + _TIMEOUT_SECONDS
    while len(body) <= _LARGEST_BYTES and (piece := answer.read1(_LARGEST_BYTES)):
        body += piece
        if time.monotonic() > give_up:
            raise TimeoutError
    return body


def find_document(issuer: str) -> dict[str, Any]:
    """The discovery document of an issuer (OpenID Connect Discovery 1.0 Section 4).

    UpstreamBusy if the issuer does not answer, LookupError or ValueError if its document is missing or wrong.
    """
    document = _json(fetch(f"{issuer.rstrip('/')}/.well-known/openid-configuration"))
    if document.get("issuer") != issuer:
        raise ValueError("the discovery document is of another issuer")
    return document


def find_key_set(issuer: str) -> str:
    """The URL of the keys of an issuer; the errors of `find_document`."""
    document = find_document(issuer)
    try:
        return parse_url(str(document.get("jwks_uri")))
    except ValueError:
        raise ValueError("the discovery document has no URL of keys") from None


def fetch_key_set(url: str) -> list[jwt.PyJWK]:
    """The keys at a URL; the errors of `find_key_set`, or PyJWTError if they are no keys."""
    return jwt.PyJWKSet.from_dict(_json(fetch(url))).keys


class IssuerKeys:
    """The keys of an OpenID Connect issuer by key ID.

    An unknown key makes the keys be fetched again, at most every ten seconds. Cached keys are used during an outage of
    the issuer. Requests with a cached key never wait for an issuer that does not answer; at most 16 others do.
    """

    def __init__(self, issuer: str) -> None:
        self._issuer = issuer
        self._keys: Mapping[str | None, jwt.PyJWK] = {}
        self._fetched_at = -_FRESH_SECONDS
        self._answers = True  # False while a fetch runs, and after one that failed
        self._renewal = SingleFlight(self._refresh)
        self._places = threading.BoundedSemaphore(_MOST_WAITING)

    def key(self, key_id: str | None) -> jwt.PyJWK:
        """The key; NotProven if the issuer has no key of that ID, UpstreamBusy if it does not answer."""
        age_seconds, answers = time.monotonic() - self._fetched_at, self._answers
        cached = self._cached(key_id)
        if cached is None or age_seconds > _FRESH_SECONDS:
            renewal = self._renewal.latest(_PAUSE_SECONDS)
            usable = cached is not None and (age_seconds < 2 * _FRESH_SECONDS or not answers)
            fetched = usable or self._wait_for(renewal)
            cached = self._cached(key_id)
            if cached is None and not (fetched and self._keys):
                raise UpstreamBusy(_NOT_NOW)
        if cached is None:
            raise NotProven("signed with an unknown key")
        return cached

    def _wait_for(self, renewal: "Future[None]") -> bool:
        """Wait up to two seconds for a fetch, if fewer than 16 requests wait; whether it has ended."""
        if renewal.done() or not self._places.acquire(blocking=False):
            return renewal.done()
        try:
            return ended(renewal, _PATIENCE_SECONDS)
        finally:
            self._places.release()

    def _cached(self, key_id: str | None) -> jwt.PyJWK | None:
        keys = self._keys
        if key_id is None and len(keys) == 1:
            return next(iter(keys.values()))
        return keys.get(key_id)

    def _refresh(self) -> None:
        self._answers = False
        try:
            keys = fetch_key_set(find_key_set(self._issuer))
        except UpstreamBusy:
            return
        except (LookupError, ValueError, jwt.PyJWTError) as error:
            log.error("the issuer's keys cannot be used error=%r", error)
            return
        self._keys = {key.key_id: key for key in keys if key.public_key_use in (None, "sig")}
        self._fetched_at = time.monotonic()
        self._answers = True


def _json(body: bytes) -> dict[str, Any]:
    document = json.loads(body)
    if not isinstance(document, dict):
        raise ValueError("not a JSON object")
    return document


class KeysByUrl:
    """Keys below one URL, each a PEM file, as AWS publishes those of load balancers.

    At most ten unknown IDs are fetched in ten seconds, each once, as a token can name any ID.
    """

    def __init__(self, root: str, most: int = 64, get: Callable[[str], bytes] = fetch) -> None:
        self._root = root.rstrip("/")
        self._most = most
        self._get = get
        self._lock = threading.Lock()
        self._keys: dict[str, bytes] = {}
        self._flights: dict[str, tuple[float, SingleFlight[bytes | None]]] = {}

    def key(self, key_id: str | None) -> bytes:
        """The key; NotProven if there is no such ID, UpstreamBusy if it cannot be fetched."""
        if key_id is None or not _KEY_ID.match(key_id):
            raise NotProven("signed with an unknown key")
        cached = self._keys.get(key_id)
        if cached is not None:
            return cached
        flight = self._flight(key_id).latest(_PAUSE_SECONDS)
        if not ended(flight, _PATIENCE_SECONDS) or flight.exception():
            raise UpstreamBusy(_NOT_NOW)
        key = flight.result()
        if key is None:
            raise NotProven("signed with an unknown key")
        return key

    def _flight(self, key_id: str) -> SingleFlight[bytes | None]:
        now = time.monotonic()
        with self._lock:
            recent = {name: started for name, started in self._flights.items() if now - started[0] < _PAUSE_SECONDS}
            if key_id not in recent:
                if len(recent) >= _MOST_UNKNOWN:
                    raise UpstreamBusy(_NOT_NOW)
                recent[key_id] = (now, SingleFlight(partial(self._fetch, key_id)))
            self._flights = recent
            return recent[key_id][1]

    def _fetch(self, key_id: str) -> bytes | None:
        """Fetch and cache a key; None if there is no such key."""
        try:
            body = self._get(f"{self._root}/{key_id}")
        except LookupError:
            return None
        with self._lock:
            if len(self._keys) >= self._most:
                self._keys = {}
            self._keys[key_id] = body
        return body
