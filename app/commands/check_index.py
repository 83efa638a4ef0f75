"""The checks of the metadata index: connection, TLS, rights, schema, indexes."""

import time
from collections.abc import Iterator

from app.check_result import ERROR, OK, WARNING, CheckResult
from app.commands.check_following import check_comparisons, check_following, check_version
from app.commands.remote import Remote, asking
from db import inspection, tls
from db.engine import Database
from db.index_kind import IndexKind
from db.indexes import missing_indexes
from runtime.hosts import is_loopback

_SCHEMA_ADVICE = {
    IndexKind.LEGACY: "bring the index project up to date",
    IndexKind.OWN: "run python main.py index, which migrates the tables",
}


def check_index(database: Database, tls_mode: str | None) -> Iterator[CheckResult]:
    """The index answers, over TLS, to a user who can only read; its tables and indexes are complete."""
    with asking(Remote(database.place), "SELECT"):
        yield from _check(database, tls_mode)


def _check(database: Database, tls_mode: str | None) -> Iterator[CheckResult]:
    version = inspection.version(database)
    before = time.monotonic()
    database.ping()
    answers = f"answers in {(time.monotonic() - before) * 1000:.1f} ms"
    yield CheckResult("database", OK, f"{database.kind} {version}, {answers}")
    yield _encryption(inspection.encrypted(database), tls_mode, is_loopback(database.host))
    write_rights = inspection.rights_to_write(database)
    if write_rights:
        finding = f"the user may also {', '.join(write_rights)}"
        advice = "use a user with SELECT only; doc/deploy/database.md has the statements"
        yield CheckResult("database grants", WARNING, finding, advice)
    else:
        yield CheckResult("database grants", OK, "the user can only read")
    yield from check_version(database)
    missing_columns = inspection.missing_columns(database)
    for table, columns in missing_columns.items():
        yield CheckResult("schema", ERROR, f"{table} lacks {', '.join(columns)}", _SCHEMA_ADVICE[database.index_kind])
    if not missing_columns:
        yield CheckResult("schema", OK, "complete")
        for index in missing_indexes(database):
            advice = f"{index.create(database.kind)};"
            yield CheckResult("index", WARNING, f"no {index.name}, which speeds up: {index.buys}", advice)
        yield from check_following(database)
        yield from check_comparisons(database)


def _encryption(encrypted: bool, tls_mode: str | None, on_this_machine: bool) -> CheckResult:
    """The connection is encrypted, as DB_TLS asks; a database on this machine needs no TLS."""
    match tls_mode:
        case None if on_this_machine:
            return CheckResult("database TLS", OK, "not needed, the database is on this machine")
        case _ if not encrypted:
            return CheckResult("database TLS", WARNING, "the connection is not encrypted", "do not set DB_TLS=off")
        case tls.REQUIRE:
            finding = "encrypted, but the certificate is not verified"
            return CheckResult(
                "database TLS", WARNING, finding, "set DB_TLS=verify, and DB_TLS_CA if the CA is a private one"
            )
        case _:
            return CheckResult("database TLS", OK, "encrypted, the certificate is verified")
