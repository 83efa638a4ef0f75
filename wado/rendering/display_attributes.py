"""The attributes of an image, or of one of its frames, that decide how it is drawn; each is read once."""

from functools import cached_property

from pydicom import Dataset

from wado.rendering import segmentation
from wado.rendering.colour import icc_profile
from wado.rendering.functional_groups import of_frame
from wado.rendering.geometry import pixel_aspect
from wado.rendering.grey import Greyscale
from wado.rendering.overlay import overlay_groups
from wado.rendering.sample_format import SampleFormat
from wado.rendering.values import number, text

_USUAL_FRAME_MS = 100.0


class DisplayAttributes:
    """Reads a data set for drawing, and keeps what it read for the next window or frame."""

    def __init__(self, data_set: Dataset) -> None:
        self.data_set = data_set

    def of_frame(self, frame_number: int) -> "DisplayAttributes":
        """The attributes of one frame, counted from 1, where functional groups have some; else these."""
        data_set = of_frame(self.data_set, frame_number)
        return self if data_set is self.data_set else DisplayAttributes(data_set)

    @cached_property
    def has_segments(self) -> bool:
        """Whether the samples are segments instead of grey levels."""
        return text(self.data_set, "SOPClassUID") in segmentation.SOP_CLASSES

    @cached_property
    def has_palette(self) -> bool:
        """Whether the samples are indexes into a palette."""
        return text(self.data_set, "PhotometricInterpretation") == "PALETTE COLOR"

    @cached_property
    def has_overlays(self) -> bool:
        """Whether there are overlays to burn in."""
        return bool(overlay_groups(self.data_set))

    @property
    def may_be_reduced(self) -> bool:
        """Whether neighbouring samples may be averaged: not those of labels, or under overlays, which are exact."""
        return not (self.has_palette or self.has_segments or self.has_overlays)

    @cached_property
    def sample_format(self) -> SampleFormat:
        """The format of the samples, as the data set states it."""
        return SampleFormat.from_data_set(self.data_set)

    @cached_property
    def greyscale(self) -> Greyscale:
        """The way from samples to grey levels."""
        return Greyscale.of(self.data_set)

    @cached_property
    def aspect(self) -> float:
        """The height of a pixel divided by its width."""
        return pixel_aspect(self.data_set)

    @cached_property
    def icc_profile(self) -> bytes | None:
        """The ICC profile of the image."""
        return icc_profile(self.data_set)

    @cached_property
    def frame_milliseconds(self) -> float:
        """The time that each frame of an animation is shown, in milliseconds (PS3.3 Section C.7.6.5)."""
        data_set = self.data_set
        rate = number(data_set, "RecommendedDisplayFrameRate") or number(data_set, "CineRate")
        milliseconds = 1000 / rate if rate and rate > 0 else number(data_set, "FrameTime") or _USUAL_FRAME_MS
        return min(max(milliseconds, 20.0), 60_000.0)  # browsers slow down what is faster
