"""What the time of a request goes into, for its Server-Timing header."""

import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar

_parts: ContextVar[dict[str, float] | None] = ContextVar("parts", default=None)


def start_timing() -> None:
    """From here on, in this thread, parts are measured anew."""
    _parts.set({})


@contextmanager
def measured(part: str) -> Iterator[None]:
    """The time of what is done here counts as that of `part`; nothing outside of a request."""
    parts = _parts.get()
    started = time.monotonic()
    try:
        yield
    finally:
        if parts is not None:
            parts[part] = parts.get(part, 0.0) + time.monotonic() - started


def timing() -> Mapping[str, float]:
    """The seconds of each part so far."""
    return _parts.get() or {}
