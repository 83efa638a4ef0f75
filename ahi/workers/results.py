"""The results of jobs that write to the cache. Made in the FrameFetchers, read in the processes that sent the jobs."""

from typing import NamedTuple

from ahi.image_sets.image_set import ImageSetProperties
from ahi.image_sets.version_cache import Version


class CachedBytes(NamedTuple):
    """Bytes, and whether the cache holds them now."""

    content: bytes
    is_cached: bool

    @property
    def unless_cached(self) -> bytes | None:
        """The bytes when they have to be sent; None when other processes can read them in the cache."""
        return None if self.is_cached else self.content


class PreparedLatest(NamedTuple):
    """The latest version of an image set, prepared. `content` is None when the cache holds the prepared file."""

    version: Version
    content: bytes | None


class PreparedPrevious(NamedTuple):
    """A previous version of an image set, prepared. `content` is None when the cache holds the prepared file."""

    properties: ImageSetProperties
    content: bytes | None
