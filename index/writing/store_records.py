"""What the forwarders of several tasks share in the index: turns in a series, and the digests of stored instances.

A lease ends by itself, so that a forwarder that dies holds nobody up. Its time is that of the database. A loss of power
ends all forwarders that share a file of SQLite, so it may take leases away. No transaction lasts longer than one of
these calls.
"""

from collections.abc import Iterable, Iterator, Mapping
from itertools import islice

from sqlalchemy import Connection, Select, and_, delete, insert, literal_column, select, update

from db.connector import kind_of
from db.index_schema import held_uid, imageset, instance, series_lease, stored_instance
from index.writing.session import WriteSession

_AT_ONCE = 500

_NOW = {  # milliseconds since 1970
    "mysql": "CAST(UNIX_TIMESTAMP(NOW(3)) * 1000 AS SIGNED)",
    "postgresql": "CAST(EXTRACT(EPOCH FROM clock_timestamp()) * 1000 AS BIGINT)",
    "sqlite": "CAST((julianday('now') - 2440587.5) * 86400000 AS INTEGER)",
}


class StoreRecords:
    """The leases and the digests. Errors are those of `WriteSession.run`. Safe to share between threads."""

    def __init__(self, session: WriteSession, holder: str) -> None:
        """`holder` names this forwarder; no other that works has the same name."""
        self._session = session
        self._holder = holder

    def take(self, datastore_id: str, series_instance_uid: str, seconds: float) -> bool:
        """Take or renew the lease of a series; false if another forwarder has it."""
        row = _lease(datastore_id, series_instance_uid)

        def work(connection: Connection) -> bool:
            now: int = connection.scalar(select(literal_column(_NOW[kind_of(connection.dialect)]))) or 0
            values = {"holder": self._holder, "expiresat": now + int(seconds * 1000)}
            of_row = and_(*(series_lease.c[name] == value for name, value in row.items()))
            found = connection.execute(
                select(series_lease.c.holder, series_lease.c.expiresat).where(of_row).with_for_update()
            ).first()
            if found is None:
                connection.execute(insert(series_lease).values(**row, **values))
            elif found.holder == self._holder or found.expiresat <= now:
                connection.execute(update(series_lease).where(of_row).values(values))
            else:
                return False
            return True

        return self._session.run(work, lasts=False)

    def release(self, datastore_id: str, series_instance_uid: str) -> None:
        """Give the lease of a series back, if this forwarder still has it."""
        row = {**_lease(datastore_id, series_instance_uid), "holder": self._holder}
        statement = delete(series_lease).where(*(series_lease.c[name] == value for name, value in row.items()))
        self._session.run(lambda connection: connection.execute(statement), lasts=False)

    def digests(self, datastore_id: str, sop_instance_uids: Iterable[str]) -> Mapping[str, str]:
        """The SHA-256 digests of the files that are stored under these UIDs, as far as they are known.

        Instances that the index no longer has are not among them.
        """
        uids = {held_uid(uid): uid for uid in sop_instance_uids}
        is_stored = _indexed(datastore_id).where(instance.c.sopinstanceuid == stored_instance.c.sopinstanceuid).exists()

        def work(connection: Connection) -> dict[str, str]:
            found = {}
            for some in _batches(uids):
                statement = select(stored_instance.c.sopinstanceuid, stored_instance.c.sha256).where(
                    stored_instance.c.datastoreid == datastore_id, stored_instance.c.sopinstanceuid.in_(some), is_stored
                )
                found.update({uids[uid]: digest for uid, digest in connection.execute(statement).tuples()})
            return found

        return self._session.run(work)

    def indexed(self, datastore_id: str, sop_instance_uids: Iterable[str]) -> set[str]:
        """Those of these instances that the index has."""
        uids = {held_uid(uid): uid for uid in sop_instance_uids}

        def work(connection: Connection) -> set[str]:
            found: set[str] = set()
            for some in _batches(uids):
                statement = _indexed(datastore_id).where(instance.c.sopinstanceuid.in_(some))
                found.update(uids[uid] for uid in connection.scalars(statement))
            return found

        return self._session.run(work)

    def note(self, datastore_id: str, digests: Mapping[str, str]) -> None:
        """Note the digests of the files that were stored, by SOP Instance UID."""
        rows = {held_uid(uid): digest for uid, digest in digests.items()}

        def work(connection: Connection) -> None:
            for some in _batches(sorted(rows)):  # in one order, so that two that write do not wait for each other
                of_rows = and_(
                    stored_instance.c.datastoreid == datastore_id, stored_instance.c.sopinstanceuid.in_(some)
                )
                connection.execute(delete(stored_instance).where(of_rows))
                values = [{"datastoreid": datastore_id, "sopinstanceuid": uid, "sha256": rows[uid]} for uid in some]
                connection.execute(insert(stored_instance), values)

        self._session.run(work)


def _indexed(datastore_id: str) -> Select[tuple[str]]:
    """The SOP Instance UIDs that the index has of a data store."""
    return (
        select(instance.c.sopinstanceuid)
        .join(imageset, imageset.c.imageset_pkey == instance.c.imageset_pkey)
        .where(imageset.c.datastoreid == datastore_id)
    )


def _lease(datastore_id: str, series_instance_uid: str) -> dict[str, str]:
    return {"datastoreid": datastore_id, "seriesinstanceuid": held_uid(series_instance_uid)}


def _batches(items: Iterable[str]) -> Iterator[list[str]]:
    rest = iter(items)
    while some := list(islice(rest, _AT_ONCE)):
        yield some
