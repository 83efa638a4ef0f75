"""How far the index follows AHI, as its own tables say; for `python main.py check`."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import func, select

from db.engine import Database
from db.index_schema import index_follower, indexed_image_set, schema_version


@dataclass(frozen=True)
class FollowedSource:
    """A data store that is asked, or the queue of events if `datastore_id` is "". All times are in UTC.

    `asked_at` is when it answered last, `event_at` when a change was written last; None for never.
    """

    datastore_id: str
    asked_at: datetime | None
    event_at: datetime | None


@dataclass(frozen=True)
class LedgerCounts:
    """Numbers of image sets: those that are indexed, those that failed and are tried again, those put aside."""

    indexed: int
    failing: int
    aside: int


def tables_version(database: Database) -> int:
    """The version of own tables; 0 if they were never finished."""
    return int(database.rows(select(func.coalesce(func.max(schema_version.c.version), 0)))[0][0])


def followed_sources(database: Database) -> Sequence[FollowedSource]:
    """All sources that were ever followed."""
    columns = index_follower.c
    found = database.rows(select(columns.source, columns.askedat, columns.eventat).order_by(columns.source))
    return [FollowedSource(*row) for row in found]


def count_ledger(database: Database, failures: int) -> LedgerCounts:
    """The numbers of image sets; those that failed as often as `failures` are put aside."""
    columns = indexed_image_set.c
    there = columns.version.is_not(None) & columns.deletedat.is_(None)

    def number(condition: object) -> int:
        return int(database.rows(select(func.count()).select_from(indexed_image_set).where(condition))[0][0])  # type: ignore[arg-type]

    failing = number(columns.attempts.between(1, failures - 1))
    return LedgerCounts(number(there), failing, number(columns.attempts >= failures))
