"""Share links that all hosts of a service know, by own tables of the index. Runs in the web processes.

A link is made only if it is noted. A link that was revoked ends at once on this host, and within seconds on others,
which read what was revoked. A process that has not read it yet opens no link.
"""

import logging
import time
from collections.abc import Sequence

from app.auth.shared_links import HostShareLinks
from app.lazy_writer import LazyWriter
from db.engine import Database
from db.share_links import SharedLink, find_revoked_links, find_share_links, has_share_links
from dicomweb.errors import ProxyError, UpstreamBusy
from index.writing.share_links import note_share_link, revoke_share_links
from runtime.single_flight import SingleFlight, ended

log = logging.getLogger(__name__)

READ_SECONDS = 5.0
"""The time after which another host knows of a link that was revoked."""

_FIRST_SECONDS = 5.0  # that a request waits for the first reading of a process


class IndexShareLinks:
    """Like `HostShareLinks`, which is `memory`, and which is used alone while the index has no table for links."""

    def __init__(self, memory: HostShareLinks, database: Database, writer: LazyWriter) -> None:
        self._memory = memory
        self._database = database
        self._writer = writer
        self._reading = SingleFlight(self._read)
        self._was_read = False

    @property
    def lasts(self) -> bool:
        """Whether the index has a table for links."""
        return has_share_links(self._database)

    def note(self, link: SharedLink, now: float) -> None:
        """Note a link; UpstreamBusy or UpstreamFailed if the index cannot be written now."""
        if self.lasts:
            note_share_link(self._writer.session, link, now)
        else:
            self._memory.note(link, now)

    def page(self, now: float, user: str, offset: int, limit: int) -> tuple[Sequence[SharedLink], int]:
        """Those that were made last come first."""
        if self.lasts:
            return find_share_links(self._database, now, user, offset, limit)
        return self._memory.page(now, user, offset, limit)

    def revoke(self, now: float, *, link_id: str = "", user: str = "") -> Sequence[SharedLink]:
        """Revoke links in the index, and then here; UpstreamBusy or UpstreamFailed if the index cannot be written."""
        if not self.lasts:
            return self._memory.revoke(now, link_id=link_id, user=user)
        revoked = revoke_share_links(self._writer.session, now, link_id=link_id, user=user)
        for link in revoked:
            self._memory.note_revoked(link.link_id, link.expires_at, now)
        return revoked

    def is_revoked(self, link_id: str) -> bool:
        """Whether a link was revoked. Only the first requests of a process wait for what others have revoked."""
        reading = self._reading.latest(READ_SECONDS)
        if not self._was_read and (not ended(reading, _FIRST_SECONDS) or not self._was_read):
            raise UpstreamBusy("it is not known at the moment which links were revoked")
        return self._memory.is_revoked(link_id)

    def _read(self) -> None:
        now = time.time()
        try:
            if has_share_links(self._database):
                for link_id, expires_at in find_revoked_links(self._database, now):
                    self._memory.note_revoked(link_id, expires_at, now)
        except ProxyError as error:
            log.warning("links that were revoked at other hosts are not known at the moment reason=%s", error)
        else:
            self._was_read = True
