"""Runs of the index command in its own table: each notes how far it is, and reads whether an operator has cancelled it.

All functions run a transaction of their own. Errors are those of `WriteSession.run`.
"""

from collections.abc import Sequence
from datetime import timedelta
from typing import Any

from sqlalchemy import Connection, delete, insert, select, update

from db.index_schema import index_run
from index.writing.ledger import now
from index.writing.session import WriteSession

KEPT_DAYS = 30
_LONGEST_TEXT = 1024
_C = index_run.c


def note_begin(session: WriteSession, run: str, kind: str, host: str, datastore_ids: Sequence[str]) -> None:
    """Note that a run has begun, and forget those that began long ago."""

    def work(connection: Connection) -> None:
        moment = now()
        connection.execute(delete(index_run).where(_C.startedat < moment - timedelta(days=KEPT_DAYS)))
        values = {"kind": kind, "host": host, "datastores": " ".join(datastore_ids), "done": 0}
        connection.execute(insert(index_run).values(run=run, startedat=moment, seenat=moment, **values))

    session.run(work)


def note_progress(session: WriteSession, run: str, phase: str, done: int, total: int | None, *, begins: bool) -> bool:
    """Note how far a run is, and whether its phase begins now; returns whether an operator has cancelled it."""

    def work(connection: Connection) -> bool:
        moment = now()
        values: dict[str, Any] = {"seenat": moment, "phase": phase, "done": done, "total": total}
        if begins:
            values["phaseat"] = moment
        connection.execute(update(index_run).where(_C.run == run).values(**values))
        return connection.scalar(select(_C.cancelledat).where(_C.run == run)) is not None

    return session.run(work)


def note_end(session: WriteSession, run: str, done: int, result: str, error: str) -> None:
    """Note that a run has ended; `error` is "" if it did what it should."""

    def work(connection: Connection) -> None:
        moment = now()
        values = {"seenat": moment, "endedat": moment, "done": done}
        texts = {"result": result[:_LONGEST_TEXT] or None, "error": error[:_LONGEST_TEXT] or None}
        connection.execute(update(index_run).where(_C.run == run).values(**values, **texts))

    session.run(work)


def cancel_run(session: WriteSession, run: str) -> bool:
    """Have a run end, as an operator wants it; whether there is one that has not ended. It may be told twice."""

    def work(connection: Connection) -> bool:
        goes_on = (_C.run == run) & _C.endedat.is_(None)
        connection.execute(update(index_run).where(goes_on, _C.cancelledat.is_(None)).values(cancelledat=now()))
        return connection.scalar(select(_C.run).where(goes_on)) is not None

    return session.run(work)
