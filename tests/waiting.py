"""Wait for what other threads and processes do, with a bound that a busy machine keeps."""

import time
from collections.abc import Callable

PATIENCE_SECONDS = 60
"""The longest that a busy machine takes for what a quiet one does at once; a bound, never a time to sleep."""


def wait_for(
    condition: Callable[..., object], seconds: float = PATIENCE_SECONDS, *, pause_seconds: float = 0.005
) -> None:
    """Return once the condition holds; fail if it does not within so many seconds. It is looked at after each pause."""
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, f"it did not happen within {seconds} seconds"
        time.sleep(pause_seconds)
