"""Any sequence of changes, with events that are repeated and out of order, ends in the rows of a fresh fill."""

from collections.abc import Iterator
from itertools import count
from pathlib import Path
from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sqlalchemy import select

from db.index_schema import instance, patient, series, study
from index.follow.changed import ChangedImageSets
from index.follow.events import ImageSetHint, parse_event
from index.writing.writer import IndexWriter
from tests.datastore.shelf import DATASTORE_ID
from tests.index.follow.events import text
from tests.index.follow.live import LiveStore, Parts, parse, parts
from tests.servers import engine_of

CHANGES = st.lists(st.tuples(st.sampled_from(["put", "put", "delete"]), st.integers(1, 4), st.booleans()), max_size=12)
ROWS = (
    (patient.c.patientid,),
    (study.c.studyinstanceuid, study.c.studydescription, study.c.numberofstudyrelatedinstances),
    (series.c.seriesinstanceuid, series.c.modality),
    (instance.c.sopinstanceuid,),
)


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Parts, Path, Iterator[int]]]:
    folder = tmp_path_factory.mktemp("any")
    with pytest.MonkeyPatch.context() as patched, parts(f"sqlite:///{folder / 'unused'}", patched) as found:
        yield found, folder, count()


def rows(url: str) -> list[list[tuple[object, ...]]]:
    """The rows of an index, without their keys."""
    with engine_of(url) as engine, engine.connect() as connection:
        return [sorted(tuple(row) for row in connection.execute(select(*columns))) for columns in ROWS]


def index(found: Parts, url: str, hints: list[ImageSetHint]) -> list[list[tuple[object, ...]]]:
    """The rows of a new index after these hints."""
    writer = IndexWriter(url)
    writer.create_or_migrate()
    changed = ChangedImageSets(found.client, writer, parse)
    for hint in hints:
        changed.update(hint)
    writer.close()
    return rows(url)


def change(store: LiveStore, kind: str, number: int) -> ImageSetHint | None:
    """Change the data store; the hint of its event. An ID that was deleted never comes back."""
    if kind == "put" and number not in store.deleted:
        event = store.put(number)
    elif kind == "delete" and number in store.numbers():
        event = store.delete(number)
    else:
        return None
    hint = parse_event(text(event))
    assert isinstance(hint, ImageSetHint)
    return hint


@given(CHANGES, st.randoms(use_true_random=False))
@settings(max_examples=30)
def test_any_events_end_in_the_rows_of_a_fresh_fill(
    made: tuple[Parts, Path, Iterator[int]], changes: list[tuple[str, int, bool]], random: Random
) -> None:
    found, folder, numbers = made
    number, store = next(numbers), found.store
    store.clear()
    url = f"sqlite:///{folder / f'followed{number}'}"
    writer = IndexWriter(url)
    writer.create_or_migrate()
    changed = ChangedImageSets(found.client, writer, parse)
    told: list[ImageSetHint] = []
    for kind, image_set, comes_at_once in changes:
        if hint := change(store, kind, image_set):
            told.append(hint)
            if comes_at_once:
                changed.update(hint)
    late = told * 2
    random.shuffle(late)
    for hint in late:
        changed.update(hint)
    writer.close()
    all_there = [ImageSetHint(DATASTORE_ID, one.image_set_id) for one in store.image_sets()]
    assert rows(url) == index(found, f"sqlite:///{folder / f'fresh{number}'}", all_there)
