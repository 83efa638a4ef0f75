"""Which images, and which of their frames, a presentation state is for (PS3.3 Sections C.11.11 and C.10.3)."""

from dataclasses import dataclass

from pydicom import Dataset

from wado.rendering.values import items, numbers, quietly, text

SOP_CLASSES = frozenset(f"1.2.840.10008.5.1.4.1.1.11.{number}" for number in (1, 2, 3))
"""The presentation states that are applied: grayscale, color and pseudo-color softcopy (PS3.3 Sections A.33.1 to 3)."""

MOST_IMAGES = 10_000


@dataclass(frozen=True)
class ImageReference:
    """An image of a series; without frame numbers, which count from 1, all of its frames are meant."""

    series_instance_uid: str
    sop_instance_uid: str
    frame_numbers: tuple[int, ...]


def referenced_images(state: Dataset) -> tuple[ImageReference, ...]:
    """The images that a presentation state refers to, in its order, MOST_IMAGES at most."""
    with quietly():
        found = [
            ImageReference(
                text(series, "SeriesInstanceUID"), text(image, "ReferencedSOPInstanceUID"), frame_numbers(image)
            )
            for series in items(state, "ReferencedSeriesSequence", MOST_IMAGES)
            for image in items(series, "ReferencedImageSequence", MOST_IMAGES)
        ]
    return tuple(found[:MOST_IMAGES])


def frame_numbers(image: Dataset) -> tuple[int, ...]:
    """The frames that an item of a ReferencedImageSequence names."""
    return tuple(int(number) for number in numbers(image, "ReferencedFrameNumber") if number >= 1)


def applies(item: Dataset, sop_instance_uid: str, frame_number: int) -> bool:
    """Whether an item of a state is for the frame: one that names no image is for all (PS3.3 Section C.10.4)."""
    images = list(items(item, "ReferencedImageSequence"))
    return not images or any(
        text(image, "ReferencedSOPInstanceUID") == sop_instance_uid
        and (not (frames := frame_numbers(image)) or frame_number in frames)
        for image in images
    )
