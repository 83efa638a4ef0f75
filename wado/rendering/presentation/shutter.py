"""The display shutter of a state: everything outside its shapes has one colour (PS3.3 Section C.7.6.11)."""

import numpy as np
from PIL import Image, ImageDraw

from wado.rendering.overlay import Mask
from wado.rendering.presentation.placement import Placement, Points
from wado.rendering.presentation.state import Shutter


def apply_shutter(
    picture: Image.Image, shutter: Shutter, plane: Mask | None, placement: Placement, aspect: float
) -> Image.Image:
    """The picture with the shutter; `plane` is the mask of a bitmap shutter, `aspect` pixel height by width."""
    closed = Image.fromarray(placement.inside & ~open_mask(shutter, plane, placement, aspect))
    picture.paste(shutter.colour if picture.mode == "RGB" else shutter.colour[0], mask=closed.convert("1"))
    return picture


def open_mask(shutter: Shutter, plane: Mask | None, placement: Placement, aspect: float) -> Mask:
    """The mask of the pixels of the picture that no shape of the shutter covers."""
    x, y = placement.coordinates
    parts = np.ones(placement.size[::-1], bool)
    if shutter.rectangle:
        left, upper, right, lower = shutter.rectangle
        parts &= (x >= left) & (x <= right) & (y >= upper) & (y <= lower)
    if shutter.circle:
        center, radius = shutter.circle  # the radius is in pixels along a row
        squared = radius**2 - ((y - center[1]) * aspect) ** 2
        parts &= np.abs(x - center[0]) <= np.where(squared >= 0, np.sqrt(np.abs(squared)), -1)
    if shutter.polygon:
        parts &= _polygon(placement.to_picture(np.array(shutter.polygon, float)), placement.size)
    if plane is not None:
        parts &= ~(np.asarray(placement.place(Image.fromarray(plane.astype(np.uint8) * 255))) > 127)
    return parts


def _polygon(vertices: Points, size: tuple[int, int]) -> Mask:
    shape = Image.new("L", size)
    ImageDraw.Draw(shape).polygon([tuple(one) for one in np.clip(vertices - 0.5, -1e6, 1e6).tolist()], 1)
    return np.asarray(shape).astype(bool)
