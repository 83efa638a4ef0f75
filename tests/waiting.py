"""Wait for what other threads and processes do, with a bound that a busy machine keeps."""

import time
from collections.abc import Callable

_PATIENCE_SECONDS = 60


def wait_for(condition: Callable[..., object], seconds: float = _PATIENCE_SECONDS) -> None:
    """Return once the condition holds; fail if it does not within so many seconds."""
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, f"it did not happen within {seconds} seconds"
        time.sleep(0.005)
