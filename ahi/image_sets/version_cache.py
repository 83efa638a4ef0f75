"""The latest versions of image sets, as AHI told them, and for how long they are believed.

A version that was had less than `fresh_seconds` ago is current. When AHI does not tell the current one, because
GetImageSet alone is throttled or down, the version that was had last goes on being used for `unchecked_seconds`; it is
kept in the cache, so that a restart changes nothing. An image set that is known to be deleted is not.
"""

import json
import logging
import threading
import time
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass, replace

from ahi.cache.cache import Cache
from ahi.image_sets.deleted import DeletedImageSets
from ahi.image_sets.image_set import ImageSetKey, ImageSetProperties
from dicomweb.errors import NotFound, UpstreamBusy

log = logging.getLogger(__name__)

PATIENCE_SECONDS = 2.0
"""How long AHI is asked, retries included, where a version is known that will do."""

_LEAST_PAUSE_SECONDS, _MOST_PAUSE_SECONDS = 5.0, 60.0
_PAUSE_FACTOR = 10  # so a tenth of the requests at most waits for what does not come
_TELL_SECONDS = 60.0
_FOLDER = "versions"


@dataclass(frozen=True)
class Version:
    """A version that is to be used, when AHI told it (monotonic clock), and whether it may be the latest no more."""

    properties: ImageSetProperties
    checked_at: float
    unchecked: bool = False


class VersionCache:
    """The versions of one process, and what all processes keep in the cache."""

    def __init__(
        self,
        fresh_seconds: float,
        *,
        unchecked_seconds: float = 0.0,
        cache: Cache | None = None,
        most: int = 10_000,
    ) -> None:
        self._fresh_seconds = fresh_seconds
        self._unchecked_seconds = unchecked_seconds if cache else 0.0
        self._cache = cache
        self._deleted = DeletedImageSets(cache) if cache else None
        self._most = most
        self._lock = threading.Lock()
        self._known: OrderedDict[ImageSetKey, Version] = OrderedDict()
        self._pause_until = self._told_at = float("-inf")

    def latest(self, key: ImageSetKey, ask: Callable[[float | None], ImageSetProperties]) -> Version:
        """The latest version; `ask` has AHI tell it, within so many seconds, None for as long as a call may take.

        NotFound where there is none any more. UpstreamBusy where AHI does not tell, and no version is known that
        will do.
        """
        known = self._known_version(key)
        if known and time.monotonic() - known.checked_at < self._fresh_seconds:
            return known
        usable = self._usable(key, known)
        if usable and time.monotonic() < self._pause_until:
            return usable
        began = time.monotonic()
        try:
            properties = ask(PATIENCE_SECONDS if usable else None)
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
        """Remember what AHI has told."""
        version = Version(properties, checked_at)
        with self._lock:
            self._known.pop(key, None)
            self._known[key] = version
            if len(self._known) > self._most:
                self._known.popitem(last=False)
        if self._cache and self._unchecked_seconds:
            age = time.monotonic() - checked_at
            row = [properties.version, properties.is_primary, properties.updated_at, time.time() - age]
            self._cache.put(_name(key), json.dumps(row).encode())
        return version

    def forget(self, key: ImageSetKey) -> None:
        """AHI does not have it any more, or no longer this version."""
        with self._lock:
            self._known.pop(key, None)
        if self._cache and self._unchecked_seconds:
            self._cache.drop(_name(key))

    def _known_version(self, key: ImageSetKey) -> Version | None:
        with self._lock:
            return self._known.get(key)

    def _usable(self, key: ImageSetKey, known: Version | None) -> Version | None:
        """The version that was had last, if it will do unchecked."""
        if not self._unchecked_seconds or (self._deleted and self._deleted.has(key)):
            return None
        version = known or self._kept(key)
        if version is None or time.monotonic() - version.checked_at > self._unchecked_seconds:
            return None
        return replace(version, unchecked=True)

    def _kept(self, key: ImageSetKey) -> Version | None:
        """What the cache has of it."""
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
        """Do not ask for a while."""
        now = time.monotonic()
        pause = min(max(_PAUSE_FACTOR * waited_seconds, _LEAST_PAUSE_SECONDS), _MOST_PAUSE_SECONDS)
        self._pause_until = now + pause
        if now - self._told_at > _TELL_SECONDS:
            self._told_at = now
            log.warning(
                "AHI does not tell versions, image sets are served unchecked for %.0fs", self._unchecked_seconds
            )


def _name(key: ImageSetKey) -> str:
    return f"{_FOLDER}/{key.datastore_id}/{key.image_set_id}"
