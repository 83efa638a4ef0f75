"""Image sets that AHI had once and has no more, as far as somebody has asked for them.

Each is an empty file of the cache, so that all processes know of it, and it is forgotten when the cache is emptied.
"""

import os
import threading
from pathlib import Path

from ahi.cache import Cache
from ahi.image_set import ImageSetKey

MOST = 500
"""How many are told of at most, the latest: more than are deleted between two runs of what writes the index."""

_FOLDER = "gone"


class Gone:
    """The notes of them in a cache."""

    def __init__(self, cache: Cache) -> None:
        self._cache = cache
        self._folder = Path(cache.root, _FOLDER)
        self._lock = threading.Lock()
        self._read_at = 0
        self._image_set_ids: frozenset[str] = frozenset()

    def note(self, key: ImageSetKey) -> None:
        """AHI does not have it."""
        if not self._cache.has(f"{_FOLDER}/{key.image_set_id}"):
            self._cache.put(f"{_FOLDER}/{key.image_set_id}", b"")

    def forget(self, key: ImageSetKey) -> None:
        """AHI has it."""
        if key.image_set_id in self.image_set_ids():
            self._cache.drop(f"{_FOLDER}/{key.image_set_id}")

    def image_set_ids(self) -> frozenset[str]:
        """The identifiers; the folder is read when it has changed."""
        try:
            changed_at = os.stat(self._folder).st_mtime_ns  # noqa: PTH116 - for each search
        except OSError:  # there is none
            return frozenset()
        with self._lock:
            if changed_at != self._read_at:
                self._image_set_ids, self._read_at = self._listed(), changed_at
            return self._image_set_ids

    def _listed(self) -> frozenset[str]:
        try:
            with os.scandir(self._folder) as entries:
                noted = sorted((_used_at(entry), entry.name) for entry in entries if entry.name.isalnum())
        except OSError:
            return frozenset()
        return frozenset(name for _, name in noted[-MOST:] if self._cache.use(f"{_FOLDER}/{name}"))


def _used_at(entry: "os.DirEntry[str]") -> float:
    try:
        return entry.stat(follow_symlinks=False).st_atime
    except OSError:  # it was forgotten this moment
        return 0.0
