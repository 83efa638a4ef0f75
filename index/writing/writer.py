"""Puts image sets into the index and removes them; a transaction for each.

Calls may repeat and come in any order, from several threads and processes: the rows are always those that a fresh index
would have of the image sets that are there.
"""

from collections.abc import Iterable, Mapping
from datetime import datetime, timedelta
from enum import Enum, auto

from sqlalchemy import Connection
from sqlalchemy.engine import URL

from db.login import Login
from db.migrations import migrate
from db.tls import Tls
from index.writing import ledger
from index.writing.ledger import LedgerKey, Recorded, Revision, utc
from index.writing.rows import StoreRows
from index.writing.session import OF_PROGRAMS, Patience, WriteSession
from index.writing.values import ImageSetRows, Json

_LONGEST_ID = 32
_MICROSECOND = timedelta(microseconds=1)


class Outcome(Enum):
    """What became of a call."""

    WRITTEN = auto()  # the rows are those of this revision
    UNCHANGED = auto()  # the index had this revision
    OUTDATED = auto()  # the index has a newer revision
    DELETED = auto()  # the image set was deleted


class IndexWriter:
    """Writes an index of our own. Safe to share between threads; makes its connections when first needed."""

    def __init__(
        self,
        login: Login | str | URL,
        tls: Tls | None = None,
        *,
        pool_size: int = 4,
        patience: Patience = OF_PROGRAMS,
    ) -> None:
        """`pool_size` is the most connections at once.

        All methods raise UpstreamBusy if the index does not answer, and UpstreamFailed if it refuses a statement.
        """
        login = login if isinstance(login, Login) else Login(login)
        self.session = WriteSession(login, tls or Tls(), pool_size, patience)

    def create_or_migrate(self) -> None:
        """Create the tables, or bring them to the version of this release.

        Of `db.migrations.migrate`: OtherTables if another program's are there, NewerVersion if a newer release's are.
        """
        with self.session.long_work() as connection:
            migrate.create_or_migrate(connection)

    def put(
        self, datastore_id: str, metadata: Json, version: int, is_primary: bool, updated_at: datetime, *,
        again: bool = False, returned_after: datetime | None = None,
    ) -> Outcome:  # fmt: skip
        """Insert or update all rows of a version of an image set. `metadata` is its decoded metadata.

        `updated_at` is the time that AHI gives. With `again` the rows are also written if the index has this revision.
        One that was deleted stays so, unless AHI has shown it since: then `returned_after` is the time of the deletion
        that was recorded before AHI was asked. ValueError if it is not the metadata of an image set.
        """
        rows = ImageSetRows.from_metadata(metadata)
        key = _key(datastore_id, metadata.get("ImageSetID"))
        revision = Revision(version, utc(updated_at), is_primary)
        return self.session.run(lambda connection: _put(connection, key, rows, revision, again, returned_after))

    def remove(self, datastore_id: str, image_set_id: str) -> Outcome:
        """Remove an image set that was deleted, and what only it held."""
        key = _key(datastore_id, image_set_id)
        return self.session.run(lambda connection: _remove(connection, key))

    def forget_failures(self, datastore_id: str, image_set_id: str) -> None:
        """Note that an image set could be read, and that the index had it as it is."""
        key = _key(datastore_id, image_set_id)
        self.session.run(lambda connection: ledger.change(connection, key, ledger.NO_FAILURE))

    def note_failure(
        self, datastore_id: str, image_set_id: str, reason: str, *, tried: Revision | None = None, at_least: int = 1
    ) -> int:
        """Note that an image set could not be read; returns the number of attempts since the last success.

        `tried` is the revision that AHI has. The number of attempts is `at_least` this one from now on.
        """
        key = _key(datastore_id, image_set_id)
        return self.session.run(lambda connection: ledger.note_failure(connection, key, reason, tried, at_least))

    def recorded(self, datastore_id: str, image_set_ids: Iterable[str]) -> Mapping[str, Recorded]:
        """What the index has of these image sets, by ID."""
        ids = list(image_set_ids)
        return self.session.run(lambda connection: ledger.find(connection, datastore_id, ids))

    def recorded_after(self, datastore_id: str, image_set_id: str = "", most: int = 1000) -> list[Recorded]:
        """What the index has of the next image sets of a data store, in the order of their IDs."""
        return self.session.run(lambda connection: list(ledger.each(connection, datastore_id, image_set_id, most)))

    def close(self) -> None:
        """Close all connections."""
        self.session.close()


