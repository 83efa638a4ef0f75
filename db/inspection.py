"""Inspection of the metadata index for `python main.py check`: version, encryption, rights, columns, samples."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from sqlalchemy import String, cast, func, null, select, text

from db import index_schema
from db.engine import Database
from db.image_sets import ImageSetRow
from db.index_kind import IndexKind, by_kind
from db.schema import frame, imageset, metadata, series

_VERSION = {"mysql": "SELECT VERSION()", "postgresql": "SHOW server_version", "sqlite": "SELECT sqlite_version()"}

_CIPHER = {  # a row whose last value is empty or false where the connection is not encrypted
    "mysql": "SHOW SESSION STATUS LIKE 'Ssl_cipher'",
    "postgresql": "SELECT ssl FROM pg_stat_ssl WHERE pid = pg_backend_pid()",
}

_READING = {"USAGE", "SELECT", "SHOW VIEW", "SHOW DATABASES", "PROCESS", "REPLICATION CLIENT", "BINLOG MONITOR"}
_WRITING = ("INSERT", "UPDATE", "DELETE", "TRUNCATE")


@dataclass(frozen=True)
class SampleFrame:
    """An image set of the index, and the ID of one of its frames, if the index has any."""

    row: ImageSetRow
    frame_id: str | None


def version(database: Database) -> str:
    """The version of the server, in its own words."""
    return str(database.rows(text(_VERSION[database.kind]))[0][0])


def encrypted(database: Database) -> bool:
    """Whether the connection is encrypted; true for a file, which needs no connection."""
    if database.kind not in _CIPHER:
        return True
    rows = database.rows(text(_CIPHER[database.kind]))
    return bool(rows and rows[0][-1])


def rights_to_write(database: Database) -> list[str]:
    """The rights of the user besides reading; none for a file, which is opened read-only."""
    match database.kind:
        case "mysql":
            grants = [str(row[0]) for row in database.rows(text("SHOW GRANTS"))]
            return sorted({right for grant in grants for right in _rights(grant)} - _READING)
        case "postgresql":
            tables = database.rows(
                text(
                    "SELECT DISTINCT privilege FROM unnest(cast(:privileges AS text[])) AS privilege, pg_tables "
                    "WHERE schemaname = ANY (current_schemas(false)) AND tablename = ANY (cast(:tables AS text[])) "
                    "AND has_table_privilege(format('%I.%I', schemaname, tablename), privilege)"
                ).bindparams(privileges=list(_WRITING), tables=[*metadata.tables, *index_schema.metadata.tables])
            )
            return sorted(str(row[0]) for row in tables)
        case _:
            return []


def _rights(grant: str) -> list[str]:
    """`GRANT SELECT, INSERT (a, b) ON ...` is SELECT and INSERT."""
    match = re.match(r"GRANT (.+?) ON ", grant)
    names = re.sub(r"\([^()]*\)", "", match[1]).split(",") if match else []
    return [name.strip() for name in names]


def missing_columns(database: Database) -> Mapping[str, Sequence[str]]:
    """The missing columns of each table that lacks some."""
    tables = metadata.tables if database.index_kind is IndexKind.LEGACY else index_schema.metadata.tables
    wanted = {name: frozenset(table.columns.keys()) - database.columns(name) for name, table in tables.items()}
    return {name: sorted(columns) for name, columns in wanted.items() if columns}


def image_sets_by_datastore(database: Database) -> Mapping[str, int]:
    """The number of image sets of each data store."""
    statement = select(imageset.c.datastoreid, func.count()).group_by(imageset.c.datastoreid)
    return {str(row[0]): int(row[1]) for row in database.rows(statement)}


def sample_of(database: Database, datastore_id: str, most: int) -> list[SampleFrame]:
    """The newest image sets of a data store."""
    a_frame = (
        select(frame.c.frameid).where(frame.c.imageset_pkey == imageset.c.imageset_pkey).limit(1).scalar_subquery()
    )
    frame_id = by_kind(legacy=a_frame, own=cast(null(), String))  # own tables have no frames
    statement = (
        select(series.c.seriesinstanceuid, imageset.c.datastoreid, imageset.c.imagesetid, frame_id)
        .join(series, series.c.series_pkey == imageset.c.series_pkey)
        .where(imageset.c.datastoreid == datastore_id)
        .order_by(imageset.c.imageset_pkey.desc())
        .limit(most)
    )
    return [SampleFrame(ImageSetRow(*row[:3]), row[3]) for row in database.rows(statement)]
