"""A cache in memory that is bounded by bytes. Runs in the web, prefetch and FrameFetcher processes."""

import threading
from collections.abc import Hashable
from operator import itemgetter
from typing import Generic, TypeVar

import cachetools

K = TypeVar("K", bound=Hashable)
V = TypeVar("V")


class LRUCache(Generic[K, V]):
    """Values by key, at most `max_bytes` of them. The least recently used make room. Safe to share between threads."""

    def __init__(self, max_bytes: int) -> None:
        self._lock = threading.Lock()
        self._entries: cachetools.LRUCache[K, tuple[V, int]] = cachetools.LRUCache(max_bytes, getsizeof=itemgetter(1))

    def get(self, key: K) -> V | None:
        """Return the value, and count that as its use."""
        with self._lock:
            entry = self._entries.get(key)
            return entry[0] if entry else None

    def put(self, key: K, value: V, size_bytes: int) -> None:
        """Keep a value. One that is larger than the bound is kept alone."""
        with self._lock:
            self._entries[key] = value, int(min(size_bytes, self._entries.maxsize))
