"""The images and frames that a presentation state refers to (PS3.3 Sections C.11.11 and C.10.3)."""

from dataclasses import dataclass

from pydicom import Dataset

from wado.rendering.values import items, numbers, quietly, text

SOP_CLASSES = frozenset(f"1.2.840.10008.5.1.4.1.1.11.{number}" for number in (1, 2, 3))
"""The supported presentation states: grayscale, color and pseudo-color softcopy (PS3.3 Sections A.33.1 to 3)."""

MOST_IMAGES = 10_000


@dataclass(frozen=True)
class ImageReference:
    """A reference to an image; without frame numbers, which count from 1, it means all frames."""

    series_instance_uid: str
    sop_instance_uid: str
    frame_numbers: tuple[int, ...]


def referenced_images(state: Dataset) -> tuple[ImageReference, ...]:
    """The images that a presentation state refers to, in its order, MOST_IMAGES at most."""
    with quietly():
        references = [
            ImageReference(
                text(series, "SeriesInstanceUID"), text(image, "ReferencedSOPInstanceUID"), frame_numbers(image)
            )
            for series in items(state, "ReferencedSeriesSequence", MOST_IMAGES)
            for image in items(series, "ReferencedImageSequence", MOST_IMAGES)
        ]
    return tuple(references[:MOST_IMAGES])


def frame_numbers(image: Dataset) -> tuple[int, ...]:
    """The frame numbers in an item of a ReferencedImageSequence."""
    return tuple(int(number) for number in numbers(image, "ReferencedFrameNumber") if number >= 1)


def applies(item: Dataset, sop_instance_uid: str, frame_number: int) -> bool:
    """Whether an item of a state applies to the frame; without references it applies to all (PS3.3 Section C.10.4)."""
    images = list(items(item, "ReferencedImageSequence"))
    return not images or any(
        text(image, "ReferencedSOPInstanceUID") == sop_instance_uid
        and (not (frames := frame_numbers(image)) or frame_number in frames)
        for image in images
    )
