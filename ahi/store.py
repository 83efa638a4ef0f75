"""Image sets and frames as the web process sees them: what is in the cache is used, the rest is had from fetchers."""

import mmap
import threading
import time
from collections import OrderedDict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from ahi.cache import Cache
from ahi.fetchers import Fetchers, Pending
from ahi.image_set import ImageSetKey, ImageSetProperties
from ahi.jobs import Form, FrameReference, fetch_frame, prepare_image_set, prepared_cache_name
from ahi.prepared import PreparedImageSet
from dicomweb.errors import UpstreamBusy

_AHEAD = 8  # frames asked for while an earlier one is being sent


@dataclass(frozen=True)
class _Known:
    image_set: PreparedImageSet
    properties: ImageSetProperties
    size_bytes: int
    checked_at: float


class ImageSets:
    """Prepared image sets by key. What has been looked at for `fresh_seconds` is checked for a newer version."""

    def __init__(self, fetchers: Fetchers, cache: Cache, *, fresh_seconds: float, max_bytes: int = 128 * 2**20) -> None:
        """`max_bytes` bounds the files that are kept mapped."""
        self._fetchers = fetchers
        self._cache = cache
        self._fresh_seconds = fresh_seconds
        self._max_bytes = max_bytes
        self._lock = threading.Lock()
        self._known: OrderedDict[ImageSetKey, _Known] = OrderedDict()
        self._known_bytes = 0

    def prepared(self, keys: Sequence[ImageSetKey]) -> list[tuple[PreparedImageSet, ImageSetProperties] | None]:
        """Each image set with its properties, None for one that AHI no longer has. All are asked for at once."""
        from dicomweb.errors import NotFound  # noqa: PLC0415

        pending = {key: self._submit(key) for key in keys if not self._fresh(key)}
        found: list[tuple[PreparedImageSet, ImageSetProperties] | None] = []
        for key in keys:
            try:
                known = self._received(key, pending[key]) if key in pending else self._get(key)
            except NotFound:
                found.append(None)
                continue
            found.append((known.image_set, known.properties))
        return found
