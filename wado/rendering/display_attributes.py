"""What is drawn: the data set of an image, or of a frame of it, and what that says of drawing it, found out once."""

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
    """An image as drawing it needs it. Windows change and frames follow each other; what it says of itself stays."""

    def __init__(self, data_set: Dataset) -> None:
        self.data_set = data_set

    def of_frame(self, frame_number: int) -> "DisplayAttributes":
        """What the functional groups say of a frame, from 1, instead of what is said of all."""
        data_set = of_frame(self.data_set, frame_number)
        return self if data_set is self.data_set else DisplayAttributes(data_set)

    @cached_property
    def has_segments(self) -> bool:
        """Whether its samples are segments and no grey levels."""
        return text(self.data_set, "SOPClassUID") in segmentation.SOP_CLASSES

    @cached_property
    def has_palette(self) -> bool:
        """Whether its samples are indexes of colours."""
        return text(self.data_set, "PhotometricInterpretation") == "PALETTE COLOR"

    @cached_property
    def has_overlays(self) -> bool:
        """Whether something is to be burnt in."""
        return bool(overlay_groups(self.data_set))

    @property
    def may_be_reduced(self) -> bool:
        """Whether neighbouring samples may be averaged: not labels, nor samples with overlays, which are exact."""
        return not (self.has_palette or self.has_segments or self.has_overlays)

    @cached_property
    def stored(self) -> SampleFormat:
        """Which bits of its samples count, as it says."""
        return SampleFormat.described(self.data_set)

    @cached_property
    def greyscale(self) -> Greyscale:
        """How its samples become grey levels."""
        return Greyscale.of(self.data_set)

    @cached_property
    def aspect(self) -> float:
        """The height of a pixel divided by its width."""
        return pixel_aspect(self.data_set)

    @cached_property
    def icc_profile(self) -> bytes | None:
        """Its own ICC profile."""
        return icc_profile(self.data_set)

    @cached_property
    def frame_milliseconds(self) -> float:
        """For how long each frame of an animation is shown (PS3.3 Section C.7.6.5)."""
        data_set = self.data_set
        rate = number(data_set, "RecommendedDisplayFrameRate") or number(data_set, "CineRate")
        milliseconds = 1000 / rate if rate and rate > 0 else number(data_set, "FrameTime") or _USUAL_FRAME_MS
        return min(max(milliseconds, 20.0), 60_000.0)  # browsers slow down what is faster
