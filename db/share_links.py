"""The share links that own tables tell of: who has made them, for which study, and which were revoked."""

from collections.abc import Sequence
from dataclasses import dataclass

from sqlalchemy import func, select

from db.engine import Database
from db.index_schema import share_link


@dataclass(frozen=True)
class SharedLink:
    """A share link that was made, without its token. Times are seconds since 1970."""

    link_id: str
    user: str
    study_instance_uid: str
    made_at: int
    expires_at: int


def has_share_links(database: Database) -> bool:
    """Whether the index has a table for them: it is our own, and was migrated."""
    return bool(database.columns(share_link.name))


def find_share_links(
    database: Database, now: float, user: str, offset: int, limit: int
) -> tuple[Sequence[SharedLink], int]:
    """A page of the links in force, those made last first, and the number of all; of one user, or of all for ""."""
    columns = share_link.c
    fits = [columns.expiresat > int(now), columns.revokedat.is_(None), *([columns.madeby == user] if user else [])]
    page = select(share_link).where(*fits).order_by(columns.madeat.desc(), columns.linkid).limit(limit).offset(offset)
    number = database.rows(select(func.count()).select_from(share_link).where(*fits))[0][0]
    return [
        SharedLink(row.linkid, row.madeby, row.studyinstanceuid, int(row.madeat), int(row.expiresat))
        for row in database.rows(page)
    ], int(number)


def find_revoked_links(database: Database, now: float) -> Sequence[tuple[str, float]]:
    """The ID and the end of each revoked link that would not have ended yet."""
    columns = share_link.c
    fits = (columns.revokedat.is_not(None), columns.expiresat > int(now))
    return [(row.linkid, float(row.expiresat)) for row in database.rows(select(share_link).where(*fits))]
