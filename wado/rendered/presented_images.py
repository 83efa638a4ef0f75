"""The images that a presentation state shows, where they are stored: in its own study (PS3.3 Section A.33.1.2)."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from ahi.workers.pool import FetcherPool
from dicomweb.errors import NotFound
from wado.locate import LocatedInstance, Locator
from wado.rendering.presentation.references import ImageReference, find_references
from wado.target import Target

_MOST_SERIES = 8


@dataclass(frozen=True)
class PresentedImages:
    """Frames, counted from 1, in display order, and how many of the images that the state is for are not stored."""

    frames: tuple[tuple[LocatedInstance, int], ...]
    missing: int


def find_shown(locator: Locator, fetchers: FetcherPool, state: LocatedInstance) -> PresentedImages:
    """What a state shows: series by series in its order. NotFound where nothing of it is stored."""
    images = {(one.series_instance_uid, one.sop_instance_uid): one for one in _references(fetchers, state)}
    targets = [Target(state.study_instance_uid, series) for series in dict.fromkeys(series for series, _ in images)]
    if len(targets) > _MOST_SERIES:  # one look at the index for all of them
        targets = [Target(state.study_instance_uid)]
    stored = [instance for target in targets for instance in _stored(locator, target)]
    named = [(one, images.get((one.series_instance_uid, one.prepared.sop_instance_uid))) for one in stored]
    found = [(instance, reference) for instance, reference in named if reference]
    frames = tuple(_frames(found))
    if not frames:
        raise NotFound("none of the images that the presentation state is for is stored here")
    return PresentedImages(frames, len(images) - len(found))


def is_for(fetchers: FetcherPool, state: LocatedInstance, image: LocatedInstance, frame_number: int) -> bool:
    """Whether a state is for a frame, counted from 1, of an image."""
    return any(
        reference.sop_instance_uid == image.prepared.sop_instance_uid
        and (not reference.frame_numbers or frame_number in reference.frame_numbers)
        for reference in _references(fetchers, state)
    )


def _references(fetchers: FetcherPool, state: LocatedInstance) -> tuple[ImageReference, ...]:
    return fetchers.run(state.prepared.sop_instance_uid, find_references, state.head)


def _stored(locator: Locator, series: Target) -> list[LocatedInstance]:
    try:
        return locator.instances(series)
    except NotFound:
        return []


def _frames(found: Iterable[tuple[LocatedInstance, ImageReference]]) -> Iterator[tuple[LocatedInstance, int]]:
    for instance, reference in found:
        count = len(instance.prepared.frames) if instance.prepared.pixels else 0
        for number in reference.frame_numbers or range(1, count + 1):
            if number <= count:
                yield instance, number
