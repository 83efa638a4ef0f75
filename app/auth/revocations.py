"""The sessions that were revoked, in memory that all web processes of a host share. Made before the fork.

Each is kept until every cookie of its session has expired. Nothing is lost when the memory is full: then all sessions
end that were last renewed before that moment, and their users sign in again.
"""

import hashlib

from runtime.locked_memory import LockedMemory

_PLACES = 2**15
_TRIED = 64  # places in a row that one session may have
_ENTRY_BYTES = 16  # a digest of the ID, and the time until which it is kept
_HEAD_BYTES = 16  # the time before which all sessions have ended


class Revocations:
    """The IDs of revoked sessions. Times are seconds since 1970. Safe to share between threads and processes."""

    def __init__(self) -> None:
        self._memory = LockedMemory(_HEAD_BYTES + _PLACES * _ENTRY_BYTES)
        memory = memoryview(self._memory.bytes)
        self._ends_before = memory[:8].cast("d")
        entries = memory[_HEAD_BYTES:]
        self._digests, self._kept_until = entries.cast("Q")[0::2], entries.cast("d")[1::2]

    def add(self, session_id: str, until: float, now: float) -> None:
        """Note that a session is revoked; its cookies expire before `until`."""
        self.add_digest(digest_of(session_id), until, now)

    def add_digest(self, session_digest: str, until: float, now: float) -> None:
        """The same by `digest_of` its ID."""
        digest, places = _places(session_digest)
        with self._memory.locked():
            for place in places:
                if self._kept_until[place] <= now or self._digests[place] == digest:
                    self._digests[place], self._kept_until[place] = digest, until
                    return
            self._ends_before[0] = now

    def has(self, session_id: str, renewed: float) -> bool:
        """Whether a session is revoked, which was last renewed at a time."""
        digest, places = _places(digest_of(session_id))
        return renewed <= self._ends_before[0] or any(self._digests[place] == digest for place in places)


def digest_of(session_id: str) -> str:
    """The digest of the ID of a session: nobody can make the ID of it."""
    return hashlib.sha256(session_id.encode()).hexdigest()


def _places(session_digest: str) -> tuple[int, range]:
    """The beginning of a digest, which is not 0, and the places where it may be."""
    digest = int(session_digest[:16], 16) | 1
    first = (digest >> 1) % (_PLACES - _TRIED)
    return digest, range(first, first + _TRIED)
