"""The rendering parameters of the URI service (PS3.18 Section 9.4.1.2) as a typed value."""

import math
from collections.abc import Mapping
from dataclasses import dataclass

from dicomweb.errors import BadRequest
from dicomweb.texts import parse_decimal
from dicomweb.uids import parse_uid
from wado.rendering.parameters import ANNOTATIONS, MOST_SIDE, Region, Rendering, Viewport, Window

_PAIRS = (("windowCenter", "windowWidth"), ("presentationUID", "presentationSeriesUID"))


@dataclass(frozen=True)
class UriRendering:
    """The parameters of one request; None or empty where the request does not say.

    `size` is rows and columns to fit into, either of them None for no bound. `region` is xmin, ymin, xmax, ymax as
    fractions of the image, from 0 to 1. `presentation` is the UIDs of a presentation state and of its series.
    """

    window: Window | None = None
    size: tuple[int | None, int | None] = (None, None)
    region: tuple[float, float, float, float] | None = None
    quality: int | None = None
    annotation: tuple[str, ...] = ()
    presentation: tuple[str, str] | None = None

    @classmethod
    def from_values(cls, values: Mapping[str, str]) -> "UriRendering":
        """From the parameters by name; BadRequest if one is malformed, or one of a pair is missing."""
        for pair in _PAIRS:
            if len([name for name in pair if values.get(name)]) == 1:
                raise BadRequest(f"{pair[0]} and {pair[1]} belong together")
        center, state = (values.get(first) for first, _ in _PAIRS)
        if state and center:
            raise BadRequest("a window cannot be given together with a presentation state")
        annotation = values.get("imageAnnotation") or values.get("annotation") or ""
        return cls(
            window=_window(values) if center else None,
            size=(_side(values, "rows"), _side(values, "columns")),
            region=_region(values["region"]) if values.get("region") else None,
            quality=_integer(values, "imageQuality", 100) if values.get("imageQuality") else None,
            annotation=_annotation(annotation),
            presentation=_presentation(values) if state else None,
        )

    def for_image(self, rows: int, columns: int) -> Rendering:
        """The rendering of an image, or displayed area, of so many pixels; BadRequest for a viewport out of bounds.

        A presentation state is no part of it.
        """
        viewport = self._viewport(rows, columns)
        return Rendering(window=self.window, viewport=viewport, quality=self.quality, annotation=self.annotation)

    def _viewport(self, rows: int, columns: int) -> Viewport:
        """The bounds of the picture, and the region rounded outwards to whole pixels."""
        bounds = self.size[::-1]
        if self.region is None:
            return Viewport.bounded(*bounds)
        left, top, right, bottom = self.region
        x, y = math.floor(left * columns), math.floor(top * rows)
        width, height = math.ceil(right * columns) - x, math.ceil(bottom * rows) - y
        region = Region.from_signed(x, y, width, height)
        return Viewport.bounded(*(bounds if any(bounds) else (width, height)), region)


def _window(values: Mapping[str, str]) -> Window:
    center, width = _number(values, "windowCenter"), _number(values, "windowWidth")
    if width < 1:
        raise BadRequest("windowWidth is less than 1")
    return Window(center, width)


def _presentation(values: Mapping[str, str]) -> tuple[str, str]:
    instance, series = values["presentationUID"], values["presentationSeriesUID"]
    return parse_uid(instance, "presentationUID"), parse_uid(series, "presentationSeriesUID")


def _region(text: str) -> tuple[float, float, float, float]:
    words = text.split(",")
    if len(words) != 4:
        raise BadRequest("region is xmin,ymin,xmax,ymax")
    left, top, right, bottom = (_number({"region": word}, "region") for word in words)
    if not (0 <= left < right <= 1 and 0 <= top < bottom <= 1):
        raise BadRequest("region is not within 0 and 1, or its minimum is not below its maximum")
    return left, top, right, bottom


def _annotation(text: str) -> tuple[str, ...]:
    words = {word.strip() for word in text.split(",") if word.strip()}
    if not words <= set(ANNOTATIONS):
        raise BadRequest("annotation is a list of patient and technique")
    return tuple(word for word in ANNOTATIONS if word in words)


def _side(values: Mapping[str, str], name: str) -> int | None:
    return _integer(values, name, MOST_SIDE) if values.get(name) else None


def _number(values: Mapping[str, str], name: str) -> float:
    try:
        return parse_decimal(values[name])
    except ValueError:
        raise BadRequest(f"{name} is not a number") from None


def _integer(values: Mapping[str, str], name: str, most: int) -> int:
    text = values[name]
    if not (text.isascii() and text.isdigit() and len(text) <= 9 and 1 <= int(text) <= most):
        raise BadRequest(f"{name} is not a whole number from 1 to {most}")
    return int(text)
