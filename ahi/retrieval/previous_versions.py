"""Versions of image sets that were replaced a short while ago: who holds their metadata still asks for their frames."""

import time
from collections.abc import Iterator

from ahi.cache.cache import Cache
from ahi.cache.lru import LRUCache
from ahi.image_sets.image_set import ImageSetKey
from ahi.retrieval.located_image_sets import LocatedImageSet, PreparedFiles
from ahi.workers.image_set_jobs import prepare_version
from ahi.workers.pool import FetcherPool
from dicomweb.errors import NotFound

_MOST_VERSIONS = 8  # looked at for one image set: each may cost two calls of AHI, once
_KEPT_BYTES = 32 * 2**20


class PreviousVersions:
    """The versions that were the latest one less than `seconds` ago; 0 for none."""

    def __init__(self, fetchers: FetcherPool, cache: Cache, *, seconds: float) -> None:
        self._fetchers = fetchers
        self._files = PreparedFiles(fetchers, cache)
        self._seconds = seconds
        self._kept: LRUCache[tuple[ImageSetKey, str], LocatedImageSet] = LRUCache(_KEPT_BYTES)

    def of(self, latest: LocatedImageSet) -> Iterator[LocatedImageSet]:
        """Those of an image set, latest first, 8 at most. AHI counts versions from 1."""
        one = latest
        for _ in range(_MOST_VERSIONS):
            version = one.properties.version
            recent = time.time() - one.properties.updated_at < self._seconds
            if not (recent and version.isdecimal() and int(version) > 1):
                return
            try:
                one = self._version(latest.key, str(int(version) - 1))
            except NotFound:
                return
            yield one

    def _version(self, key: ImageSetKey, version: str) -> LocatedImageSet:
        kept = self._kept.get((key, version))
        if kept:
            return kept
        properties, blob = self._fetchers.run(key.image_set_id, prepare_version, key, version)
        located = LocatedImageSet(key, properties, self._files.read(key, version, blob))
        self._kept.put((key, version), located, located.size_bytes)
        return located
