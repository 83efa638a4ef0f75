"""Public keys that sign tokens: fetched from where the issuer has them, kept, and fetched again when they change."""

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
from dicomweb.errors import UpstreamBusy
from runtime.single_flight import SingleFlight, ended

log = logging.getLogger(__name__)

_TIMEOUT_SECONDS = 5
_LARGEST_BYTES = 2**20
_FRESH_SECONDS = 3600.0
_PAUSE_SECONDS = 10.0  # between two fetches, however many unknown keys are named meanwhile
_PATIENCE_SECONDS = 2.0  # of a request whose key is not known
_MOST_WAITING = 16
_MOST_UNKNOWN = 10
_NOT_NOW = "who is calling cannot be verified at the moment"
_KEY_ID = re.compile(r"[A-Za-z0-9-]{1,64}\Z")


def fetch(url: str) -> bytes:
    """The body of a URL; LookupError where there is none, UpstreamBusy where that cannot be told."""
    try:
        with urllib.request.urlopen(url, timeout=_TIMEOUT_SECONDS) as answer:  # noqa: S310 - from the settings
            body = _read(answer)
    except (OSError, ValueError) as error:
        if isinstance(error, urllib.error.HTTPError) and error.code in (403, 404):
            raise LookupError(url) from error
        log.error("keys cannot be fetched url=%s error=%s", url, type(error).__name__)
        raise UpstreamBusy(_NOT_NOW) from error
    if len(body) > _LARGEST_BYTES:
        raise UpstreamBusy(_NOT_NOW)
    return body


def _read(answer: HTTPResponse) -> bytes:
    """The body, of one byte too many at most; TimeoutError where it drips."""
    body, give_up = b"", time.monotonic() + _TIMEOUT_SECONDS
    while len(body) <= _LARGEST_BYTES and (piece := answer.read1(_LARGEST_BYTES)):
        body += piece
        if time.monotonic() > give_up:
            raise TimeoutError
    return body


class IssuerKeys:
    """The keys of an OpenID Connect issuer (Discovery 1.0 Section 4): its JWKS, looked up by key ID.

    A key that is not known is looked for once more, but not more often than every ten seconds. Keys outlive an outage
    of the issuer. Nobody who has a known key waits for an issuer that does not answer, and few of the others do.
    """

    def __init__(self, issuer: str) -> None:
        self._issuer = issuer
        self._keys: Mapping[str | None, jwt.PyJWK] = {}
        self._fetched_at = -_FRESH_SECONDS
        self._answers = True  # as far as is known: not while it is being asked
        self._renewal = SingleFlight(self._refresh)
        self._places = threading.BoundedSemaphore(_MOST_WAITING)

    def key(self, key_id: str | None) -> jwt.PyJWK:
        """The key; NotProven where the issuer has none of that ID, UpstreamBusy where that cannot be told."""
        age_seconds, answers = time.monotonic() - self._fetched_at, self._answers
        found = self._found(key_id)
        if found is None or age_seconds > _FRESH_SECONDS:
            renewal = self._renewal.latest(_PAUSE_SECONDS)
            known = found is not None and (age_seconds < 2 * _FRESH_SECONDS or not answers)
            told = known or self._wait_for(renewal)
            found = self._found(key_id)
            if found is None and not (told and self._keys):
                raise UpstreamBusy(_NOT_NOW)
        if found is None:
            raise NotProven("signed with an unknown key")
        return found

    def _wait_for(self, renewal: "Future[None]") -> bool:
        """Whether it has ended; some may wait for it, for a short time."""
        if renewal.done() or not self._places.acquire(blocking=False):
            return renewal.done()
        try:
            return ended(renewal, _PATIENCE_SECONDS)
        finally:
            self._places.release()

    def _found(self, key_id: str | None) -> jwt.PyJWK | None:
        keys = self._keys
        if key_id is None and len(keys) == 1:
            return next(iter(keys.values()))
        return keys.get(key_id)

    def _refresh(self) -> None:
        self._answers = False
        try:
            document = _json(fetch(f"{self._issuer.rstrip('/')}/.well-known/openid-configuration"))
            if document.get("issuer") != self._issuer:
                raise ValueError("the discovery document is of another issuer")
            keys = jwt.PyJWKSet.from_dict(_json(fetch(str(document["jwks_uri"])))).keys
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
    """Keys that are a PEM file each, below one URL, which is how a load balancer of AWS publishes them.

    Ten IDs that are not known are asked for in ten seconds, each once: tokens can name any.
    """

    def __init__(self, root: str, most: int = 64, get: Callable[[str], bytes] = fetch) -> None:
        self._root = root.rstrip("/")
        self._most = most
        self._get = get
        self._lock = threading.Lock()
        self._keys: dict[str, bytes] = {}
        self._asked: dict[str, tuple[float, SingleFlight[bytes | None]]] = {}

    def key(self, key_id: str | None) -> bytes:
        """The key; NotProven for an ID that is none, UpstreamBusy where it cannot be fetched."""
        if key_id is None or not _KEY_ID.match(key_id):
            raise NotProven("signed with an unknown key")
        known = self._keys.get(key_id)
        if known is not None:
            return known
        flight = self._flight(key_id).latest(_PAUSE_SECONDS)
        if not ended(flight, _PATIENCE_SECONDS) or flight.exception():
            raise UpstreamBusy(_NOT_NOW)
        found = flight.result()
        if found is None:
            raise NotProven("signed with an unknown key")
        return found

    def _flight(self, key_id: str) -> SingleFlight[bytes | None]:
        now = time.monotonic()
        with self._lock:
            recent = {name: one for name, one in self._asked.items() if now - one[0] < _PAUSE_SECONDS}
            if key_id not in recent:
                if len(recent) >= _MOST_UNKNOWN:
                    raise UpstreamBusy(_NOT_NOW)
                recent[key_id] = (now, SingleFlight(partial(self._fetch, key_id)))
            self._asked = recent
            return recent[key_id][1]

    def _fetch(self, key_id: str) -> bytes | None:
        """None where there is no such key."""
        try:
            body = self._get(f"{self._root}/{key_id}")
        except LookupError:
            return None
        with self._lock:
            if len(self._keys) >= self._most:
                self._keys = {}
            self._keys[key_id] = body
        return body
