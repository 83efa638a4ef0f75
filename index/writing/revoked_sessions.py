"""Notes in own tables which sessions of people were revoked, so that all hosts of a service know it."""

from sqlalchemy import Connection, delete, insert, select, update

from db.index_schema import revoked_session
from index.writing.session import WriteSession


def note_revoked_session(session: WriteSession, digest: str, until: float, now: float) -> None:
    """Note a session by its digest, and forget those that need not be kept any longer.

    Times are seconds since 1970. Errors are those of `WriteSession.run`.
    """
    columns, kept_until = revoked_session.c, int(until) + 1

    def work(connection: Connection) -> None:
        connection.execute(delete(revoked_session).where(columns.keptuntil < int(now)))
        if connection.scalar(select(columns.digest).where(columns.digest == digest)) is None:
            connection.execute(insert(revoked_session).values(digest=digest, keptuntil=kept_until))
        else:
            connection.execute(update(revoked_session).where(columns.digest == digest).values(keptuntil=kept_until))

    session.run(work)
