"""Any sequence of creations, updates, copies and deletions ends in the rows of the image sets that are there.

Calls are repeated and out of order. Studies, series, patients and data stores share UIDs and IDs on purpose.
"""

from collections.abc import Callable, Iterator
from dataclasses import replace

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.index.writing.made import Calls, Index, Version, expected, held, live
from tests.servers import Sqlite

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
def _calls(draw: st.DrawFn) -> Calls:
    """Versions to put, and data stores and IDs of image sets to remove. Of one version there is one content."""
    versions: dict[tuple[str, str, int], Version] = {}
    calls: Calls = []
    for one in draw(st.lists(_versions(), min_size=1, max_size=12)):
        same = versions.setdefault((one.store, one.image_set_id, one.number), one)
        calls.append(replace(same, updated=one.updated, is_primary=one.is_primary))
        if draw(st.integers(0, 5)) == 0:
            calls.append((one.store, one.image_set_id))
    return calls


@pytest.fixture(scope="module")
def sqlite_index(sqlite: Sqlite) -> Iterator[Index]:
    yield from _opened(sqlite.new_database)


@pytest.fixture(scope="module")
def index(new_database: Callable[[], str]) -> Iterator[Index]:
    yield from _opened(new_database)


def _opened(new_database: Callable[[], str]) -> Iterator[Index]:
    found = Index(new_database())
    yield found
    found.writer.close()


def _check(index: Index, calls: Calls) -> None:
    left = live(calls)
    index.fill(calls)
    rows = held(index.url)
    assert rows == expected(left)
    index.fill(list(left))
    assert held(index.url) == rows


_SHARED = [HealthCheck.function_scoped_fixture, HealthCheck.too_slow, HealthCheck.data_too_large]


@given(calls=_calls())
@settings(max_examples=50, suppress_health_check=_SHARED)
def test_any_order_ends_in_the_rows_of_a_fresh_fill(sqlite_index: Index, calls: Calls) -> None:
    _check(sqlite_index, calls)


@given(calls=_calls())
@settings(max_examples=10, suppress_health_check=_SHARED)
def test_any_order_on_every_database(index: Index, calls: Calls) -> None:
    _check(index, calls)
