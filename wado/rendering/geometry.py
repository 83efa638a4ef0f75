"""From the pixels of an image to those of a picture: pixel aspect ratio, source region, viewport, flips."""

from PIL import Image
from pydicom import Dataset

from dicomweb.errors import BadRequest
from wado.rendering.parameters import MOST_PIXELS, Region, Viewport
from wado.rendering.values import numbers

_SQUARE = 0.005  # a smaller difference of the aspect ratio from 1 is ignored
_MOST_ASPECT = 32.0  # a more extreme ratio is an error in the data set
_LEAST_SIDE = 0.01  # of a source region, in pixels

Box = tuple[float, float, float, float]
"""Left, upper, right and lower edge."""


def pixel_aspect(data_set: Dataset) -> float:
    """The height of a pixel divided by its width (PS3.3 Section C.7.6.3.1.7)."""
    for keyword in ("PixelAspectRatio", "PixelSpacing", "ImagerPixelSpacing", "NominalScannedPixelSpacing"):
        pair = numbers(data_set, keyword)
        if len(pair) == 2 and min(pair) > 0:
            aspect = pair[0] / pair[1]
            return aspect if 1 / _MOST_ASPECT < aspect < _MOST_ASPECT else 1.0
    return 1.0


def source_box(region: Region, columns: float, rows: float) -> Box:
    """The edges of the part of the region that is inside the image; BadRequest if there is none."""
    right = columns if region.width is None else min(region.x + region.width, columns)
    lower = rows if region.height is None else min(region.y + region.height, rows)
    if right - region.x < _LEAST_SIDE or lower - region.y < _LEAST_SIDE:
        raise BadRequest("viewport has a source region outside the image")
    return region.x, region.y, right, lower


def picture_size(box: Box, aspect: float, viewport: Viewport) -> tuple[int, int]:
    """Columns and rows of the picture: the region with square pixels, scaled to fit the viewport if it has bounds."""
    width, height = box[2] - box[0], box[3] - box[1]
    if abs(aspect - 1) > _SQUARE:
        width, height = (width, height * aspect) if aspect > 1 else (width / aspect, height)
    bounds = [side / size for side, size in ((viewport.columns, width), (viewport.rows, height)) if side]
    most = (MOST_PIXELS / (width * height)) ** 0.5
    scale = min(*bounds, most) if bounds else min(1.0, most)
    return max(1, round(width * scale)), max(1, round(height * scale))


def needed_scale(columns: int, rows: int, aspect: float, viewport: Viewport) -> float:
    """The greater of the two scales from the image to the picture; BadRequest as `source_box`."""
    box = source_box(viewport.region, columns, rows)
    size = picture_size(box, aspect, viewport)
    return max(size[0] / (box[2] - box[0]), size[1] / (box[3] - box[1]))


def fitted(image: Image.Image, columns: int, rows: int, aspect: float, viewport: Viewport) -> Image.Image:
    """The picture of an image of `columns` x `rows` pixels, given at full or lower resolution."""
    box = source_box(viewport.region, columns, rows)
    size = picture_size(box, aspect, viewport)
    x_scale, y_scale = image.width / columns, image.height / rows
    inside = (
        box[0] * x_scale,
        box[1] * y_scale,
        min(box[2] * x_scale, image.width),
        min(box[3] * y_scale, image.height),
    )
    if (inside[2] - inside[0], inside[3] - inside[1]) != size or inside[0] % 1 or inside[1] % 1:
        image = image.resize(size, Image.Resampling.LANCZOS, inside, reducing_gap=3.0)
    elif inside != (0, 0, image.width, image.height):
        image = image.crop((round(inside[0]), round(inside[1]), round(inside[2]), round(inside[3])))
    if viewport.region.flip_horizontally:
        image = image.transpose(Image.Transpose.FLIP_LEFT_RIGHT)
    if viewport.region.flip_vertically:
        image = image.transpose(Image.Transpose.FLIP_TOP_BOTTOM)
    return image
