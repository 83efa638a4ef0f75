"""The rendering parameters of the URI service (PS3.18 Section 9.4.1.2), and the ones of WADO-RS that say the same."""

import math
from collections.abc import Mapping
from dataclasses import dataclass

from dicomweb.errors import BadRequest
from dicomweb.texts import parse_decimal
from dicomweb.uids import parse_uid

_PAIRS = (("windowCenter", "windowWidth"), ("presentationUID", "presentationSeriesUID"))
_ANNOTATIONS = ("patient", "technique")
_MOST_PIXELS = 65_535


@dataclass(frozen=True)
class UriRendering:
    """How to draw; None or empty where the request does not say.

    `window` is center and width. `size` is rows and columns to fit into, either of them None for no bound. `region` is
    xmin, ymin, xmax, ymax as parts of the image, from 0 to 1. `presentation` is the UIDs of a presentation state and of
    its series.
    """

    window: tuple[float, float] | None = None
    size: tuple[int | None, int | None] = (None, None)
    region: tuple[float, float, float, float] | None = None
    quality: int | None = None
    annotation: tuple[str, ...] = ()
    presentation: tuple[str, str] | None = None

    @classmethod
    def from_values(cls, values: Mapping[str, str]) -> "UriRendering":
        """From the parameters by name; BadRequest if one is ill-formed or lacks the one it belongs to."""
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

    def parameters(self, rows: int, columns: int) -> dict[str, str]:
        """The same as query parameters of WADO-RS (PS3.18 Table 8.3.5-1) for an image of so many rows and columns.

        WADO-RS has none for a presentation state.
        """
        given: dict[str, str] = {}
        if self.window:
            given["window"] = "{:.16g},{:.16g},linear".format(*self.window)
        if any(self.size) or self.region:
            given["viewport"] = ",".join("" if side is None else str(side) for side in self._viewport(rows, columns))
        if self.quality:
            given["quality"] = str(self.quality)
        if self.annotation:
            given["annotation"] = ",".join(self.annotation)
        return given

    def _viewport(self, rows: int, columns: int) -> tuple[int | None, ...]:
        """Width and height to fit into, then the region in pixels: x, y, width, height."""
        if self.region is None:
            return self.size[::-1]
        left, top, right, bottom = self.region
        x, y = math.floor(left * columns), math.floor(top * rows)
        width, height = math.ceil(right * columns) - x, math.ceil(bottom * rows) - y
        fit = self.size[::-1] if any(self.size) else (width, height)
        return (*fit, x, y, width, height)


def _window(values: Mapping[str, str]) -> tuple[float, float]:
    center, width = _number(values, "windowCenter"), _number(values, "windowWidth")
    if width < 1:
        raise BadRequest("windowWidth is less than 1")
    return center, width


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
    words = tuple(word.strip() for word in text.split(",") if word.strip())
    if not set(words) <= set(_ANNOTATIONS):
        raise BadRequest("annotation is a list of patient and technique")
    return words


def _side(values: Mapping[str, str], name: str) -> int | None:
    return _integer(values, name, _MOST_PIXELS) if values.get(name) else None


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
