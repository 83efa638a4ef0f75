"""Creates the tables of an index of our own, or brings them to the version of this release."""

from collections.abc import Mapping
from datetime import datetime, timezone

from sqlalchemy import Connection, func, insert, inspect, select, text

from db import index_schema
from db.connector import kind_of
from db.index_schema import metadata, schema_version
from db.indexes import missing_in
from db.migrations import MIGRATIONS, Migration
from dicomweb.errors import UpstreamBusy

_LOCK = {  # MySQL 9.6 and later have no MD5
    "mysql": "SELECT GET_LOCK(CONCAT('index schema ', LEFT(SHA2(DATABASE(), 256), 32)), 100)",
    "postgresql": "SELECT pg_advisory_lock(20261130)",
}
_UNLOCK = {
    "mysql": "SELECT RELEASE_LOCK(CONCAT('index schema ', LEFT(SHA2(DATABASE(), 256), 32)))",
    "postgresql": "SELECT pg_advisory_unlock(20261130)",
}


class OtherTables(Exception):
    """The database has tables that this program did not make, those of the AWS project for example."""


class NewerVersion(Exception):
    """A newer release of this program has migrated the tables."""


def current_version(connection: Connection) -> int | None:
    """The version of the tables; 0 if they were never finished, None if there are none of ours."""
    if not inspect(connection).has_table(schema_version.name):
        return None
    return connection.scalar(select(func.max(schema_version.c.version))) or 0


def create_or_migrate(
    connection: Connection,
    version: int = index_schema.VERSION,
    migrations: Mapping[int, Migration] = MIGRATIONS,
) -> None:
    """Create the tables, or migrate them to `version`. Another process that does the same is awaited.

    OtherTables, NewerVersion; UpstreamBusy if the other one takes minutes. The connection must be in no transaction;
    each step is committed.
    """
    kind = kind_of(connection.dialect)
    if kind in _LOCK:
        if connection.scalar(text(_LOCK[kind])) == 0:
            raise UpstreamBusy("another process is migrating the index")
        connection.commit()
    try:
        _create_or_migrate(connection, version, migrations)
    finally:
        connection.rollback()
        if kind in _UNLOCK:
            connection.execute(text(_UNLOCK[kind]))
            connection.commit()


def _create_or_migrate(connection: Connection, version: int, migrations: Mapping[int, Migration]) -> None:
    found = current_version(connection)
    if found is None and (others := set(inspect(connection).get_table_names()) & metadata.tables.keys()):
        raise OtherTables(f"the database has tables of another program: {', '.join(sorted(others))}")
    if found is not None and found > version:
        raise NewerVersion(f"the index has version {found} of a newer release; this release knows version {version}")
    if not found:
        _create(connection)
        _note(connection, version)
        return
    for step in range(found + 1, version + 1):
        migrations[step](connection)
        _note(connection, step)


def _create(connection: Connection) -> None:
    """Create what is missing. `schema_version` comes first: it says whose tables those of an unfinished start are."""
    schema_version.create(connection, checkfirst=True)
    connection.commit()
    metadata.create_all(connection)
    for wanted in missing_in(connection):
        connection.execute(text(wanted.create(connection.dialect.name)))


def _note(connection: Connection, version: int) -> None:
    """Note a version, unless another process did: SQLite has no lock that outlasts a transaction."""
    now = datetime.now(timezone.utc).replace(tzinfo=None)
    if connection.scalar(select(schema_version.c.version).where(schema_version.c.version == version)) is None:
        connection.execute(insert(schema_version).values(version=version, changed_at=now))
    connection.commit()
