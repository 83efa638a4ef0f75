"""The job that draws: frames in, an encoded picture out. It runs in a fetcher; what it made is cached like frames."""

import hashlib
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image

from ahi.cache.lru import LRUCache
from ahi.codecs.frames import PixelFormat
from ahi.codecs.pixel_memory import SMALL_BYTES
from ahi.image_sets.frame_reference import FrameReference
from ahi.image_sets.prepared_reader import Block
from ahi.workers.context import WorkerContext, runs_inline
from ahi.workers.frame_jobs import cached_native_frame, pixels_in_memory, reduced_frame
from ahi.workers.image_set_jobs import read_block
from dicomweb.errors import NotAcceptable
from runtime.timing import measured
from wado.rendering.annotate import annotate
from wado.rendering.colour import icc_profile, in_colour_space, rgb
from wado.rendering.display_attributes import DisplayAttributes
from wado.rendering.encode import encode
from wado.rendering.geometry import fitted, needed_scale
from wado.rendering.overlay import overlay_mask
from wado.rendering.parameters import Rendering
from wado.rendering.presentation.present import Presentation
from wado.rendering.sample_format import SampleFormat
from wado.rendering.segmentation import draw_segments
from wado.rendering.values import parse_head, quietly

IMPLEMENTATION = "6"
"""Part of the name of each picture: raise it when the same is drawn differently."""

MOST_ANIMATED_FRAMES = 500
_MOST_BRIEF_PIXELS = 2**19
_MOST_PASSING_BYTES = 2**18  # of a picture on the way to another one

_SUBJECTS: LRUCache[Block, DisplayAttributes] = LRUCache(2**25)
_SUBJECT_TIMES = 20  # about how many times its bytes a data set takes in memory


@dataclass(frozen=True)
class Picture:
    """What to draw: frames of one instance with their numbers, several for an animation; the data set that says how (up
    to PixelData, Explicit VR LE), or where that is; as which media type. `state` is the data set of a presentation
    state to apply.
    """

    frames: tuple[FrameReference, ...]
    frame_numbers: tuple[int, ...]
    head: Block
    media_type: str
    rendering: Rendering = Rendering()
    state: bytes = b""

    @property
    def route(self) -> str:
        """To the fetcher that has, or will have, the frame."""
        return self.frames[0].frame.frame_id

    def __hash__(self) -> int:
        return hash(self.cache_name)

    @cached_property
    def cache_name(self) -> str:
        """Changes with everything that changes the picture; a fetcher is told it, and need not find it out again."""
        facts = (IMPLEMENTATION, self.frame_numbers, self.media_type, self.rendering.facts, len(self.state))
        head = self.head if isinstance(self.head, bytes) else repr(self.head).encode()
        digest = hashlib.sha256(repr(facts).encode() + self.state + head).hexdigest()
        return f"rendered/{self.route[:2]}/{self.route}.{digest[:32]}"


def _is_brief(context: WorkerContext, picture: Picture) -> bool:
    """One small frame that was drawn before: nothing is to be parsed or decoded any more."""
    pixels = picture.frames[0].pixels
    small = len(picture.frames) == 1 and pixels and pixels.rows * pixels.columns <= _MOST_BRIEF_PIXELS
    at_once = pixels and pixels.array_bytes <= SMALL_BYTES  # without waiting for the memory
    return bool(
        small
        and at_once
        and not picture.state
        and context.native_frame_cache.get(picture.route)
        and _SUBJECTS.get(picture.head)
    )


@runs_inline(_is_brief)
def render(context: WorkerContext, picture: Picture) -> bytes:
    """The encoded picture: a job for a fetcher.

    Nearly all windows that clients choose are on the way to another one, and nobody asks for them again: such a picture
    goes into the cache when it is asked for once more, if it is not one that takes long to draw.
    """
    name = picture.cache_name
    kept = context.cache.read(name)
    if kept is not None:
        return kept
    encoded = context.rendered_cache.get(name)
    if encoded is None:
        with quietly(), measured("render", picture.media_type):
            encoded = _drawn(context, picture)
        if picture.rendering.window and len(encoded) <= _MOST_PASSING_BYTES:
            context.rendered_cache.put(name, encoded, len(encoded))
            return encoded
    context.cache.put(name, encoded)
    return encoded


