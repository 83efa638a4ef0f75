"""Facts of presentation states that web processes need: jobs of the FrameFetcher processes."""

from ahi.workers.context import WorkerContext
from wado.rendering.functional_groups import of_frame
from wado.rendering.presentation.present import Presentation
from wado.rendering.presentation.references import ImageReference, referenced_images
from wado.rendering.values import parse_head, quietly


def find_references(_context: WorkerContext, state: bytes) -> tuple[ImageReference, ...]:
    """The images that a presentation state refers to; `state` is its data set (Explicit VR Little Endian)."""
    return referenced_images(parse_head(state))


def find_displayed_size(_context: WorkerContext, state: bytes, image: bytes, frame_number: int) -> tuple[int, int]:
    """Rows and columns of the area of a frame that a state displays, in pixels of the image.

    `state` and `image` are data sets (Explicit VR Little Endian); `frame_number` counts from 1.
    """
    with quietly():
        presentation = Presentation(parse_head(state), of_frame(parse_head(image), frame_number), frame_number)
    return presentation.size
