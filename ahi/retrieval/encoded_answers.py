"""Answers that take a FrameFetcher some work to encode, kept in the cache. Runs in the web processes."""

from collections.abc import Callable

from ahi.cache.cache import Cache


class EncodedAnswers:
    """Encoded answers by key. Each is made once."""

    def __init__(self, cache: Cache) -> None:
        self._cache = cache

    def read(self, key: str, encode: Callable[[str], bytes]) -> bytes:
        """Return the answer. `encode` makes it in a FrameFetcher, which keeps it in the cache under the given name.

        `key` consists of letters and digits and changes with the bytes.
        """
        name = f"encoded/{key[:2]}/{key}"
        cached = self._cache.read(name)
        self._cache.count_use(hit=cached is not None)
        return cached or encode(name)
