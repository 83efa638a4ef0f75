"""Share links in force as rows of the page Access, and their revocation. Runs in the web processes."""

import time
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timezone

from app.auth.shared_links import ShareLinks
from app.console.study_list import seen_studies
from app.services import Services
from db.scope import EVERYTHING, Scope
from db.share_links import SharedLink
from dicomweb.errors import NotFound

ROWS_PER_PAGE = 25


@dataclass(frozen=True)
class LinkRow:
    """A share link. The study is "" if the reader may not see it. Times are in UTC."""

    link_id: str
    user: str
    study_instance_uid: str
    made: datetime
    ends: datetime


@dataclass(frozen=True)
class LinkPage:
    """A page of the links in force, made last first, of one user or of all. `lasts` if a restart forgets none."""

    rows: tuple[LinkRow, ...]
    user: str
    number: int
    page: int
    has_next: bool
    lasts: bool


def find_links(services: Services, scope: Scope, user: str, page: int) -> LinkPage:
    """A page of the links, of one user or of all for "", for a reader of this scope."""
    links, offset = services.session_state.share_links, (page - 1) * ROWS_PER_PAGE
    found, number = links.page(time.time(), user, offset, ROWS_PER_PAGE)
    uids = [link.study_instance_uid for link in found]
    seen = frozenset(uids) if scope == EVERYTHING else seen_studies(services.archive, services.search_scope(), uids)
    rows = tuple(_row(link, link.study_instance_uid in seen) for link in found)
    return LinkPage(rows, user, number, page, offset + len(rows) < number, links.lasts)


def revoke(links: ShareLinks, *, link_id: str = "", user: str = "") -> Sequence[SharedLink]:
    """Revoke one link, or all of a user; NotFound if there is none in force."""
    if not link_id and not user:
        raise NotFound("no link is named")
    found = links.revoke(time.time(), link_id=link_id, user=user)
    if not found:
        raise NotFound("there is no such link in force")
    return found


def _row(link: SharedLink, is_seen: bool) -> LinkRow:
    made, ends = (datetime.fromtimestamp(at, timezone.utc) for at in (link.made_at, link.expires_at))
    return LinkRow(link.link_id, link.user, link.study_instance_uid if is_seen else "", made, ends)
