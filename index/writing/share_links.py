"""Notes share links in own tables, and which of them were revoked. Errors are those of `WriteSession.run`."""

from sqlalchemy import Connection, delete, insert, select, update

from db.index_schema import held_uid, share_link
from db.share_links import SharedLink
from index.writing.session import WriteSession


def note_share_link(session: WriteSession, link: SharedLink, now: float) -> None:
    """Note a link, and forget those that have ended. A link that was noted already stays as it is."""
    columns = share_link.c
    values = {
        "linkid": link.link_id,
        "madeby": link.user,
        "studyinstanceuid": held_uid(link.study_instance_uid),
        "madeat": link.made_at,
        "expiresat": link.expires_at,
    }

    def work(connection: Connection) -> None:
        connection.execute(delete(share_link).where(columns.expiresat < int(now)))
        if connection.scalar(select(columns.linkid).where(columns.linkid == link.link_id)) is None:
            connection.execute(insert(share_link).values(values))

    session.run(work)


def revoke_share_links(session: WriteSession, now: float, *, link_id: str = "", user: str = "") -> list[SharedLink]:
    """Revoke one link, or all of a user; those that were in force until now."""
    columns = share_link.c
    chosen = columns.linkid == link_id if link_id else columns.madeby == user
    fits = (chosen, columns.revokedat.is_(None), columns.expiresat > int(now))

    def work(connection: Connection) -> list[SharedLink]:
        found = connection.execute(select(share_link).where(*fits).with_for_update()).all()
        connection.execute(update(share_link).where(*fits).values(revokedat=int(now)))
        return [
            SharedLink(row.linkid, row.madeby, row.studyinstanceuid, int(row.madeat), int(row.expiresat))
            for row in found
        ]

    return session.run(work)
