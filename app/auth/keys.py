"""Public keys that sign tokens: fetched from where the issuer has them, kept, and fetched again when they change."""

import json
import logging
import re
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Callable
from typing import Any

import jwt

from app.auth.principal import NotProven
from dicomweb.errors import UpstreamBusy
from dicomweb.waiting import waiting

log = logging.getLogger(__name__)

_TIMEOUT_SECONDS = 5
_LARGEST_BYTES = 2**20
_FRESH_SECONDS = 3600.0
_PAUSE_SECONDS = 10.0  # between two fetches, however many unknown keys are named meanwhile
_KEY_ID = re.compile(r"[A-Za-z0-9-]{1,64}\Z")


def fetch(url: str) -> bytes:
    """The body of a URL; LookupError where there is none, UpstreamBusy where that cannot be told."""
    try:
        with urllib.request.urlopen(url, timeout=_TIMEOUT_SECONDS) as answer:  # noqa: S310 - from the settings
            body: bytes = answer.read(_LARGEST_BYTES + 1)
    except (OSError, ValueError) as error:
        if isinstance(error, urllib.error.HTTPError) and error.code in (403, 404):
            raise LookupError(url) from error
        log.error("keys cannot be fetched url=%s error=%s", url, type(error).__name__)
        raise UpstreamBusy("who is calling cannot be verified at the moment") from error
    if len(body) > _LARGEST_BYTES:
        raise UpstreamBusy("who is calling cannot be verified at the moment")
    return body


class IssuerKeys:
    """The keys of an OpenID Connect issuer (Discovery 1.0 Section 4): its JWKS, looked up by key ID.

    A key that is not known is looked for once more, but not more often than every ten seconds; keys outlive an outage
    of the issuer.
    """

    def __init__(self, issuer: str) -> None:
        self._issuer = issuer
        self._lock = threading.Lock()
        self._keys: dict[str | None, jwt.PyJWK] = {}
        self._fetched_at = self._tried_at = -_FRESH_SECONDS

    def key(self, key_id: str | None) -> jwt.PyJWK:
        """The key; NotProven where the issuer has none of that ID."""
        with waiting(), self._lock:  # others who come meanwhile wait for the same fetch
            stale = time.monotonic() - self._fetched_at > _FRESH_SECONDS
            if (stale or self._found(key_id) is None) and time.monotonic() - self._tried_at > _PAUSE_SECONDS:
                self._refresh()
            found = self._found(key_id)
            if found is None and not self._keys:
                raise UpstreamBusy("who is calling cannot be verified at the moment")
        if found is None:
            raise NotProven("signed with an unknown key")
        return found

    def _found(self, key_id: str | None) -> jwt.PyJWK | None:
        if key_id is None and len(self._keys) == 1:
            return next(iter(self._keys.values()))
        return self._keys.get(key_id)

    def _refresh(self) -> None:
        self._tried_at = time.monotonic()
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


def _json(body: bytes) -> dict[str, Any]:
    document = json.loads(body)
    if not isinstance(document, dict):
        raise ValueError("not a JSON object")
    return document


class KeysByUrl:
    """Keys that are a PEM file each, below one URL, which is how a load balancer of AWS publishes them."""

    def __init__(self, root: str, most: int = 64, get: Callable[[str], bytes] = fetch) -> None:
        self._root = root.rstrip("/")
        self._most = most
        self._get = get
        self._lock = threading.Lock()
        self._keys: dict[str, bytes] = {}
        self._tried: dict[str, float] = {}

    def key(self, key_id: str | None) -> bytes:
        """The key; NotProven for an ID that is none, UpstreamBusy where it cannot be fetched."""
        if key_id is None or not _KEY_ID.match(key_id):
            raise NotProven("signed with an unknown key")
        with waiting(), self._lock:
            if key_id not in self._keys:
                self._fetch(key_id)
            return self._keys[key_id]

    def _fetch(self, key_id: str) -> None:
        """At most one fetch for an ID in ten seconds."""
        now = time.monotonic()
        if now - self._tried.get(key_id, -_PAUSE_SECONDS) < _PAUSE_SECONDS:
            raise NotProven("signed with an unknown key")
        if len(self._tried) >= self._most:
            self._tried.clear()
        self._tried[key_id] = now
        try:
            body = self._get(f"{self._root}/{key_id}")
        except LookupError as error:
            raise NotProven("signed with an unknown key") from error
        if len(self._keys) >= self._most:
            self._keys.clear()
        self._keys[key_id] = body
