"""Image sets that AHI has deleted, as far as a request has noticed. Runs in all processes.

Each is an entry of the cache with the date of the first note, so all processes know it, also after a restart. The note
is removed when AHI has the image set again (`ahi.retrieval.deletion_recheck`), or when the cache is emptied.
"""

import os
import threading
import time
from contextlib import suppress
from pathlib import Path
from urllib.parse import quote, unquote

from ahi.cache.cache import Cache
from ahi.image_sets.image_set import ImageSetKey

MAX_NOTED = 500
"""The latest notes that are used: more than the deletions between two updates of the index."""

_FOLDER = "deleted"
_SEPARATOR = "+"


class DeletedImageSets:
    """The notes in a cache. Safe to share between threads."""

    def __init__(self, cache: Cache) -> None:
        self._cache = cache
        self._folder = Path(cache.root, _FOLDER)
        self._lock = threading.Lock()
        self._read_at = 0
        self._dates: dict[ImageSetKey, float] = {}
        self._noted: dict[ImageSetKey, float] = {}
        self._image_set_ids: frozenset[str] = frozenset()

    def note(self, key: ImageSetKey) -> None:
        """Note that AHI does not have an image set. The date of the first note counts."""
        if not self.has(key):
            self._cache.put(_name(key), str(time.time()).encode())

    def forget(self, key: ImageSetKey) -> None:
        """Remove a note: AHI has the image set."""
        if self.has(key):
            self._cache.drop(_name(key))

    def has(self, key: ImageSetKey) -> bool:
        """Whether an image set is noted."""
        return self._cache.use(_name(key))

    def image_set_ids(self) -> frozenset[str]:
        """Return the identifiers of the noted image sets."""
        self._read()
        return self._image_set_ids

    def noted(self) -> dict[ImageSetKey, float]:
        """Return the image sets, each with the time of its first note (Unix time)."""
        self._read()
        return self._noted

    def _read(self) -> None:
        """Read the folder, if it has changed."""
        try:
            changed_at = os.stat(self._folder).st_mtime_ns  # noqa: PTH116 - each search does this
        except OSError:
            changed_at = 0
        with self._lock:
            if changed_at != self._read_at:
                self._dates, self._read_at = self._list(), changed_at
                latest = sorted(self._dates, key=lambda key: self._dates[key])[-MAX_NOTED:]
                self._noted = {key: self._dates[key] for key in latest}
                self._image_set_ids = frozenset(key.image_set_id for key in latest)

    def _list(self) -> dict[ImageSetKey, float]:
        """Return all notes with their dates. Dates that are known are not read again."""
        dates = {}
        with suppress(OSError), os.scandir(self._folder) as entries:
            for entry in entries:
                datastore_id, separator, image_set_id = entry.name.partition(_SEPARATOR)
                key = ImageSetKey(unquote(datastore_id), unquote(image_set_id))
                noted_at = self._dates.get(key) or (self._date(key) if separator else None)
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
    return f"{_FOLDER}/{quote(key.datastore_id, safe='')}{_SEPARATOR}{quote(key.image_set_id, safe='')}"
