"""Revoked sessions that all hosts of a service know, by own tables of the index. Runs in the web processes.

The memory of the host counts, as without such tables. A logout is written to the index as well, and each process reads
every few seconds what the processes of other hosts have written. While the index is away, the memory alone counts.
"""

import logging
import threading
import time
from collections.abc import Callable
from typing import Protocol

from app.auth.revocations import Revocations, digest_of
from db.engine import Database
from db.revoked_sessions import find_revoked_sessions, has_revoked_sessions
from dicomweb.errors import ProxyError
from index.writing.revoked_sessions import note_revoked_session
from index.writing.session import WriteSession
from runtime.single_flight import SingleFlight

log = logging.getLogger(__name__)

READ_SECONDS = 5.0
"""The time after which another host knows of a logout."""


class Writer(Protocol):
    """An owner of a session that writes to the index."""

    @property
    def session(self) -> WriteSession:
        """The session."""


class IndexRevocations:
    """Like `Revocations`, which is `memory`. `open_writer` gives the login that writes; it is called at a logout."""

    def __init__(self, memory: Revocations, database: Database, open_writer: Callable[[], Writer]) -> None:
        self._memory = memory
        self._database = database
        self._open_writer = open_writer
        self._writer: Writer | None = None
        self._lock = threading.Lock()
        self._reading = SingleFlight(self._read)

    def add(self, session_id: str, until: float, now: float) -> None:
        """Revoke a session here at once, and on other hosts soon. The log says if the index cannot be written."""
        self._memory.add(session_id, until, now)
        try:
            if has_revoked_sessions(self._database):
                note_revoked_session(self._write_session(), digest_of(session_id), until, now)
        except (ProxyError, ValueError) as error:  # the latter: the secret cannot be read
            log.error("a logout is known to this host alone reason=%s", error)

    def has(self, session_id: str, renewed: float) -> bool:
        """Whether a session is revoked. It waits for nothing: what others have written is read meanwhile."""
        self._reading.latest(READ_SECONDS)
        return self._memory.has(session_id, renewed)

    def _read(self) -> None:
        now = time.time()
        try:
            if has_revoked_sessions(self._database):
                for digest, until in find_revoked_sessions(self._database, now):
                    self._memory.add_digest(digest, until, now)
        except ProxyError as error:
            log.warning("logouts at other hosts are not known at the moment reason=%s", error)

    def _write_session(self) -> WriteSession:
        with self._lock:
            writer = self._writer
        if writer is None:
            writer = self._open_writer()  # two threads may open one each; both write
            with self._lock:
                self._writer = writer
        return writer.session
