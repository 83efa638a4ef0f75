"""The instances of a series that consists of several image sets. Runs in the web processes."""

from collections.abc import Iterable, Iterator, Sequence

from ahi.image_sets.prepared_reader import PreparedInstance
from ahi.retrieval.located_image_sets import LocatedImageSet

LocatedInstance = tuple[LocatedImageSet, PreparedInstance]
"""An instance and the image set that it is taken from."""


def preferred(image_sets: Iterable[LocatedImageSet]) -> list[LocatedImageSet]:
    """Sort image sets: the primary one first, then the latest. The first one that has an instance provides it."""
    return sorted(
        image_sets, key=lambda image_set: (not image_set.properties.is_primary, -image_set.properties.updated_at)
    )


def merge_series(image_sets: Sequence[LocatedImageSet]) -> Iterator[LocatedInstance]:
    """Yield each instance once, in display order."""
    chosen: dict[str, LocatedInstance] = {}
    for image_set in preferred(image_sets):
        for prepared in image_set.prepared.instances:
            chosen.setdefault(prepared.sop_instance_uid, (image_set, prepared))
    if len(image_sets) == 1:
        yield from chosen.values()
        return
    yield from sorted(chosen.values(), key=lambda pair: (pair[1].display_order, pair[1].sop_instance_uid))