def try_again(session: WriteSession, datastore_id: str, image_set_id: str) -> bool:
    """Have an image set tried again that has failed; whether there is one. ValueError if it cannot be an ID.

    Errors are those of `WriteSession.run`.
    """
    key = _key(datastore_id, image_set_id)
    return session.run(lambda connection: ledger.try_again(connection, key))


def _key(datastore_id: str, image_set_id: object) -> LedgerKey:
    for text in (datastore_id, image_set_id):
        if not isinstance(text, str) or not text.isascii() or not text.isalnum() or len(text) > _LONGEST_ID:
            raise ValueError("not the ID of a data store or of an image set")
    return LedgerKey(datastore_id, str(image_set_id))


def _put(
    connection: Connection, key: LedgerKey, rows: ImageSetRows, revision: Revision, again: bool,
    returned_after: datetime | None,
) -> Outcome:  # fmt: skip
    recorded = ledger.lock(connection, key)
    is_back = recorded is not None and recorded.is_deleted and recorded.deleted_at == returned_after
    outcome = _known(recorded, revision) if recorded and not is_back else None
    if recorded and outcome and not (again and outcome is Outcome.UNCHANGED):
        if outcome is Outcome.UNCHANGED and recorded.attempts:
            ledger.change(connection, key, ledger.NO_FAILURE)
        return outcome
    (ledger.change if recorded else ledger.add)(connection, key, _ledger_values(rows, revision))
    store = StoreRows(connection, key.datastore_id)
    places: list[ImageSetRows | Recorded] = [rows, recorded] if recorded else [rows]
    store.lock([place.patient_identity for place in places], [place.study_instance_uid for place in places])
    series_pkey = store.attach(key, rows)
    if recorded:
        store.detach(key, but=series_pkey)
    store.refresh()
    return Outcome.WRITTEN


def _known(recorded: Recorded, revision: Revision) -> Outcome | None:
    if recorded.is_deleted:
        return Outcome.DELETED
    if recorded.revision is None or recorded.revision.order < revision.order:
        return None
    return Outcome.UNCHANGED if recorded.revision == revision else Outcome.OUTDATED


def _remove(connection: Connection, key: LedgerKey) -> Outcome:
    recorded = ledger.lock(connection, key)
    gone: dict[str, object] = {"deletedat": _later_than(recorded.deleted_at if recorded else None)}
    if recorded and recorded.is_deleted:  # whoever takes it for back must see that it was deleted again
        ledger.change(connection, key, {**gone, **ledger.NO_FAILURE})
        return Outcome.UNCHANGED
    gone |= {"patientidentity": None, "studyinstanceuid": None, "attributes": None}
    (ledger.change if recorded else ledger.add)(connection, key, {**gone, **ledger.NO_FAILURE})
    if recorded and recorded.study_instance_uid:
        store = StoreRows(connection, key.datastore_id)
        store.lock({recorded.patient_identity}, {recorded.study_instance_uid})
        store.detach(key)
        store.refresh()
    return Outcome.WRITTEN


def _later_than(before: datetime | None) -> datetime:
    """The present, or a moment after `before` if the clock of another writer is ahead."""
    now = ledger.now()
    return max(now, before + _MICROSECOND) if before else now


def _ledger_values(rows: ImageSetRows, revision: Revision) -> dict[str, object]:
    return {
        "version": revision.version,
        "isprimary": revision.is_primary,
        "updatedat": revision.updated_at,
        "indexedat": ledger.now(),
        "deletedat": None,
        "lossy": rows.lossy,
        "patientidentity": rows.patient_identity,
        "studyinstanceuid": rows.study_instance_uid,
        "attributes": rows.attributes.to_json(),
        **ledger.NO_FAILURE,
    }
