"""Image sets sorted on disk: all of them, once, in order, whatever the size of a block."""

from datetime import datetime, timedelta, timezone

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ahi.client.listing_calls import ListedImageSet
from index.ahi.spool import SortedImageSets

BEGINNING = datetime(2024, 1, 1, tzinfo=timezone.utc)
ALPHABET = "0123456789abcdefghijklmnopqrstuvwxyz"

LISTED = st.builds(
    ListedImageSet,
    image_set_id=st.text(ALPHABET[:3], min_size=32, max_size=32) | st.sampled_from([f"{n:032d}" for n in range(6)]),
    version=st.integers(1, 10**9),
    is_primary=st.booleans(),
    created_at=st.integers(0, 10**15).map(lambda number: BEGINNING + timedelta(microseconds=number)),
    updated_at=st.integers(0, 10**15).map(lambda number: BEGINNING + timedelta(microseconds=number)),
    is_archived=st.booleans(),
    instances=st.integers(0, 10**6),
)


@given(st.lists(st.lists(LISTED, max_size=8), max_size=8), st.integers(1, 20))
def test_each_image_set_comes_once_in_order_and_in_its_greatest_version(
    pages: list[list[ListedImageSet]], block: int
) -> None:
    spool, expected = SortedImageSets(block), dict[str, ListedImageSet]()
    for page in pages:
        spool.add(page)
        for found in page:
            other = expected.get(found.image_set_id)
            if not other or (found.version, found.updated_at) > (other.version, other.updated_at):
                expected[found.image_set_id] = found
    for _ in range(2):  # it can be read again
        read = list(spool)
        assert [found.image_set_id for found in read] == sorted(expected)
        for found in read:
            other = expected[found.image_set_id]
            assert (found.version, found.updated_at) == (other.version, other.updated_at)
    spool.close()


@pytest.mark.parametrize("block", [1, 3, 1000])
def test_what_was_listed_is_read_as_it_was(block: int) -> None:
    listed = [
        ListedImageSet(f"{number:032x}", number + 1, bool(number % 2), BEGINNING, BEGINNING + timedelta(0, number, 7),
                       bool(number % 3), number * 100)
        for number in range(10)
    ]  # fmt: skip
    spool = SortedImageSets(block)
    spool.add(listed[::-1])
    assert list(spool) == listed
    spool.close()
