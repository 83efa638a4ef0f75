"""The sessions of people that were revoked, as own tables tell them to all hosts of a service."""

from collections.abc import Sequence

from sqlalchemy import select

from db.engine import Database
from db.index_schema import revoked_session


def has_revoked_sessions(database: Database) -> bool:
    """Whether the index has a table for them: it is our own, and was migrated."""
    return bool(database.columns(revoked_session.name))


def find_revoked_sessions(database: Database, now: float) -> Sequence[tuple[str, float]]:
    """The digest of each session, and the second since 1970 until which it is kept; those that are still kept."""
    columns = revoked_session.c
    found = database.rows(select(columns.digest, columns.keptuntil).where(columns.keptuntil > int(now)))
    return [(row.digest, float(row.keptuntil)) for row in found]
