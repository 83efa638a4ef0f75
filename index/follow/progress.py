"""How far following has come, in a table of the index: so that a follower goes on where another one was killed.

All times are in UTC, and only ever grow. Several followers share the rows.
"""

import time
from collections.abc import Callable, Collection
from datetime import datetime, timezone
from typing import Any

from sqlalchemy import Connection, insert, or_, select, update

from db.index_schema import index_follower, indexed_image_set
from index.follow.events import ImageSetHint
from index.follow.holds import FAILURES
from index.writing.ledger import now, utc
from index.writing.session import WriteSession

QUEUE = ""
"""The source that is the queue; the others are data stores."""

_MOST_AGAIN = 500
_NOTE_SECONDS = 2.0
_C = index_follower.c


class FollowerProgress:
    """Safe to share between threads. Errors are those of WriteSession."""

    def __init__(self, session: WriteSession) -> None:
        self._run = session.run
        self._due: dict[tuple[str, str], float] = {}  # a lost entry costs one more row that is written

    def seen_at(self, datastore_id: str) -> datetime | None:
        """The time of AHI up to which all updates of a data store were seen; None if it was never followed."""

        def find(connection: Connection) -> datetime | None:
            return connection.execute(select(_C.seenat).where(_C.source == datastore_id)).scalar()

        found: Any = self._run(find)
        return found.replace(tzinfo=timezone.utc) if found else None

    def note_seen(self, datastore_id: str, at: datetime) -> None:
        """Note that all updates of a data store up to a time were seen, and that AHI was asked now."""
        self._run(_later(datastore_id, seenat=utc(at), askedat=now()))

    def note_filled(self, datastore_id: str, at: datetime) -> None:
        """Note that a fill has read all that was updated up to a time: a follower begins there."""
        self._run(_later(datastore_id, seenat=utc(at)))

    def note_asked(self, source: str = QUEUE) -> None:
        """Note that the source answered now; a few seconds later it is noted again."""
        self._note("askedat", source)

    def note_event(self, source: str = QUEUE) -> None:
        """Note that a change was written now; a few seconds later it is noted again."""
        self._note("eventat", source)

    def _note(self, name: str, source: str) -> None:
        if time.monotonic() >= self._due.get((name, source), 0.0):
            self._run(_later(source, **{name: now()}))
            self._due[name, source] = time.monotonic() + _NOTE_SECONDS

    def failed_before(self, but_of: Collection[str] = ()) -> list[ImageSetHint]:
        """Image sets that failed, and were not put aside: as many as are worth a round, those that failed least first.

        Those of the data stores `but_of` are left out.
        """
        columns = indexed_image_set.c
        failing = columns.attempts.between(1, FAILURES - 1) & columns.datastoreid.not_in(but_of)
        first = select(columns.datastoreid, columns.imagesetid).where(failing).order_by(columns.attempts)
        found = first.limit(_MOST_AGAIN)
        rows = self._run(lambda connection: connection.execute(found).all())
        return [ImageSetHint(row.datastoreid, row.imagesetid) for row in rows]


def _later(source: str, **times: datetime) -> Callable[[Connection], None]:
    """A transaction that sets times of a source that are later than those that it has."""

    def write(connection: Connection) -> None:
        known = connection.execute(select(index_follower).where(_C.source == source)).first()
        if known is None:
            connection.execute(insert(index_follower).values(source=source, **times))
            return
        for name, at in times.items():
            is_earlier = or_(_C[name].is_(None), _C[name] < at)
            connection.execute(update(index_follower).where(_C.source == source, is_earlier).values({name: at}))

    return write
