"""Pictures of frames: jobs of the FrameFetcher processes. A picture is kept in the cache, as frames are."""

import hashlib
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from ahi.cache.lru import LRUCache
from ahi.codecs.pixel_format import PixelFormat
from ahi.codecs.pixel_memory import SMALL_BYTES
from ahi.image_sets.frame_reference import FrameReference
from ahi.image_sets.prepared_reader import Block
from ahi.workers.context import WorkerContext, runs_inline
from ahi.workers.frame_jobs import cached_native_frame, pixels_in_memory, reduced_frame
from ahi.workers.image_set_jobs import read_block
from dicomweb.errors import NotAcceptable
from runtime.timing import measured
from wado.rendering.display_attributes import DisplayAttributes
from wado.rendering.draw import draw_frame, encode_frames
from wado.rendering.parameters import Rendering
from wado.rendering.presentation.present import Presentation
from wado.rendering.sample_format import Samples
from wado.rendering.values import parse_head, quietly

IMPLEMENTATION = "6"
"""Part of the name of each picture: raise it when the same request is drawn differently."""

MOST_ANIMATED_FRAMES = 500
_MOST_INLINE_PIXELS = 2**19
_MOST_MEMORY_BYTES = 2**18  # of a picture that is kept in memory first

_DISPLAY_ATTRIBUTES: LRUCache[Block, DisplayAttributes] = LRUCache(2**25)
_BYTES_IN_MEMORY = 20  # for one byte of a data set, about


@dataclass(frozen=True)
class Picture:
    """A request for a picture of one frame, or for an animation of several frames of the same instance.

    `head` is the data set up to PixelData (Explicit VR Little Endian), or where that is stored. `state` is the data set
    of a presentation state to apply, empty for none. Frame numbers count from 1.
    """

    frames: tuple[FrameReference, ...]
    frame_numbers: tuple[int, ...]
    head: Block
    media_type: str
    rendering: Rendering = Rendering()
    state: bytes = b""

    @property
    def route(self) -> str:
        """The routing key of the job: it leads to the fetcher that has, or will have, the frame."""
        return self.frames[0].frame.frame_id

    def __hash__(self) -> int:
        return hash(self.cache_name)

    @cached_property
    def cache_name(self) -> str:
        """The name in the cache, different for whatever is drawn differently.

        It is sent to the fetcher with the request, so that it is computed once.
        """
        facts = (IMPLEMENTATION, self.frame_numbers, self.media_type, self.rendering.facts, len(self.state))
        head = self.head if isinstance(self.head, bytes) else repr(self.head).encode()
        digest = hashlib.sha256(repr(facts).encode() + self.state + head).hexdigest()
        return f"rendered/{self.route[:2]}/{self.route}.{digest[:32]}"


def _runs_inline(context: WorkerContext, picture: Picture) -> bool:
    """Whether the picture is one small frame that was drawn before: nothing is to be parsed or decoded any more."""
    pixels = picture.frames[0].pixels
    small = len(picture.frames) == 1 and pixels and pixels.rows * pixels.columns <= _MOST_INLINE_PIXELS
    needs_no_share = pixels and pixels.array_bytes <= SMALL_BYTES  # of the pixel memory, which it might wait for
    return bool(
        small
        and needs_no_share
        and not picture.state
        and context.native_frame_cache.get(picture.route)
        and _DISPLAY_ATTRIBUTES.get(picture.head)
    )


@runs_inline(_runs_inline)
def render(context: WorkerContext, picture: Picture) -> bytes:
    """The encoded picture, from the cache or drawn now.

    Most windows that a client chooses are only passed through on the way to another one. Such a picture goes to the
    disk cache when it is asked for a second time, unless it is large.
    """
    name = picture.cache_name
    cached = context.cache.read(name)
    if cached is not None:
        return cached
    encoded = context.rendered_cache.get(name)
    if encoded is None:
        with quietly(), measured("render", picture.media_type):
            encoded = _drawn(context, picture)
        if picture.rendering.window and len(encoded) <= _MOST_MEMORY_BYTES:
            context.rendered_cache.put(name, encoded, len(encoded))
            return encoded
    context.cache.put(name, encoded)
    return encoded


def _drawn(context: WorkerContext, picture: Picture) -> bytes:
    attributes = _display_attributes(context, picture.head)
    state = _display_attributes(context, picture.state).data_set if picture.state else None
    images = []
    for reference, frame_number in zip(picture.frames, picture.frame_numbers, strict=True):
        of_frame = attributes.of_frame(frame_number)
        presentation = Presentation(state, of_frame.data_set, frame_number) if state else None
        with pixels_in_memory(context, reference):
            pixels = CachedPixels.of(context, reference)
            images.append(draw_frame(pixels, of_frame, frame_number, picture.rendering, presentation))
    return encode_frames(images, attributes, picture.rendering, state, picture.media_type)


def _display_attributes(context: WorkerContext, head: Block) -> DisplayAttributes:
    """The display attributes of a data set, parsed once: an image is drawn again with other windows, or frame by
    frame."""
    return _DISPLAY_ATTRIBUTES.get(head) or context.shared_runs.run(
        ("display attributes", head), lambda: _parsed(context, head)
    )


def _parsed(context: WorkerContext, head: Block) -> DisplayAttributes:
    attributes = _DISPLAY_ATTRIBUTES.get(head)  # another thread may have parsed it a moment ago
    if attributes is None:
        content = read_block(context, head)
        attributes = DisplayAttributes(parse_head(content))
        attributes.of_frame(1)  # parses all functional groups, which takes longest
        _DISPLAY_ATTRIBUTES.put(head, attributes, _BYTES_IN_MEMORY * len(content))
    return attributes


@dataclass(frozen=True)
class CachedPixels:
    """The pixels of a frame from the caches of a fetcher, or from AHI."""

    context: WorkerContext
    reference: FrameReference
    layout: PixelFormat

    @classmethod
    def of(cls, context: WorkerContext, reference: FrameReference) -> "CachedPixels":
        """The pixels of a frame; NotAcceptable if its metadata describes none."""
        if reference.pixels is None:
            raise NotAcceptable("the instance has no pixels to draw")
        return cls(context, reference, reference.pixels)

    @property
    def rows(self) -> int:
        """The rows of the whole frame."""
        return self.layout.rows

    @property
    def columns(self) -> int:
        """The columns of the whole frame."""
        return self.layout.columns

    def whole(self) -> Samples:
        """All samples, decoded or from memory."""
        return pixel_array(cached_native_frame(self.context, self.reference), self.layout)

    def reduced(self, scale: float) -> Samples | None:
        """Samples of a lower resolution, decoded from HTJ2K; None for other codecs."""
        reduced = reduced_frame(self.context, self.reference, scale)
        return pixel_array(*reduced) if reduced else None


def pixel_array(native: bytes, layout: PixelFormat) -> Samples:
    """Native bytes as an array of shape (rows, columns) or (rows, columns, samples)."""
    shape: tuple[int, ...] = (layout.rows, layout.columns)
    if layout.samples_per_pixel > 1:
        shape = (*shape, layout.samples_per_pixel)
    if layout.bits_allocated == 1:
        bits = np.unpackbits(np.frombuffer(native, np.uint8), bitorder="little")
        return bits[: int(np.prod(shape))].reshape(shape)
    return np.frombuffer(native, layout.dtype).reshape(shape)
