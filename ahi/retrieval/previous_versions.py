"""Previous versions of image sets, for clients that still have their metadata. Runs in the web processes."""

import time
from collections.abc import Iterator

from ahi.cache.cache import Cache
from ahi.cache.lru import LRUCache
from ahi.image_sets.image_set import ImageSetKey
from ahi.retrieval.located_image_sets import LocatedImageSet, PreparedFiles
from ahi.workers.image_set_jobs import prepare_version
from ahi.workers.pool import FetcherPool
from dicomweb.errors import NotFound

_MAX_VERSIONS = 8  # of one image set: each may cost two calls to AHI, once
_MEMORY_BYTES = 32 * 2**20


class PreviousVersions:
    """The versions that were the latest less than `seconds` ago; 0 for none. Safe to share between threads."""

    def __init__(self, fetchers: FetcherPool, cache: Cache, *, seconds: float) -> None:
        self._fetchers = fetchers
        self._files = PreparedFiles(fetchers, cache)
        self._seconds = seconds
        self._versions: LRUCache[tuple[ImageSetKey, str], LocatedImageSet] = LRUCache(_MEMORY_BYTES)

    def of(self, latest: LocatedImageSet) -> Iterator[LocatedImageSet]:
        """Yield the previous versions of an image set, latest first, at most 8. AHI counts versions from 1."""
        image_set = latest
        for _ in range(_MAX_VERSIONS):
            version = image_set.properties.version
            is_recent = time.time() - image_set.properties.updated_at < self._seconds
            if not (is_recent and version.isdecimal() and int(version) > 1):
                return
            try:
                image_set = self._version(latest.key, str(int(version) - 1))
            except NotFound:
                return
            yield image_set

    def _version(self, key: ImageSetKey, version: str) -> LocatedImageSet:
        known = self._versions.get((key, version))
        if known:
            return known
        properties, content = self._fetchers.run(key.image_set_id, prepare_version, key, version)
        located = LocatedImageSet(key, properties, self._files.read(key, version, content))
        self._versions.put((key, version), located, located.size_bytes)
        return located
