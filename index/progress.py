"""Progress of a long run: a bar on a terminal, a line a minute in a log. Safe to share between threads."""

import logging
import sys
import threading
import time
from types import TracebackType

from tqdm import tqdm

from index.estimate import duration

log = logging.getLogger(__name__)

LINE_SECONDS = 60.0


class Progress:
    """Counts up to `total`, None where that is not known. `with` closes the bar."""

    def __init__(
        self,
        what: str,
        total: int | None = None,
        *,
        in_terminal: bool | None = None,
        line_seconds: float = LINE_SECONDS,
    ) -> None:
        """`what` is the phase of a run. `in_terminal` is whether standard error is one, by default as it is."""
        self.what = what
        self.total = total
        self._line_seconds = line_seconds
        self._lock = threading.Lock()
        self._done = 0
        self._began_at = self._told_at = time.monotonic()
        shows_bar = sys.stderr.isatty() if in_terminal is None else in_terminal
        self._bar = tqdm(total=total, desc=what, unit=" image sets", file=sys.stderr) if shows_bar else None

    def __enter__(self) -> "Progress":
        return self

    def __exit__(
        self, _kind: type[BaseException] | None, _error: BaseException | None, _trace: TracebackType | None
    ) -> None:
        if self._bar is not None:
            self._bar.close()
        elif self._done:
            self._tell()

    @property
    def done(self) -> int:
        """The image sets that are done."""
        with self._lock:
            return self._done

    def add(self, number: int = 1) -> None:
        """Note that so many image sets are done."""
        with self._lock:
            self._done += number
            if self._bar is not None:
                self._bar.update(number)
                return
            is_due = time.monotonic() - self._told_at >= self._line_seconds
            if is_due:
                self._told_at = time.monotonic()
        if is_due:
            self._tell()

    def _tell(self) -> None:
        rate = self._done / max(0.001, time.monotonic() - self._began_at)
        if self.total is None:
            log.info("%s image_sets=%d rate=%.1f/s", self.what, self._done, rate)
        else:
            left = duration(max(0, self.total - self._done) / rate) if rate else "unknown"
            log.info("%s image_sets=%d of=%d rate=%.1f/s left=%s", self.what, self._done, self.total, rate, left)
