"""Migrations of the index of our own: the steps from one version of `db.index_schema` to the next.

They run forwards only, while readers of the version before go on reading: a migration adds tables, columns and indexes,
and changes or removes none. MySQL ends a transaction at each of these statements, so a migration may be cut off
anywhere and must be able to begin again: it adds what is missing.
"""

from collections.abc import Callable, Mapping

from sqlalchemy import Connection

Migration = Callable[[Connection], None]

MIGRATIONS: Mapping[int, Migration] = {}
"""By the version that they lead to. Version 1 is the first."""
