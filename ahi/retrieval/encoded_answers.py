"""Encoded."""

from collections.abc import Callable

from ahi.cache.cache import Cache


class EncodedAnswers:
    """Answers that took a fetcher some work: each is made once and kept in the cache."""

    def __init__(self, cache: Cache) -> None:
        self._cache = cache

    def read(self, key: str, encode: Callable[[str], bytes]) -> bytes:
        """The answer; `encode` has a fetcher make it and keep it under the name that it is given.

        `key` is of harmless characters and changes with the bytes.
        """
        name = f"encoded/{key[:2]}/{key}"
        kept = self._cache.read(name)
        self._cache.count_use(hit=kept is not None)
        return kept or encode(name)
