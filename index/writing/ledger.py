"""The ledger of the index: what was read of each image set, and which image set decides a row.

All functions run in the transaction of their caller.
"""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime, timezone
from typing import Any

from sqlalchemy import Connection, Select, and_, insert, select, update
from sqlalchemy.sql import ColumnElement

from db.index_schema import imageset, indexed_image_set

_AT_ONCE = 500
_LONGEST_ERROR = 1024

_TABLE = indexed_image_set.c

NO_FAILURE: Mapping[str, Any] = {"error": None, "attempts": 0, "triedversion": None, "triedupdatedat": None}
"""The values of a row whose last attempt was a success."""


@dataclass(frozen=True)
class LedgerKey:
    """The data store and the ID of an image set."""

    datastore_id: str
    image_set_id: str

    @property
    def values(self) -> dict[str, Any]:
        """The values of the key columns."""
        return {"datastoreid": self.datastore_id, "imagesetid": self.image_set_id}

    @property
    def truth(self) -> ColumnElement[bool]:
        """Whether a row of the ledger is that of this image set."""
        return and_(_TABLE.datastoreid == self.datastore_id, _TABLE.imagesetid == self.image_set_id)


@dataclass(frozen=True)
class Revision:
    """A state of an image set. The greater of two is the newer one; `updated_at` is in UTC, without a time zone."""

    version: int
    updated_at: datetime
    is_primary: bool

    @property
    def order(self) -> tuple[int, datetime, bool]:
        """A key to sort by."""
        return self.version, self.updated_at, self.is_primary


@dataclass(frozen=True)
class Recorded:
    """The row of an image set: what was indexed of it (None if nothing), and when it was deleted.

    `tried` is the revision at which the attempts have failed, None if AHI did not tell it.
    """

    image_set_id: str
    revision: Revision | None
    deleted_at: datetime | None = None
    attempts: int = 0
    tried: tuple[int, datetime] | None = None
    patient_identity: str | None = None
    study_instance_uid: str | None = None

    @property
    def is_deleted(self) -> bool:
        """Whether it was deleted, and AHI has not shown it since."""
        return self.deleted_at is not None

    def failed_before(self, revision: Revision) -> bool:
        """Whether the attempts that failed were at this revision, or at a later one."""
        return self.tried is not None and self.tried >= (revision.version, revision.updated_at)


def utc(moment: datetime) -> datetime:
    """A moment as the index holds it: in UTC, without its time zone."""
    return moment.astimezone(timezone.utc).replace(tzinfo=None) if moment.tzinfo else moment


def now() -> datetime:
    """The present as the index holds it."""
    return utc(datetime.now(timezone.utc))


def lock(connection: Connection, key: LedgerKey) -> Recorded | None:
    """The row of an image set, locked until the end of the transaction; None if there is none."""
    row = connection.execute(_SELECT.where(key.truth).with_for_update()).first()
    return _recorded(row) if row else None


def find(connection: Connection, datastore_id: str, image_set_ids: Iterable[str]) -> Mapping[str, Recorded]:
    """The rows of these image sets, by ID."""
    ids = list(image_set_ids)
    found: dict[str, Recorded] = {}
    for start in range(0, len(ids), _AT_ONCE):
        some = _TABLE.imagesetid.in_(ids[start : start + _AT_ONCE])
        rows = connection.execute(_SELECT.where(_TABLE.datastoreid == datastore_id, some))
        found |= {row.imagesetid: _recorded(row) for row in rows}
    return found


def each(connection: Connection, datastore_id: str, after: str = "", most: int = 1000) -> Iterator[Recorded]:
    """The rows of a data store in the order of their IDs, at most `most` of them, beginning after an ID."""
    begin = and_(_TABLE.datastoreid == datastore_id, _TABLE.imagesetid > after)
    for row in connection.execute(_SELECT.where(begin).order_by(_TABLE.imagesetid).limit(most)):
        yield _recorded(row)


def add(connection: Connection, key: LedgerKey, values: Mapping[str, Any]) -> None:
    """Add the row of an image set; IntegrityError if another writer has just done so."""
    connection.execute(insert(indexed_image_set).values(**key.values, **{"lossy": False, "attempts": 0, **values}))


def change(connection: Connection, key: LedgerKey, values: Mapping[str, Any]) -> None:
    """Change the row of an image set."""
    connection.execute(update(indexed_image_set).where(key.truth).values(**values))


def note_failure(connection: Connection, key: LedgerKey, reason: str, tried: Revision | None, at_least: int) -> int:
    """Note that an image set could not be indexed; returns the number of attempts since the last success.

    The first attempt at a newer revision than those that failed before is number 1 again.
    """
    recorded = lock(connection, key)
    failures: dict[str, Any] = {"error": reason[:_LONGEST_ERROR]}
    before = recorded.attempts if recorded else 0
    if tried and not (recorded and recorded.failed_before(tried)):
        failures |= {"triedversion": tried.version, "triedupdatedat": tried.updated_at}
        before = 0 if recorded and recorded.tried else before
    attempts = failures["attempts"] = max(before + 1, at_least)
    (change if recorded else add)(connection, key, failures)
    return attempts


def try_again(connection: Connection, key: LedgerKey) -> bool:
    """Have an image set tried again that has failed, as if it had failed once; whether there is such an image set."""
    recorded = lock(connection, key)
    if recorded is None or not recorded.attempts:
        return False
    change(connection, key, {"attempts": 1})
    return True


def preferred(condition: ColumnElement[bool]) -> Select[Any]:
    """The row of the image set that decides, among those of a condition."""
    return select(_TABLE.imagesetid, _TABLE.patientidentity, _TABLE.attributes).where(condition).order_by(
        *_BEST_FIRST
    ).limit(1)  # fmt: skip


def of_study(datastore_id: str, study_instance_uid: str) -> ColumnElement[bool]:
    """Whether an image set is of a study."""
    return and_(_TABLE.studyinstanceuid == study_instance_uid, _TABLE.datastoreid == datastore_id)


def of_patient(datastore_id: str, identity: str) -> ColumnElement[bool]:
    """Whether an image set is of a patient."""
    return and_(_TABLE.patientidentity == identity, _TABLE.datastoreid == datastore_id)


def of_series(series_pkey: int) -> Select[Any]:
    """The image sets of a series, the preferred one first: their keys, IDs and attributes."""
    same = and_(_TABLE.datastoreid == imageset.c.datastoreid, _TABLE.imagesetid == imageset.c.imagesetid)
    return (
        select(imageset.c.imageset_pkey, imageset.c.imagesetid, _TABLE.attributes)
        .join(indexed_image_set, same)
        .where(imageset.c.series_pkey == series_pkey)
        .order_by(*_BEST_FIRST)
    )


_BEST_FIRST = (_TABLE.isprimary.desc(), _TABLE.updatedat.desc(), _TABLE.imagesetid.desc())

_SELECT = select(
    _TABLE.imagesetid,
    _TABLE.version,
    _TABLE.updatedat,
    _TABLE.isprimary,
    _TABLE.deletedat,
    _TABLE.attempts,
    _TABLE.triedversion,
    _TABLE.triedupdatedat,
    _TABLE.patientidentity,
    _TABLE.studyinstanceuid,
)


def _recorded(row: Any) -> Recorded:
    revision = None if row.version is None else Revision(row.version, row.updatedat, bool(row.isprimary))
    return Recorded(
        row.imagesetid,
        revision,
        row.deletedat,
        row.attempts,
        None if row.triedversion is None else (row.triedversion, row.triedupdatedat),
        row.patientidentity,
        row.studyinstanceuid,
    )
