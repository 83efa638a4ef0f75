"""The login of web processes that writes to the index: opened when something is written first, and kept then."""

import threading
from collections.abc import Callable
from typing import Protocol

from index.writing.session import WriteSession


class Writer(Protocol):
    """An owner of a session that writes to the index."""

    @property
    def session(self) -> WriteSession:
        """The session."""


class LazyWriter:
    """Opens the writer at its first use. Safe to share between threads."""

    def __init__(self, open_writer: Callable[[], Writer]) -> None:
        self._open_writer = open_writer
        self._writer: Writer | None = None
        self._lock = threading.Lock()

    @property
    def session(self) -> WriteSession:
        """The session; errors are those of opening it."""
        with self._lock:
            writer = self._writer
        if writer is None:
            writer = self._open_writer()  # two threads may open one each; both write
            with self._lock:
                self._writer = writer
        return writer.session
