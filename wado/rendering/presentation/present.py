"""The picture of one frame with a state applied: image, shutter, then layer by layer (PS3.4 Section N.2)."""

from collections.abc import Iterable, Iterator
from typing import Any

import numpy.typing as npt
from PIL import Image
from pydicom import Dataset

from wado.rendering.overlay import Mask, overlay_plane
from wado.rendering.parameters import Viewport
from wado.rendering.presentation.graphics import draw_layer
from wado.rendering.presentation.placement import Placement
from wado.rendering.presentation.shutter import apply_shutter
from wado.rendering.presentation.state import PresentationState
from wado.rendering.presentation.transformation import coloured, transformed


class Presentation:
    """A state, applied to one frame of one image.

    `image` is the data set of the frame, with the attributes of its functional groups; `data_set` is that with the
    transformations of the state. Frame numbers count from 1.
    """

    def __init__(self, state: Dataset, image: Dataset, frame_number: int) -> None:
        self._source, self._image, self._frame_number = state, image, frame_number
        self._state = PresentationState.from_data_set(state, image, frame_number)
        self.data_set = transformed(image, state, frame_number)

    @property
    def exact(self) -> bool:
        """Whether it has bitmaps, which need the pixels of the image at full resolution."""
        shutter = self._state.shutter
        return any(layer.overlays for layer in self._state.layers) or bool(shutter and shutter.overlay)

    @property
    def size(self) -> tuple[int, int]:
        """Rows and columns of the displayed area after rotation."""
        left, upper, right, lower = self._state.area.box
        columns, rows = round(right - left), round(lower - upper)
        return (columns, rows) if self._state.quarter_turns % 2 else (rows, columns)

    def placement(self, columns: int, rows: int, viewport: Viewport) -> Placement:
        """The placement of an image of `columns` x `rows` pixels; BadRequest as `Placement.of`."""
        return Placement.of(columns, rows, self._state.area, self._state.quarter_turns, self._state.flip, viewport)

    def picture(self, drawn: Image.Image, samples: npt.NDArray[Any], placement: Placement) -> Image.Image:
        """The picture with placement, shutter and layers applied to an image drawn from `samples` (rows, columns)."""
        picture, shutter = placement.place(coloured(drawn, self._source)), self._state.shutter
        if shutter:
            if len(set(shutter.colour)) > 1:
                picture = picture.convert("RGB")
            plane = next(self._planes([shutter.overlay] if shutter.overlay else [], samples), None)
            picture = apply_shutter(picture, shutter, plane, placement, self._state.area.aspect)
        for layer in self._state.layers:
            picture = draw_layer(picture, layer, list(self._planes(layer.overlays, samples)), placement)
        return picture

    def _planes(self, groups: Iterable[int], samples: npt.NDArray[Any]) -> Iterator[Mask]:
        """The overlay planes of the state, or else of the image (PS3.3 Section C.11.7)."""
        for group in groups:
            own = (group, 0x0010) in self._source
            plane = overlay_plane(self._source if own else self._image, group, samples, self._frame_number)
            if plane is not None and plane.shape == samples.shape[:2]:
                yield plane
