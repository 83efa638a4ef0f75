"""What a process keeps in memory for later, within a bound of bytes."""

import threading
from collections import OrderedDict
from collections.abc import Hashable
from typing import Generic, TypeVar

K = TypeVar("K", bound=Hashable)
V = TypeVar("V")


class LRUCache(Generic[K, V]):
    """Values by key. Beyond `max_bytes` those that were not used for longest are let go, but never the last one."""

    def __init__(self, max_bytes: int) -> None:
        self._max_bytes = max_bytes
        self._lock = threading.Lock()
        self._values: OrderedDict[K, tuple[V, int]] = OrderedDict()
        self._held_bytes = 0

    def get(self, key: K) -> V | None:
        """The value, which is used by that."""
        with self._lock:
            if key not in self._values:
                return None
            self._values.move_to_end(key)
            return self._values[key][0]

    def put(self, key: K, value: V, size_bytes: int) -> None:
        """Keep a value, instead of the one that the key had."""
        with self._lock:
            self._held_bytes += size_bytes - self._values.pop(key, (None, 0))[1]
            self._values[key] = value, size_bytes
            while self._held_bytes > self._max_bytes and len(self._values) > 1:
                self._held_bytes -= self._values.popitem(last=False)[1][1]
