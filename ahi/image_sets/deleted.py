"""Image sets that AHI had once and has no more, as far as somebody has asked for them.

Each is an entry of the cache that tells when that was noted first. All processes know of it, after a restart too. It is
forgotten when AHI has the image set again (`ahi.retrieval.deletion_recheck`), or when the cache is emptied.
"""

import os
import threading
import time
from contextlib import suppress
from pathlib import Path
from urllib.parse import quote, unquote

from ahi.cache.cache import Cache
from ahi.image_sets.image_set import ImageSetKey

MOST = 500
"""How many are told of at most, the latest: more than are deleted between two runs of what writes the index."""

_FOLDER = "deleted"
_BETWEEN = "+"


class DeletedImageSets:
    """The notes of them in a cache."""

    def __init__(self, cache: Cache) -> None:
        self._cache = cache
        self._folder = Path(cache.root, _FOLDER)
        self._lock = threading.Lock()
        self._read_at = 0
        self._dates: dict[ImageSetKey, float] = {}
        self._noted: dict[ImageSetKey, float] = {}
        self._image_set_ids: frozenset[str] = frozenset()

    def note(self, key: ImageSetKey) -> None:
        """AHI does not have it; the date of the first note counts."""
        if not self.has(key):
            self._cache.put(_name(key), str(time.time()).encode())

    def forget(self, key: ImageSetKey) -> None:
        """AHI has it."""
        if self.has(key):
            self._cache.drop(_name(key))

    def has(self, key: ImageSetKey) -> bool:
        """Whether it is noted."""
        return self._cache.use(_name(key))

    def image_set_ids(self) -> frozenset[str]:
        """Their identifiers."""
        self._read()
        return self._image_set_ids

    def noted(self) -> dict[ImageSetKey, float]:
        """The image sets, and when each was noted first, in Unix time."""
        self._read()
        return self._noted

    def _read(self) -> None:
        """Read the folder, if it has changed."""
        try:
            changed_at = os.stat(self._folder).st_mtime_ns  # noqa: PTH116 - for each search
        except OSError:
            changed_at = 0
        with self._lock:
            if changed_at != self._read_at:
                self._dates, self._read_at = self._listed(), changed_at
                latest = sorted(self._dates, key=lambda key: self._dates[key])[-MOST:]
                self._noted = {key: self._dates[key] for key in latest}
                self._image_set_ids = frozenset(key.image_set_id for key in latest)

    def _listed(self) -> dict[ImageSetKey, float]:
        """All notes with their dates; those that are known already are not read again."""
        dates = {}
        with suppress(OSError), os.scandir(self._folder) as entries:
            for entry in entries:
                datastore_id, between, image_set_id = entry.name.partition(_BETWEEN)
                key = ImageSetKey(unquote(datastore_id), unquote(image_set_id))
                noted_at = self._dates.get(key) or (self._date(key) if between else None)
                if noted_at is not None:
                    dates[key] = noted_at
        return dates

    def _date(self, key: ImageSetKey) -> float | None:
        content = self._cache.read(_name(key))
        try:
            return float(content) if content else None
        except ValueError:
            return None


def _name(key: ImageSetKey) -> str:
    return f"{_FOLDER}/{quote(key.datastore_id, safe='')}{_BETWEEN}{quote(key.image_set_id, safe='')}"
