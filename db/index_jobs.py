"""Jobs of the index, by its own tables: runs of the index command, and image sets that could not be indexed."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import select

from db.engine import Database
from db.index_kind import IndexKind
from db.index_schema import index_run, indexed_image_set

_NEWEST = 1000


@dataclass(frozen=True)
class IndexRun:
    """A run of the index command; times are in UTC. See `db.index_schema.index_run`."""

    run: str
    kind: str
    host: str
    datastore_ids: tuple[str, ...]
    started_at: datetime
    seen_at: datetime
    ended_at: datetime | None
    phase: str
    phase_at: datetime | None
    done: int
    total: int | None
    result: str
    error: str
    cancelled_at: datetime | None

    @property
    def per_second(self) -> float | None:
        """The image sets per second of the phase; None if that is not known."""
        seconds = (self.seen_at - self.phase_at).total_seconds() if self.phase_at else 0.0
        return self.done / seconds if self.done and seconds >= 1 else None


@dataclass(frozen=True)
class FailedImageSet:
    """An image set of which the last attempt has failed; `study_instance_uid` is None if it was never indexed."""

    datastore_id: str
    image_set_id: str
    attempts: int
    error: str
    study_instance_uid: str | None


def has_runs(database: Database) -> bool:
    """Whether the index has a table of runs: it is our own, and was migrated."""
    return database.index_kind is IndexKind.OWN and bool(database.columns(index_run.name))


def find_runs(database: Database, first: int, most: int) -> Sequence[IndexRun]:
    """`most` runs after the first ones, newest first."""
    columns = index_run.c
    newest = select(index_run).order_by(columns.startedat.desc(), columns.run).limit(most).offset(first)
    return [
        IndexRun(
            row.run,
            row.kind,
            row.host,
            tuple(row.datastores.split()),
            row.startedat,
            row.seenat,
            row.endedat,
            row.phase or "",
            row.phaseat,
            row.done,
            row.total,
            row.result or "",
            row.error or "",
            row.cancelledat,
        )
        for row in database.rows(newest)
    ]


def last_runs(database: Database, kinds: Collection[str]) -> Mapping[str, IndexRun]:
    """The newest run of these kinds that has ended, by data store, among the newest of all runs."""
    last: dict[str, IndexRun] = {}
    for run in find_runs(database, 0, _NEWEST):
        if run.kind in kinds and run.ended_at:
            for datastore_id in run.datastore_ids:
                last.setdefault(datastore_id, run)
    return last


def find_run(database: Database, run: str) -> tuple[str, ...] | None:
    """The data stores of a run; None if there is no such run."""
    rows = database.rows(select(index_run.c.datastores).where(index_run.c.run == run))
    return tuple(rows[0][0].split()) if rows else None


def find_failed(database: Database, first: int, most: int) -> Sequence[FailedImageSet]:
    """`most` image sets after the first ones, those with most attempts first."""
    columns = indexed_image_set.c
    failed = (
        select(columns.datastoreid, columns.imagesetid, columns.attempts, columns.error, columns.studyinstanceuid)
        .where(columns.attempts > 0)
        .order_by(columns.attempts.desc(), columns.datastoreid, columns.imagesetid)
        .limit(most)
        .offset(first)
    )
    return [
        FailedImageSet(row.datastoreid, row.imagesetid, row.attempts, row.error or "", row.studyinstanceuid)
        for row in database.rows(failed)
    ]
