"""The rendering parameters as a frozen value, and how a query is parsed into it (PS3.18 Section 8.3.5.1)."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cached_property

from dicomweb.errors import BadRequest
from dicomweb.texts import parse_decimal

MOST_PIXELS = 2**26
"""The largest picture in pixels: larger than any detector, and small enough for memory."""

MOST_SIDE = 65_535
"""The largest side of a picture in pixels."""

THUMBNAIL_SIZE = (200, 200)
"""Columns and rows that a thumbnail fits into by default."""

FUNCTIONS = {"linear": "LINEAR", "linear-exact": "LINEAR_EXACT", "sigmoid": "SIGMOID"}
"""VOI LUT functions: the name in the `window` parameter, and the term of PS3.3 Section C.11.2.1.3."""

ICC_PROFILES = ("no", "yes", "srgb", "adobergb", "rommrgb", "displayp3")
ANNOTATIONS = ("patient", "technique")


@dataclass(frozen=True)
class Window:
    """A window on modality values (PS3.3 Section C.11.2.1.2); `function` is a VOI LUT function."""

    center: float
    width: float
    function: str = "LINEAR"


@dataclass(frozen=True)
class Region:
    """A part of an image in pixels from its upper left corner; without a width or height it extends to the edge."""

    x: float = 0.0
    y: float = 0.0
    width: float | None = None
    height: float | None = None
    flip_horizontally: bool = False
    flip_vertically: bool = False

    @classmethod
    def from_signed(cls, x: float, y: float, width: float | None, height: float | None) -> "Region":
        """A region whose negative width or height means that it is flipped; BadRequest if it cannot be in an image."""
        if x < 0 or y < 0 or width == 0 or height == 0:
            raise BadRequest("viewport has a source region outside the image")
        return cls(
            float(x),
            float(y),
            None if width is None else float(abs(width)),
            None if height is None else float(abs(height)),
            width is not None and width < 0,
            height is not None and height < 0,
        )


@dataclass(frozen=True)
class Viewport:
    """The columns and rows that the region is scaled to fit into, with its aspect kept; None for no bound."""

    columns: int | None = None
    rows: int | None = None
    region: Region = Region()

    @classmethod
    def bounded(cls, columns: int | None, rows: int | None, region: Region = Region()) -> "Viewport":
        """A viewport within the bounds of a picture, else BadRequest."""
        if not all(side is None or 1 <= side <= MOST_SIDE for side in (columns, rows)):
            raise BadRequest(f"viewport is not between 1 and {MOST_SIDE}")
        if (columns or 1) * (rows or 1) > MOST_PIXELS:
            raise BadRequest(f"the viewport has more than {MOST_PIXELS} pixels")
        return cls(columns, rows, region)


@dataclass(frozen=True)
class Rendering:
    """How to draw a picture; None where the image or a default decides. `window_index` counts from 0."""

    window: Window | None = None
    window_index: int = 0
    viewport: Viewport = Viewport()
    quality: int | None = None
    annotation: tuple[str, ...] = ()
    icc_profile: str = "no"

    @cached_property
    def facts(self) -> str:
        """All fields as text, for names in the cache and entity tags."""
        return repr(self)


def parse_rendering(parameters: Iterable[tuple[str, str]]) -> tuple[Rendering, tuple[str, ...]]:
    """The rendering that a query asks for, and the annotations that are unknown.

    Extensions: `windowcenter`, `windowwidth`, `rows` and `columns` are older names; `windowindex`, counted from 1,
    chooses among the windows of the image. BadRequest names the parameter that is malformed.
    """
    given = {name.lower(): value.strip() for name, value in parameters if value.strip()}
    annotations = [word.strip() for word in given.get("annotation", "").split(",") if word.strip()]
    icc_profile = given.get("iccprofile", "no").lower()
    if icc_profile not in ICC_PROFILES:
        raise BadRequest(f"iccprofile is none of {', '.join(ICC_PROFILES)}")
    rendering = Rendering(
        window=_window(given),
        window_index=_number(given, "windowindex", 1, 1000, 1) - 1,
        viewport=_viewport(given),
        quality=_number(given, "quality", 1, 100, 0) or None,
        annotation=tuple(word for word in ANNOTATIONS if word in annotations),
        icc_profile=icc_profile,
    )
    return rendering, tuple(word for word in annotations if word not in ANNOTATIONS)


def parse_thumbnail(parameters: Iterable[tuple[str, str]]) -> Rendering:
    """The rendering of a thumbnail: only the size of the viewport counts (PS3.18 Section 10.4.1.1.4)."""
    given = {name.lower(): value.strip() for name, value in parameters if value.strip()}
    asked = _viewport({name: given[name] for name in ("viewport", "rows", "columns") if name in given})
    columns, rows = (asked.columns, asked.rows) if asked.columns or asked.rows else THUMBNAIL_SIZE
    return Rendering(viewport=Viewport(columns, rows))


def _window(given: Mapping[str, str]) -> Window | None:
    if "window" in given:
        words = [word.strip() for word in given["window"].split(",")]
        if len(words) != 3 or words[2].lower() not in FUNCTIONS:
            raise BadRequest(f"window is not center,width,function with a function of {', '.join(FUNCTIONS)}")
        return _checked(words[0], words[1], FUNCTIONS[words[2].lower()])
    if "windowcenter" in given or "windowwidth" in given:
        if not {"windowcenter", "windowwidth"} <= given.keys():
            raise BadRequest("windowcenter and windowwidth belong together")
        return _checked(given["windowcenter"], given["windowwidth"], "LINEAR")
    return None


def _checked(center: str, width: str, function: str) -> Window:
    window = Window(_finite(center, "window"), _finite(width, "window"), function)
    if window.width < 1 if function == "LINEAR" else window.width <= 0:
        raise BadRequest("window has a width that is too small")
    return window


def _viewport(given: Mapping[str, str]) -> Viewport:
    if "viewport" not in given:
        sides = [_number(given, name, 1, MOST_SIDE, 0) or None for name in ("columns", "rows")]
        return Viewport.bounded(sides[0], sides[1])
    words = [word.strip() for word in given["viewport"].split(",")]
    if len(words) not in (2, 6):
        raise BadRequest("viewport is not vw,vh or vw,vh,sx,sy,sw,sh")
    vw, vh, sx, sy, sw, sh = (words + [""] * 4)[:6]
    width, height = (_finite(word, "viewport") if word else None for word in (sw, sh))
    x, y = (_finite(word, "viewport") if word else 0.0 for word in (sx, sy))
    region = Region.from_signed(x, y, width, height)
    sides = [_number({"viewport": word}, "viewport", 1, MOST_SIDE, 0) or None for word in (vw, vh)]
    return Viewport.bounded(sides[0], sides[1], region)


def _number(given: Mapping[str, str], name: str, lowest: int, highest: int, default: int) -> int:
    if not given.get(name):
        return default
    number = _integer(given[name], name)
    if not lowest <= number <= highest:
        raise BadRequest(f"{name} is not between {lowest} and {highest}")
    return number


def _integer(text: str, name: str) -> int:
    if not (text.isascii() and text.isdigit() and len(text) < 10):
        raise BadRequest(f"{name} is not a whole number")
    return int(text)


def _finite(text: str, name: str) -> float:
    try:
        return parse_decimal(text)
    except ValueError:
        raise BadRequest(f"{name} has something that is not a number") from None
