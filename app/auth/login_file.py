"""A file of users or tokens: read at the start, and again when a process of this service has changed it.

All web processes of a host share the time of the last change. A change by a person counts after SIGHUP, as before, so
that a file which is half edited counts nowhere.
"""

import logging
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Generic, TypeVar

from runtime.changes import Changes

log = logging.getLogger(__name__)

T = TypeVar("T")

_AGAIN_SECONDS = 1.0  # after a file that could not be read


class LoginFile(Generic[T]):
    """The content of one file, by a call. Safe to share between threads."""

    def __init__(self, path: Path, parse: Callable[[Path], Mapping[str, T]], changes: Changes | None = None) -> None:
        """OSError or ValueError if the file cannot be read now."""
        self.path = path
        self.parse = parse
        self._changes = changes
        self._read_at = time.monotonic()
        self._tried_at = self._read_at
        self._content = parse(path)

    def __call__(self) -> Mapping[str, T]:
        """The content that counts. If the file cannot be read again, the log says so, and the old content stays."""
        if self._changes and not self._changes.is_current(str(self.path), self._read_at):
            self._read_again()
        return self._content

    def has_changed(self) -> bool:
        """Whether the file has another content now, or cannot be read."""
        try:
            return self.parse(self.path) != self()
        except (OSError, ValueError):
            return True

    def note_change(self) -> None:
        """Have all processes read the file again before they look at it."""
        if self._changes:
            self._changes.note(str(self.path))

    def _read_again(self) -> None:
        now = time.monotonic()
        if self._tried_at > self._read_at and now < self._tried_at + _AGAIN_SECONDS:
            return
        self._tried_at = now
        try:
            self._content = self.parse(self.path)
        except (OSError, ValueError):  # the text of the latter may have a line
            log.error("a file of users or tokens cannot be read again file=%s", self.path)  # noqa: TRY400 - no text
        else:
            self._read_at = self._tried_at = now
