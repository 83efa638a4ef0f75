"""Any sequence of creations, updates, copies and deletions ends in the rows of the image sets that are there.

Calls are repeated and out of order. Studies, series, patients and data stores share UIDs and IDs on purpose.
"""

from collections.abc import Callable, Iterator
from dataclasses import replace

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from index.writing.writer import IndexWriter
from tests.index.writing.made import Version, expected, held
from tests.servers import engine_of

_STORES = ("1" * 32, "2" * 32)
_IMAGE_SETS = ("a" * 32, "b" * 32, "c" * 32)


@st.composite
def _versions(draw: st.DrawFn) -> Version:
    number = draw(st.integers(1, 3))
    store, image_set_id = draw(st.sampled_from(_STORES)), draw(st.sampled_from(_IMAGE_SETS))
    contents = draw(st.tuples(
        st.booleans(),
        st.sampled_from(("P1", "P1", "P2", "")),
        st.sampled_from(("", "", "HOSPITAL")),
        st.sampled_from(("1", "1", "2")),
        st.sampled_from(("1.1", "1.2")),
        st.sets(st.sampled_from(("1", "2", "3"))).map(lambda uids: tuple(sorted(uids))),
    ))  # fmt: skip
    return Version(store, image_set_id, number, draw(st.integers(0, 4)), *contents)


@st.composite
def _calls(draw: st.DrawFn) -> list[Version | tuple[str, str]]:
    """Versions to put, and data stores and IDs of image sets to remove. Of one version there is one content."""
    versions: dict[tuple[str, str, int], Version] = {}
    calls: list[Version | tuple[str, str]] = []
    for one in draw(st.lists(_versions(), min_size=1, max_size=12)):
        same = versions.setdefault((one.store, one.image_set_id, one.number), one)
        calls.append(replace(same, updated=one.updated, is_primary=one.is_primary))
        if draw(st.integers(0, 5)) == 0:
            calls.append((one.store, one.image_set_id))
    return calls


def _live(calls: list[Version | tuple[str, str]]) -> list[Version]:
    """The newest version of each image set that was not removed."""
    newest: dict[tuple[str, str], Version] = {}
    gone = {call for call in calls if isinstance(call, tuple)}
    for call in calls:
        if isinstance(call, Version) and (key := (call.store, call.image_set_id)) not in gone:
            older = newest.setdefault(key, call)
            newest[key] = max(older, call, key=lambda one: (one.number, one.updated, one.is_primary))
    return list(newest.values())


def _run(writer: IndexWriter, calls: list[Version | tuple[str, str]]) -> None:
    for call in calls:
        if isinstance(call, Version):
            call.put(writer)
        else:
            writer.remove(*call)


class Index:
    """An index that is emptied for each example."""

    def __init__(self, url: str) -> None:
        self.url = url
        self.writer = IndexWriter(url)
        self.writer.create_or_migrate()

    def fill(self, calls: list[Version | tuple[str, str]]) -> None:
        from db.index_schema import metadata, schema_version  # noqa: PLC0415

        with engine_of(self.url) as engine, engine.begin() as connection:
            for table in reversed(metadata.sorted_tables):
                if table is not schema_version:
                    connection.execute(table.delete())
        _run(self.writer, calls)


@pytest.fixture(scope="module")
def sqlite_index(sqlite: object) -> Iterator[Index]:
    yield from _opened(sqlite.new_database)  # type: ignore[attr-defined]


@pytest.fixture(scope="module")
def index(new_database: Callable[[], str]) -> Iterator[Index]:
    yield from _opened(new_database)


def _opened(new_database: Callable[[], str]) -> Iterator[Index]:
    found = Index(new_database())
    yield found
    found.writer.close()


def _check(index: Index, calls: list[Version | tuple[str, str]]) -> None:
    live = _live(calls)
    index.fill(calls)
    rows = held(index.url)
    assert rows == expected(live)
    index.fill(list(live))
    assert held(index.url) == rows


_SHARED = [HealthCheck.function_scoped_fixture, HealthCheck.too_slow, HealthCheck.data_too_large]


@given(calls=_calls())
@settings(max_examples=80, suppress_health_check=_SHARED)
def test_any_order_ends_in_the_rows_of_a_fresh_fill(
    sqlite_index: Index, calls: list[Version | tuple[str, str]]
) -> None:
    _check(sqlite_index, calls)


@given(calls=_calls())
@settings(max_examples=10, suppress_health_check=_SHARED)
def test_any_order_on_every_database(index: Index, calls: list[Version | tuple[str, str]]) -> None:
    _check(index, calls)
