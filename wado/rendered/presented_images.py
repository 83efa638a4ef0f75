"""The stored images that a presentation state applies to (PS3.3 Section A.33.1.2). Runs in the web processes."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from ahi.workers.pool import FetcherPool
from dicomweb.errors import NotFound
from wado.locate import LocatedInstance, Locator
from wado.rendered.presentation_jobs import find_references
from wado.rendering.presentation.references import ImageReference
from wado.target import Target

_MOST_SERIES = 8


@dataclass(frozen=True)
class PresentedImages:
    """Images and their frames, counted from 1, in display order; `missing` is the number of images not stored here."""

    frames: tuple[tuple[LocatedInstance, int], ...]
    missing: int


def find_presented(locator: Locator, fetchers: FetcherPool, state: LocatedInstance) -> PresentedImages:
    """The images of a state, series by series in its order; NotFound where none is stored in its study."""
    references = {(one.series_instance_uid, one.sop_instance_uid): one for one in _references(fetchers, state)}
    targets = [Target(state.study_instance_uid, series) for series in dict.fromkeys(series for series, _ in references)]
    if len(targets) > _MOST_SERIES:  # one query of the index for all of them
        targets = [Target(state.study_instance_uid)]
    stored = [instance for target in targets for instance in _stored(locator, target)]
    pairs = [(one, references.get((one.series_instance_uid, one.prepared.sop_instance_uid))) for one in stored]
    presented = [(instance, reference) for instance, reference in pairs if reference]
    frames = tuple(_frames(presented))
    if not frames:
        raise NotFound("none of the images that the presentation state is for is stored here")
    return PresentedImages(frames, len(references) - len(presented))


def applies_to(fetchers: FetcherPool, state: LocatedInstance, image: LocatedInstance, frame_number: int) -> bool:
    """Whether a state applies to a frame, counted from 1, of an image."""
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


def _frames(presented: Iterable[tuple[LocatedInstance, ImageReference]]) -> Iterator[tuple[LocatedInstance, int]]:
    for instance, reference in presented:
        count = len(instance.prepared.frames) if instance.prepared.pixels else 0
        for number in reference.frame_numbers or range(1, count + 1):
            if number <= count:
                yield instance, number
