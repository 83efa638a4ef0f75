"""A series of several image sets: which of them it shows."""

from collections.abc import Iterable, Iterator, Sequence

from ahi.image_sets.prepared_reader import PreparedInstance
from ahi.retrieval.located_image_sets import LocatedImageSet

LocatedInstance = tuple[LocatedImageSet, PreparedInstance]
"""An instance, and the image set that it is taken from."""


def preferred(sets: Iterable[LocatedImageSet]) -> list[LocatedImageSet]:
    """The primary image set first, then the latest: what a series shows where several have the same instance."""
    return sorted(sets, key=lambda one: (not one.properties.is_primary, -one.properties.updated_at))


def merge_series(sets: Sequence[LocatedImageSet]) -> Iterator[LocatedInstance]:
    """Each instance once, in display order."""
    chosen: dict[str, LocatedInstance] = {}
    for one in preferred(sets):
        for prepared in one.prepared.instances:
            chosen.setdefault(prepared.sop_instance_uid, (one, prepared))
    if len(sets) == 1:
        yield from chosen.values()
        return
    yield from sorted(chosen.values(), key=lambda pair: (pair[1].display_order, pair[1].sop_instance_uid))
