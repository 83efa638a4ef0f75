"""What `python main.py cache` prints."""

from collections.abc import Iterator
from datetime import datetime

from ahi.cache.cache import Cache
from app.settings import Settings


def describe_cache(cache: Cache, settings: Settings) -> Iterator[str]:
    """Lines: where it is, its bounds, and for each kind of file how many, their bytes and the oldest use."""
    yield f"{settings.cache_root.resolve()}"
    yield f"at most {settings.cache_max_bytes} bytes, {settings.cache_min_free_bytes} bytes of the disk left free"
    yield f"{'kind':<12}{'entries':>10}{'bytes':>16}  oldest use"
    kinds = sorted(cache.kinds().items())
    for kind, kept in kinds:
        oldest = datetime.fromtimestamp(kept.oldest_used_at).isoformat(" ", "seconds")
        yield f"{kind:<12}{kept.entries:>10}{kept.size_bytes:>16}  {oldest}"
    total = [sum(kept.entries for _, kept in kinds), sum(kept.size_bytes for _, kept in kinds)]
    yield f"{'all':<12}{total[0]:>10}{total[1]:>16}"
