"""`python main.py cache`: show what the cache holds, or empty it. The service may run meanwhile."""

from argparse import ArgumentParser, Namespace
from collections.abc import Iterator
from datetime import datetime

from ahi.cache.cache import Cache
from app.commands.embedded import open_embedded, with_defaults
from app.processes.resources import open_cache
from app.settings import Settings


def add_arguments(parser: ArgumentParser) -> None:
    """Add `--empty`."""
    parser.add_argument("--empty", action="store_true", help="delete what it holds")


def run(settings: Settings, options: Namespace) -> int:
    """Print what the cache holds, after emptying it with `--empty`."""
    if not settings.names_index:
        settings = with_defaults(open_embedded(settings))
    cache = open_cache(settings)
    if options.empty:
        cache.empty()
    print("\n".join(describe_cache(cache, settings)))
    return 0


def describe_cache(cache: Cache, settings: Settings) -> Iterator[str]:
    """The lines to print: folder, bounds, and for each kind of file the number, the bytes and the oldest use."""
    yield f"{settings.cache_root.resolve()}"
    yield f"at most {settings.cache_max_bytes} bytes, {settings.cache_min_free_bytes} bytes of the disk left free"
    yield f"{'kind':<12}{'entries':>10}{'bytes':>16}  oldest use"
    kinds = sorted(cache.kinds().items())
    for kind, usage in kinds:
        oldest = datetime.fromtimestamp(usage.oldest_used_at).isoformat(" ", "seconds")
        yield f"{kind:<12}{usage.entries:>10}{usage.size_bytes:>16}  {oldest}"
    entries, size_bytes = sum(usage.entries for _, usage in kinds), sum(usage.size_bytes for _, usage in kinds)
    yield f"{'all':<12}{entries:>10}{size_bytes:>16}"
