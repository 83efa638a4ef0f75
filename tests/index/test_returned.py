"""Image sets that the index has removed, and that AHI has all the same: told by a comparison, and mended."""

import threading
from collections import Counter
from collections.abc import Iterator
from typing import Any

import pytest
from sqlalchemy import select, update

from db.index_schema import indexed_image_set, study
from index.compare import Kind
from index.follow.changed import Outcome
from index.follow.events import ImageSetHint
from index.reconcile import Applied, Reconciliation
from index.writing.ledger import now
from tests.datastore.shelf import DATASTORE_ID, identifier
from tests.index.follow.live import Parts, parse
from tests.index.follow.live import parts as live_parts


@pytest.fixture(params=["sqlite", "mariadb", "postgresql"])
def parts(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[Parts]:
    """Five image sets, which the index has."""
    with live_parts(request.getfixturevalue(request.param).new_database(), monkeypatch) as made:
        for number in range(1, 6):
            made.store.put(number)
        repair(made)
        yield made


def run_of(parts: Parts) -> Reconciliation:
    return Reconciliation(parts.client, parts.writer, parse, [DATASTORE_ID], threading.Event())


def compared(parts: Parts) -> dict[Kind, int]:
    with run_of(parts) as run:
        run.list_all()
        (found,) = run.compare()
        return dict(found.counts)


def repair(parts: Parts, kinds: Any = Kind) -> Applied:
    with run_of(parts) as run:
        run.list_all()
        return run.apply(kinds, 5, with_aside=True)


def studies(parts: Parts) -> set[str]:
    with parts.writer.session.connection() as connection:
        return set(map(str, connection.scalars(select(study.c.studydescription))))


@pytest.mark.parametrize("kinds", [tuple(Kind), (Kind.RETURNED,)], ids=["repair", "fill"])
def test_one_that_ahi_has_after_its_deletion_is_told_and_mended(parts: Parts, kinds: Any) -> None:
    parts.writer.remove(DATASTORE_ID, identifier(1))
    parts.store.put(2)
    parts.writer.remove(DATASTORE_ID, identifier(2))
    assert studies(parts) < parts.store.expected()
    assert compared(parts) == {Kind.RETURNED: 2}
    assert repair(parts, kinds).outcomes == Counter({Outcome.WRITTEN: 2})
    assert studies(parts) == parts.store.expected()
    assert compared(parts) == {}


def test_one_that_was_deleted_after_it_was_listed_stays_deleted(parts: Parts) -> None:
    """AHI is asked again before it is told, and before it is written."""
    with run_of(parts) as run:
        run.list_all()
        event = parts.store.delete(1)
        assert event
        parts.attempts.make(ImageSetHint(DATASTORE_ID, identifier(1), deleted=True))
        (found,) = run.compare()
        assert found.total == 0
        assert run.apply(Kind, 0).outcomes == Counter({Outcome.UNCHANGED: 1})
    assert studies(parts) == parts.store.expected()


def test_one_that_is_deleted_while_it_is_read_stays_deleted(parts: Parts, monkeypatch: pytest.MonkeyPatch) -> None:
    """AHI shows it, gives its metadata, and then deletes it; a follower notes that before the metadata are written."""
    parts.writer.remove(DATASTORE_ID, identifier(1))
    read = parts.store.metadata

    def then_delete(image_set_id: str, version: int | None = None) -> bytes:
        found = read(image_set_id, version)
        parts.store.delete(1)
        parts.writer.remove(DATASTORE_ID, image_set_id)
        return found

    monkeypatch.setattr(parts.store, "metadata", then_delete)
    with run_of(parts) as run:
        run.list_all()
        run.apply(Kind, 1)
    assert studies(parts) == parts.store.expected()
    assert len(studies(parts)) == 4


def test_a_follower_mends_one_that_was_updated_since_its_deletion(parts: Parts) -> None:
    """An event alone is no proof: AHI may answer it with what it knew before the deletion."""
    hint = ImageSetHint(DATASTORE_ID, identifier(1))
    parts.writer.remove(DATASTORE_ID, identifier(1))
    assert parts.attempts.make(hint) is Outcome.UNCHANGED
    parts.store.put(1, updated_at=4e9)
    assert parts.attempts.make(hint) is Outcome.WRITTEN
    assert studies(parts) == parts.store.expected()


def test_a_clock_that_is_ahead_hides_nothing_from_a_comparison(parts: Parts) -> None:
    parts.writer.remove(DATASTORE_ID, identifier(1))
    later = now().replace(year=now().year + 1)
    with parts.writer.session.connection() as connection, connection.begin():
        connection.execute(
            update(indexed_image_set).where(indexed_image_set.c.deletedat.is_not(None)).values(deletedat=later)
        )
    assert compared(parts) == {Kind.RETURNED: 1}
    repair(parts)
    assert studies(parts) == parts.store.expected()
