"""Migrations of the index of our own: the steps from one version of `db.index_schema` to the next.

They run forwards only, while readers of the version before go on reading: a migration adds tables, columns and indexes,
and changes or removes none. MySQL ends a transaction at each of these statements, so a migration may be cut off
anywhere and must be able to begin again: it adds what is missing.
"""

from collections.abc import Callable, Mapping

from sqlalchemy import Connection

from db import index_schema
from db.migrations.steps import add_missing_column

Migration = Callable[[Connection], None]


def _add_store_tables(connection: Connection) -> None:
    """Version 2: what forwarders of store requests share."""
    for table in (index_schema.series_lease, index_schema.stored_instance):
        table.create(connection, checkfirst=True)


def _add_tried_revision(connection: Connection) -> None:
    """Version 3: the revision at which attempts have failed, so that a newer one is tried."""
    ledger = index_schema.indexed_image_set
    for name in ("triedversion", "triedupdatedat"):
        add_missing_column(connection, ledger, ledger.c[name])


def _add_revoked_sessions(connection: Connection) -> None:
    """Version 4: what the hosts of a service tell each other of sessions."""
    index_schema.revoked_session.create(connection, checkfirst=True)


def _add_share_links(connection: Connection) -> None:
    """Version 5: the share links, and those that were revoked."""
    index_schema.share_link.create(connection, checkfirst=True)


def _add_runs(connection: Connection) -> None:
    """Version 6: runs of the index command, which operators see and cancel."""
    index_schema.index_run.create(connection, checkfirst=True)


MIGRATIONS: Mapping[int, Migration] = {
    2: _add_store_tables,
    3: _add_tried_revision,
    4: _add_revoked_sessions,
    5: _add_share_links,
    6: _add_runs,
}
"""By the version that they lead to. Version 1 is the first."""