def _drawn(context: WorkerContext, picture: Picture) -> bytes:
    whole, rendering = _subject(context, picture.head), picture.rendering
    state = _subject(context, picture.state).data_set if picture.state else None
    images = []
    for reference, frame_number in zip(picture.frames, picture.frame_numbers, strict=True):
        subject = whole.of_frame(frame_number)
        presentation = Presentation(state, subject.data_set, frame_number) if state else None
        with pixels_in_memory(context, reference):
            images.append(_frame(context, reference, subject, frame_number, rendering, presentation))
    profile = (icc_profile(state) if state else None) or whole.icc_profile
    profiled = [in_colour_space(image, profile, rendering.icc_profile) for image in images]
    pictures = [image for image, _ in profiled]
    if rendering.annotation:
        pictures = [annotate(image, whole.data_set, rendering.annotation) for image in pictures]
    return encode(pictures, picture.media_type, rendering.quality, profiled[0][1], whole.frame_milliseconds)


def _subject(context: WorkerContext, head: Block) -> DisplayAttributes:
    """Images are drawn again and again, with other windows or frame by frame: their data sets are parsed once."""
    return _SUBJECTS.get(head) or context.shared_runs.run(("subject", head), lambda: _parsed(context, head))


def _parsed(context: WorkerContext, head: Block) -> DisplayAttributes:
    known = _SUBJECTS.get(head)  # looked for in the flight: one before it may have landed a moment ago
    if known is None:
        content = read_block(context, head)
        known = DisplayAttributes(parse_head(content))
        known.of_frame(1)  # with that all functional groups are parsed, which takes longest
        _SUBJECTS.put(head, known, _SUBJECT_TIMES * len(content))
    return known


def _frame(
    context: WorkerContext,
    reference: FrameReference,
    subject: DisplayAttributes,
    frame_number: int,
    rendering: Rendering,
    presentation: Presentation | None,
) -> Image.Image:
    pixels = reference.pixels
    if pixels is None:
        raise NotAcceptable("the instance has no pixels to draw")
    aspect, placement = subject.aspect, None
    if presentation:
        subject = DisplayAttributes(presentation.data_set)
        placement = presentation.placement(pixels.columns, pixels.rows, rendering.viewport)
    scale = placement.scale if placement else needed_scale(pixels.columns, pixels.rows, aspect, rendering.viewport)
    exact = scale >= 1 or (presentation and presentation.exact) or not subject.may_be_reduced
    reduced = None if exact else reduced_frame(context, reference, scale)
    samples = within_bits(pixel_array(*reduced), subject.stored) if reduced else None
    if samples is None:
        samples = pixel_array(cached_native_frame(context, reference), pixels)
    image = Image.fromarray(draw(samples, subject, frame_number, rendering))
    if presentation and placement:
        return presentation.picture(image, samples, placement)
    return fitted(image, pixels.columns, pixels.rows, aspect, rendering.viewport)


def pixel_array(native: bytes, pixels: PixelFormat) -> npt.NDArray[Any]:
    """Native bytes as an array of shape (rows, columns) or (rows, columns, samples)."""
    shape: tuple[int, ...] = (pixels.rows, pixels.columns)
    if pixels.samples_per_pixel > 1:
        shape = (*shape, pixels.samples_per_pixel)
    if pixels.bits_allocated == 1:
        bits = np.unpackbits(np.frombuffer(native, np.uint8), bitorder="little")
        return bits[: int(np.prod(shape))].reshape(shape)
    return np.frombuffer(native, pixels.dtype).reshape(shape)


def within_bits(samples: npt.NDArray[Any], stored: SampleFormat) -> npt.NDArray[Any] | None:
    """Samples of a lower resolution within the range of the bits that are stored, which they may have swung beyond.

    None where something else is in the other bits: that is known by averages no more.
    """
    stored = stored.within(samples)
    if stored.high_bit != stored.bits - 1:
        return None
    lowest, highest = stored.ends
    swing = (highest - lowest) // 4 + 1
    if samples.min() < lowest - swing or samples.max() > highest + swing:
        return None
    return samples.clip(lowest, highest)


def draw(
    array: npt.NDArray[Any], subject: DisplayAttributes, frame_number: int, rendering: Rendering
) -> npt.NDArray[np.uint8]:
    """8-bit grey of shape (rows, columns), or RGB of shape (rows, columns, 3), overlays burnt in.

    `subject` is what is said of the frame; `frame_number` is from 1.
    """
    data_set = subject.data_set
    if subject.has_segments and array.ndim == 2 and array.dtype.kind in "iu":
        return draw_segments(array, data_set, frame_number)
    coloured = array.ndim == 3 or subject.has_palette
    drawn = rgb(array, data_set) if coloured else subject.greyscale.levels(array, rendering)
    mask = overlay_mask(data_set, array, frame_number) if subject.has_overlays else None
    if mask is not None and mask.shape == drawn.shape[:2]:
        drawn = np.where(mask if drawn.ndim == 2 else mask[..., None], np.uint8(255), drawn)
    return drawn
