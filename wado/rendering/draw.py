"""The picture of one frame: grey levels or colours, overlays, a presentation state, then the viewport."""

from collections.abc import Sequence
from typing import Protocol

import numpy as np
import numpy.typing as npt
from PIL import Image
from pydicom import Dataset

from wado.rendering.annotate import annotate
from wado.rendering.colour import icc_profile, in_colour_space, rgb
from wado.rendering.display_attributes import DisplayAttributes
from wado.rendering.encode import encode
from wado.rendering.geometry import fitted, needed_scale
from wado.rendering.overlay import overlay_mask
from wado.rendering.parameters import Rendering
from wado.rendering.presentation.present import Presentation
from wado.rendering.sample_format import SampleFormat, Samples
from wado.rendering.segmentation import draw_segments


class FramePixels(Protocol):
    """The pixels of one frame. They are decoded only when they are asked for."""

    @property
    def rows(self) -> int:
        """The rows of the whole frame."""

    @property
    def columns(self) -> int:
        """The columns of the whole frame."""

    def whole(self) -> Samples:
        """All samples, of shape (rows, columns) or (rows, columns, samples)."""

    def reduced(self, scale: float) -> Samples | None:
        """Samples of a lower resolution, with at least `scale` pixels for one of the frame; None without one."""


def draw_frame(
    pixels: FramePixels,
    attributes: DisplayAttributes,
    frame_number: int,
    rendering: Rendering,
    presentation: Presentation | None = None,
) -> Image.Image:
    """The picture of a frame in the size that the viewport asks for.

    `attributes` are those of the frame, and `frame_number` counts from 1. NotAcceptable where the pixels cannot be
    drawn; BadRequest where the viewport is outside the image.
    """
    aspect, placement = attributes.aspect, None
    if presentation:
        attributes = DisplayAttributes(presentation.data_set)
        placement = presentation.placement(pixels.columns, pixels.rows, rendering.viewport)
    scale = placement.scale if placement else needed_scale(pixels.columns, pixels.rows, aspect, rendering.viewport)
    exact = scale >= 1 or (presentation and presentation.exact) or not attributes.may_be_reduced
    reduced = None if exact else pixels.reduced(scale)
    samples = within_bits(reduced, attributes.sample_format) if reduced is not None else None
    if samples is None:
        samples = pixels.whole()
    image = Image.fromarray(draw_samples(samples, attributes, frame_number, rendering))
    if presentation and placement:
        return presentation.picture(image, samples, placement)
    return fitted(image, pixels.columns, pixels.rows, aspect, rendering.viewport)


def encode_frames(
    images: Sequence[Image.Image],
    attributes: DisplayAttributes,
    rendering: Rendering,
    state: Dataset | None,
    media_type: str,
) -> bytes:
    """The drawn frames of an image as one encoded picture or animation, annotated and in the colour space asked for.

    The ICC profile of the presentation state, if any, comes before that of the image. BadRequest as `encode`.
    """
    profile = (icc_profile(state) if state else None) or attributes.icc_profile
    profiled = [in_colour_space(image, profile, rendering.icc_profile) for image in images]
    pictures = [image for image, _ in profiled]
    if rendering.annotation:
        pictures = [annotate(image, attributes.data_set, rendering.annotation) for image in pictures]
    return encode(pictures, media_type, rendering.quality, profiled[0][1], attributes.frame_milliseconds)


def within_bits(samples: Samples, sample_format: SampleFormat) -> Samples | None:
    """Samples of a lower resolution, cut to the range of the stored bits, which the wavelet may have exceeded.

    None where other bits hold something else: averages no longer tell what that was.
    """
    sample_format = sample_format.within(samples)
    if sample_format.high_bit != sample_format.bits - 1:
        return None
    lowest, highest = sample_format.ends
    swing = (highest - lowest) // 4 + 1
    if samples.min() < lowest - swing or samples.max() > highest + swing:
        return None
    return samples.clip(lowest, highest)


def draw_samples(
    samples: Samples, attributes: DisplayAttributes, frame_number: int, rendering: Rendering
) -> npt.NDArray[np.uint8]:
    """8-bit grey of shape (rows, columns) or RGB of shape (rows, columns, 3), with overlays burnt in.

    `attributes` are those of the frame, and `frame_number` counts from 1. NotAcceptable where the samples cannot be
    drawn.
    """
    data_set = attributes.data_set
    if attributes.has_segments and samples.ndim == 2 and samples.dtype.kind in "iu":
        return draw_segments(samples, data_set, frame_number)
    coloured = samples.ndim == 3 or attributes.has_palette
    drawn = rgb(samples, data_set) if coloured else attributes.greyscale.levels(samples, rendering)
    mask = overlay_mask(data_set, samples, frame_number) if attributes.has_overlays else None
    if mask is not None and mask.shape == drawn.shape[:2]:
        drawn = np.where(mask if drawn.ndim == 2 else mask[..., None], np.uint8(255), drawn)
    return drawn
