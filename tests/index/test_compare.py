"""The differences of two sorted streams, whatever is in them."""

from datetime import datetime, timedelta

from hypothesis import given
from hypothesis import strategies as st

from ahi.client.listing_calls import ListedImageSet
from index.compare import Kind, differences
from index.writing.ledger import Recorded, Revision, utc

DATASTORE = "d" * 32
BEGINNING = datetime(2024, 1, 1)  # noqa: DTZ001 - as the index holds it
IDS = st.sampled_from([f"{number:032x}" for number in range(12)])
MOMENTS = st.integers(0, 3).map(lambda number: BEGINNING + timedelta(days=number))
REVISIONS = st.builds(Revision, version=st.integers(1, 3), updated_at=MOMENTS, is_primary=st.booleans())


def listed(image_set_id: str, revision: Revision) -> ListedImageSet:
    return ListedImageSet(image_set_id, revision.version, revision.is_primary, BEGINNING, revision.updated_at)


def recorded(image_set_id: str, state: Revision | str) -> Recorded:
    revision = state if isinstance(state, Revision) else None
    deleted_at = BEGINNING if state == "deleted" else None
    return Recorded(image_set_id, revision, deleted_at, attempts=3 if state == "failed" else 0)


@given(st.dictionaries(IDS, REVISIONS), st.dictionaries(IDS, REVISIONS | st.sampled_from(["deleted", "failed"])))
def test_every_difference_is_found_and_nothing_else(ahi: dict[str, Revision], index: dict[str, Revision | str]) -> None:
    expected = set()
    for image_set_id in ahi.keys() | index.keys():
        there, here = ahi.get(image_set_id), index.get(image_set_id)
        if here == "deleted":
            if there:
                expected.add((image_set_id, Kind.RETURNED))
        elif there is None:
            expected.add((image_set_id, Kind.GONE))
        elif not isinstance(here, Revision):
            expected.add((image_set_id, Kind.MISSING))
        elif (here.version, here.updated_at, here.is_primary) < (there.version, there.updated_at, there.is_primary):
            expected.add((image_set_id, Kind.BEHIND))
    found = list(
        differences(
            DATASTORE,
            (listed(one, ahi[one]) for one in sorted(ahi)),
            (recorded(one, index[one]) for one in sorted(index)),
        )
    )
    assert {(one.image_set_id, one.kind) for one in found} == expected
    assert [one.image_set_id for one in found] == sorted(one.image_set_id for one in found)
    assert all(utc(one.listed.updated_at) == ahi[one.image_set_id].updated_at for one in found if one.listed)
