"""The latest versions of image sets, and how long they count as current. Runs in the FrameFetcher processes.

A version that was fetched less than `fresh_seconds` ago is current. When GetImageSet is throttled or down, the last
known version is used for `unchecked_seconds`. It is kept in the cache, so that a restart changes nothing. The version
of a deleted image set is not used.
"""

import json
import logging
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, replace

from cachetools import FIFOCache

from ahi.cache.cache import Cache
from ahi.image_sets.deleted import DeletedImageSets
from ahi.image_sets.image_set import ImageSetKey, ImageSetProperties
from dicomweb.errors import NotFound, UpstreamBusy
from runtime.changes import Changes

log = logging.getLogger(__name__)

PATIENCE_SECONDS = 2.0
"""How long AHI is asked, retries included, where a known version can be used."""

_MIN_PAUSE_SECONDS, _MAX_PAUSE_SECONDS = 5.0, 60.0
_PAUSE_FACTOR = 10  # so at most a tenth of the requests waits in vain
_LOG_SECONDS = 60.0
_FOLDER = "versions"


@dataclass(frozen=True)
class Version:
    """The version to use, and when AHI confirmed it (monotonic clock). `unchecked`: there may be a later one."""

    properties: ImageSetProperties
    checked_at: float
    unchecked: bool = False


class VersionCache:
    """The versions that one process knows, and those in the cache. Safe to share between threads."""

    def __init__(
        self,
        fresh_seconds: float,
        *,
        unchecked_seconds: float = 0.0,
        cache: Cache | None = None,
        changes: Changes | None = None,
        max_known: int = 10_000,
    ) -> None:
        """A version is not current if `changes` has a later change of the image set."""
        self._fresh_seconds = fresh_seconds
        self._unchecked_seconds = unchecked_seconds if cache else 0.0
        self._cache = cache
        self._changes = changes or Changes()
        self._deleted = DeletedImageSets(cache) if cache else None
        self._lock = threading.Lock()
        self._known: FIFOCache[ImageSetKey, Version] = FIFOCache(max_known)
        self._pause_until = self._logged_at = float("-inf")

    def latest(self, key: ImageSetKey, fetch: Callable[[float | None], ImageSetProperties]) -> Version:
        """Return the latest version. `fetch` asks AHI, within a number of seconds, or the deadline for None.

        NotFound for a deleted image set. UpstreamBusy where AHI does not answer and no known version can be used.
        """
        known = self._known_version(key)
        is_fresh = known and time.monotonic() - known.checked_at < self._fresh_seconds
        if known and is_fresh and self._changes.is_current(key.image_set_id, known.checked_at):
            return known
        usable = self._usable(key, known)
        if usable and time.monotonic() < self._pause_until:
            return usable
        began = time.monotonic()
        try:
            properties = fetch(PATIENCE_SECONDS if usable else None)
        except NotFound:
            self.forget(key)
            raise
        except UpstreamBusy as error:
            if self._deleted and self._deleted.has(key):
                raise NotFound("AWS HealthImaging does not have it any more") from error
            if usable is None:
                raise
            self._pause(time.monotonic() - began)
            return usable
        return self.put(key, properties, began)

    def put(self, key: ImageSetKey, properties: ImageSetProperties, checked_at: float) -> Version:
        """Remember the properties that AHI has sent."""
        version = Version(properties, checked_at)
        with self._lock:
            self._known[key] = version
        if self._cache and self._unchecked_seconds:
            age = time.monotonic() - checked_at
            row = [properties.version, properties.is_primary, properties.updated_at, time.time() - age]
            self._cache.put(_name(key), json.dumps(row).encode())
        return version

    def forget(self, key: ImageSetKey) -> None:
        """Forget an image set, or a version of it, that AHI no longer has."""
        with self._lock:
            self._known.pop(key, None)
        if self._cache and self._unchecked_seconds:
            self._cache.drop(_name(key))

    def _known_version(self, key: ImageSetKey) -> Version | None:
        with self._lock:
            return self._known.get(key)

    def _usable(self, key: ImageSetKey, known: Version | None) -> Version | None:
        """Return the last known version, if it can be used unchecked."""
        if not self._unchecked_seconds or (self._deleted and self._deleted.has(key)):
            return None
        version = known or self._read(key)
        if version is None or time.monotonic() - version.checked_at > self._unchecked_seconds:
            return None
        return replace(version, unchecked=True)

    def _read(self, key: ImageSetKey) -> Version | None:
        """Read the version in the cache."""
        content = self._cache.read(_name(key)) if self._cache else None
        if content is None:
            return None
        try:
            version, is_primary, updated_at, checked_at = json.loads(content)
            age = time.time() - checked_at
        except (ValueError, TypeError):
            return None
        return (
            Version(ImageSetProperties(version, is_primary, updated_at), time.monotonic() - age) if age >= 0 else None
        )

    def _pause(self, waited_seconds: float) -> None:
        """Do not ask AHI for ten times as long as a request waited in vain."""
        now = time.monotonic()
        pause = min(max(_PAUSE_FACTOR * waited_seconds, _MIN_PAUSE_SECONDS), _MAX_PAUSE_SECONDS)
        self._pause_until = now + pause
        if now - self._logged_at > _LOG_SECONDS:
            self._logged_at = now
            log.warning(
                "AHI does not tell versions, image sets are served unchecked for %.0fs", self._unchecked_seconds
            )


def _name(key: ImageSetKey) -> str:
    return f"{_FOLDER}/{key.datastore_id}/{key.image_set_id}"
