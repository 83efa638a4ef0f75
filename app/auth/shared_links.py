"""The share links in force, in memory that all web processes of a host share. Made before the fork.

A link is noted without its token, and forgotten when it has ended. The number of places is fixed. If all are taken, no
further link can be made until one ends.
"""

import json
import struct
from collections.abc import Iterator, Sequence
from typing import Protocol

from app.auth.revocations import Revocations
from db.share_links import SharedLink
from dicomweb.errors import UpstreamBusy
from runtime.locked_memory import LockedMemory

_PLACES = 4096
_ENTRY_BYTES = 1024
_HEAD = struct.Struct("dH")  # the end of the link, and the length of the text
LONGEST_USER = 128
"""Characters of the name of a user that are noted."""

_RENEWED = 1.0
"""Links are not renewed: if the memory of revocations was once full, all of them have ended."""


class ShareLinks(Protocol):
    """The share links of a service. Times are seconds since 1970."""

    @property
    def lasts(self) -> bool:
        """Whether they are known to all hosts, and after a restart."""

    def note(self, link: SharedLink, now: float) -> None:
        """Note a link that is made; UpstreamBusy if that cannot be done now."""

    def page(self, now: float, user: str, offset: int, limit: int) -> tuple[Sequence[SharedLink], int]:
        """A page of those in force, and the number of all; of one user, or of all for ""."""

    def revoke(self, now: float, *, link_id: str = "", user: str = "") -> Sequence[SharedLink]:
        """Revoke one, or all of a user; those that were in force until now."""

    def is_revoked(self, link_id: str) -> bool:
        """Whether a link was revoked; UpstreamBusy if that is not known yet."""


class HostShareLinks:
    """Those of one host. Safe to share between threads and processes."""

    lasts = False

    def __init__(self) -> None:
        self._shared = LockedMemory(_PLACES * _ENTRY_BYTES)
        self._memory = self._shared.bytes
        self.revoked = Revocations()

    def note(self, link: SharedLink, now: float) -> None:
        """Note a link that is made; UpstreamBusy if all places are taken."""
        parts = [link.link_id, link.user[:LONGEST_USER], link.study_instance_uid, link.made_at, link.expires_at]
        text = json.dumps(parts, ensure_ascii=False).encode("utf-8", "replace")
        if len(text) > _ENTRY_BYTES - _HEAD.size:
            raise UpstreamBusy("the link cannot be noted: its study has too long a UID")
        with self._shared.locked():
            if any(one.link_id == link.link_id for _, one in self._links(now)):
                return
            place = next((at for at in range(_PLACES) if self._end(at) <= now), None)
            if place is None:
                raise UpstreamBusy("too many links are in force: revoke some")
            start = place * _ENTRY_BYTES
            self._memory[start : start + _HEAD.size + len(text)] = _HEAD.pack(link.expires_at, len(text)) + text

    def page(self, now: float, user: str, offset: int, limit: int) -> tuple[Sequence[SharedLink], int]:
        """Those that were made last come first."""
        with self._shared.locked():
            found = [link for _, link in self._links(now) if user in ("", link.user)]
        found.sort(key=lambda link: (-link.made_at, link.link_id))
        return found[offset : offset + limit], len(found)

    def revoke(self, now: float, *, link_id: str = "", user: str = "") -> Sequence[SharedLink]:
        """They end at once in all processes of the host, and their places are free."""
        with self._shared.locked():
            chosen = [
                (at, one) for at, one in self._links(now) if one.link_id == link_id or (user and one.user == user)
            ]
            for at, link in chosen:
                self.note_revoked(link.link_id, link.expires_at, now)
                start = at * _ENTRY_BYTES
                self._memory[start : start + _HEAD.size] = _HEAD.pack(0.0, 0)
        return [link for _, link in chosen]

    def note_revoked(self, link_id: str, expires_at: float, now: float) -> None:
        """Note that a link was revoked, here or elsewhere."""
        self.revoked.add(link_id, expires_at + 1, now)

    def is_revoked(self, link_id: str) -> bool:
        """Whether a link was revoked."""
        return self.revoked.has(link_id, _RENEWED)

    def _end(self, place: int) -> float:
        end: float = _HEAD.unpack_from(self._memory, place * _ENTRY_BYTES)[0]
        return end

    def _links(self, now: float) -> Iterator[tuple[int, SharedLink]]:
        for place in range(_PLACES):
            end, length = _HEAD.unpack_from(self._memory, place * _ENTRY_BYTES)
            if end > now:
                start = place * _ENTRY_BYTES + _HEAD.size
                yield place, SharedLink(*json.loads(self._memory[start : start + length]))
