"""Revoked sessions that all hosts of a service know, by own tables of the index. Runs in the web processes.

The memory of the host counts, as without such tables. A logout is written to the index as well, and each process reads
every few seconds what the processes of other hosts have written. While the index is away, the memory alone counts, and
what could not be written is written later.
"""

import logging
import time

from app.auth.revocations import Revocations, digest_of
from app.lazy_writer import LazyWriter
from db.engine import Database
from db.revoked_sessions import find_revoked_sessions, has_revoked_sessions
from dicomweb.errors import ProxyError
from index.writing.revoked_sessions import note_revoked_session
from runtime.single_flight import SingleFlight

log = logging.getLogger(__name__)

_MOST_UNWRITTEN = 10_000  # logouts of a process while the index cannot be written

READ_SECONDS = 5.0
"""The time after which another host knows of a logout."""


class IndexRevocations:
    """Like `Revocations`, which is `memory`. `writer` has the login that writes."""

    def __init__(self, memory: Revocations, database: Database, writer: LazyWriter) -> None:
        self._memory = memory
        self._database = database
        self._writer = writer
        self._reading = SingleFlight(self._read)
        self._unwritten: dict[str, float] = {}

    def add(self, session_id: str, until: float, now: float) -> None:
        """Revoke a session here at once, and on other hosts soon. The log says if the index cannot be written."""
        self._memory.add(session_id, until, now)
        digest = digest_of(session_id)
        try:
            self._write(digest, until, now)
        except (ProxyError, ValueError) as error:  # the latter: the secret cannot be read
            log.error("a logout is known to this host alone reason=%s", error)
            if len(self._unwritten) < _MOST_UNWRITTEN:
                self._unwritten[digest] = until

    def has(self, session_id: str, renewed: float) -> bool:
        """Whether a session is revoked. It waits for nothing: what others have written is read meanwhile."""
        self._reading.latest(READ_SECONDS)
        return self._memory.has(session_id, renewed)

    def _read(self) -> None:
        now = time.time()
        try:
            for digest, until in list(self._unwritten.items()):
                if until > now:
                    self._write(digest, until, now)
                del self._unwritten[digest]
            if has_revoked_sessions(self._database):
                for digest, until in find_revoked_sessions(self._database, now):
                    self._memory.add_digest(digest, until, now)
        except (ProxyError, ValueError) as error:
            log.warning("logouts at other hosts are not known at the moment reason=%s", error)

    def _write(self, digest: str, until: float, now: float) -> None:
        if has_revoked_sessions(self._database):
            note_revoked_session(self._writer.session, digest, until, now)
