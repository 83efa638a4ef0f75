"""The pictures of a series for the quick look: what its page needs to show each instance, in the order of a scan.

Runs in the web processes. A picture is one frame, or one object without frames. Everything comes from the metadata of
the instances; the pictures themselves are rendered resources of the service.
"""

import json
import math
from bisect import bisect_right
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from enum import Enum
from functools import cached_property
from itertools import accumulate
from typing import Any

from ahi.codecs.pixel_format import PixelFormat
from ahi.image_sets.prepared_reader import PreparedInstance
from dicomweb.media_types import HTML, JPEG, PNG
from dicomweb.transfer_syntax import transfer_syntax
from wado.locate import LocatedInstance
from wado.rendering.objects import kind_of
from wado.rendering.presentation.references import SOP_CLASSES as STATES

_PDF = "application/pdf"
_MOST_WINDOWS = 8
_LONGEST_NAME = 64
_SAME_PLACE = 1e-3  # mm
_SAME_DIRECTION = 1e-3
_MOST_TILES = 400  # of a level that is shown as one picture
_STEP_SECONDS = (0.005, 5.0)  # of a cine: shorter and longer ones are mistakes
_SHARED_GROUPS, _FRAME_GROUPS = "52009229", "52009230"
_FUNCTIONS = {"LINEAR_EXACT": "linear-exact", "SIGMOID": "sigmoid"}

Attributes = Mapping[str, Any]


class Kind(Enum):
    """The way in which a browser shows an object."""

    IMAGE = "image"
    VIDEO = "video"
    PAGE = "page"
    FILE = "file"
    NOTHING = "nothing"


@dataclass(frozen=True)
class Window:
    """A window that the data set proposes; `function` is one of the parameter `window`."""

    center: float
    width: float
    function: str = "linear"
    name: str = ""

    @property
    def parameter(self) -> str:
        """The value of the parameter `window`."""
        return f"{self.center:g},{self.width:g},{self.function}"


@dataclass(frozen=True)
class Shown:
    """One instance. `pictures` is the number of its frames that can be shown one by one, at least 1.

    `tiles` are the columns and rows of tiles of which a level of a slide is put together as one picture, or none.
    `media_type` is that of its rendered form. `is_inverted`: high values are dark. `assumed` is about the window
    in which an image without one is drawn. `step_seconds` is the time of a
    frame of a cine, None for a still image.
    """

    sop_instance_uid: str
    sop_class_uid: str
    number: str
    kind: Kind
    media_type: str
    has_frames: bool
    pictures: int
    rows: int = 0
    columns: int = 0
    tiles: tuple[int, ...] = ()
    takes_window: bool = False
    is_inverted: bool = False
    windows: tuple[Window, ...] = ()
    assumed: Window | None = None
    step_seconds: float | None = None
    place: tuple[float, ...] = ()
    direction: tuple[float, ...] = ()

    @classmethod
    def of(cls, instance: LocatedInstance) -> "Shown":
        """From the metadata of an instance."""
        prepared = instance.prepared
        attributes: Attributes = json.loads(instance.image_set.metadata(prepared, ""))
        number = _text(attributes, "00200013")
        kind, media_type = _kind(prepared)
        start = (prepared.sop_instance_uid, prepared.sop_class_uid, number, kind, media_type)
        if not prepared.pixels or kind is not Kind.IMAGE:
            return cls(*start, has_frames=bool(prepared.frames), pictures=1)
        pixels, grey = prepared.pixels, _text(attributes, "00280004").startswith("MONOCHROME")
        tiles = _tiles(attributes, pixels.columns, pixels.rows, len(prepared.frames))
        takes_window = grey and pixels.samples_per_pixel == 1 and pixels.bits_allocated > 1
        return cls(
            *start,
            has_frames=True,
            pictures=1 if tiles else len(prepared.frames),
            rows=pixels.rows,
            columns=pixels.columns,
            tiles=tiles,
            takes_window=takes_window,
            is_inverted=_text(attributes, "00280004") == "MONOCHROME1" or _text(attributes, "20500020") == "INVERSE",
            windows=_windows(attributes) if takes_window else (),
            assumed=_assumed(attributes, pixels) if takes_window else None,
            step_seconds=_step_seconds(attributes) if len(prepared.frames) > 1 and not tiles else None,
            place=_numbers(attributes, "00200032", 3),
            direction=_numbers(attributes, "00200037", 6),
        )

    @property
    def normal(self) -> tuple[float, ...]:
        """The direction at right angles to the image; empty if it is not known."""
        if not self.direction:
            return ()
        x, y = self.direction[:3], self.direction[3:]
        made = (x[1] * y[2] - x[2] * y[1], x[2] * y[0] - x[0] * y[2], x[0] * y[1] - x[1] * y[0])
        size = math.sqrt(sum(part * part for part in made))
        return tuple(part / size for part in made) if size > _SAME_DIRECTION else ()


def _kind(prepared: PreparedInstance) -> tuple[Kind, str]:
    """The way to show an instance, and the media type of its rendered form."""
    if prepared.sop_class_uid in STATES:
        return Kind.IMAGE, JPEG
    if prepared.pixels and prepared.frames:
        stored = transfer_syntax(prepared.transfer_syntax_uid)
        if stored.video:
            return Kind.VIDEO, stored.media_type
        return Kind.IMAGE, PNG if prepared.pixels.bits_allocated == 1 else JPEG
    types = kind_of(prepared.sop_class_uid).media_types
    if PNG in types:
        return Kind.IMAGE, PNG
    if HTML in types or _PDF in types:
        return Kind.PAGE, HTML if HTML in types else _PDF
    return (Kind.FILE, types[0]) if types else (Kind.NOTHING, "")


@dataclass(frozen=True)
class Pictures:
    """The instances of a series in the order in which a person scrolls through them."""

    instances: tuple[Shown, ...]

    @classmethod
    def of(cls, instances: Sequence[LocatedInstance]) -> "Pictures":
        """From the instances of one series, in display order."""
        return cls(in_scan_order([Shown.of(instance) for instance in instances]))

    @property
    def total(self) -> int:
        """The number of pictures."""
        return self.starts[-1]

    @cached_property
    def starts(self) -> tuple[int, ...]:
        """The number, from 0, of the first picture of each instance; at the end the number of all pictures."""
        return tuple(accumulate((one.pictures for one in self.instances), initial=0))

    def find(self, picture: int) -> tuple[Shown, int]:
        """The instance of a picture, which counts from 0, and its frame number, from 1."""
        index = bisect_right(self.starts, picture) - 1
        return self.instances[index], picture - self.starts[index] + 1

    def between(self, first: int, end: int) -> Iterator[tuple[int, Shown]]:
        """The instances that have pictures from `first` up to `end`, each with the number of its first picture."""
        index = max(0, bisect_right(self.starts, first) - 1)
        while index < len(self.instances) and self.starts[index] < end:
            yield self.starts[index], self.instances[index]
            index += 1

    @property
    def begin(self) -> int:
        """The picture to begin with: the middle one of a stack, else the first."""
        is_stack = len(self.instances) > 2 and all(one.pictures == 1 and not one.tiles for one in self.instances)
        return self.total // 2 if is_stack else 0


def in_scan_order(instances: Sequence[Shown]) -> tuple[Shown, ...]:
    """Sort parallel images of one frame by their place along the normal, if each has a place of its own.

    The first is at the end where the first in the given order lies: by InstanceNumber, as the scanner numbers them. The
    levels of a slide begin with the smallest. All other series keep the given order.
    """
    if any(one.tiles for one in instances):
        return tuple(sorted(instances, key=lambda one: one.columns * one.rows * math.prod(one.tiles or (1,))))
    images = [one for one in instances if one.kind is Kind.IMAGE]
    others = [one for one in instances if one.kind is not Kind.IMAGE]
    depths = _depths(images)
    if depths is None:
        return tuple(instances)
    order = sorted(range(len(images)), key=depths.__getitem__)
    if order.index(0) > order.index(len(images) - 1):
        order.reverse()
    return (*(images[index] for index in order), *others)


def _depths(images: Sequence[Shown]) -> list[float] | None:
    """The place of each image along the common normal; None unless all are parallel and none shares its place."""
    if len(images) < 2 or not all(one.place and one.normal and one.pictures == 1 for one in images):
        return None
    normal = images[0].normal
    if any(
        abs(part - other) > _SAME_DIRECTION for one in images for part, other in zip(one.normal, normal, strict=True)
    ):
        return None
    depths = [sum(part * way for part, way in zip(one.place, normal, strict=True)) for one in images]
    ordered = sorted(depths)
    if any(after - before < _SAME_PLACE for before, after in zip(ordered, ordered[1:], strict=False)):
        return None
    return depths


def _tiles(attributes: Attributes, columns: int, rows: int, frames: int) -> tuple[int, ...]:
    """The columns and rows of tiles of a level of a slide; empty if it is none, or too large for one picture."""
    whole = (_numbers(attributes, "00480006", 1), _numbers(attributes, "00480007", 1))
    if not (whole[0] and whole[1]) or _text(attributes, "00209311") != "TILED_FULL" or not columns * rows:
        return ()
    across, down = math.ceil(whole[0][0] / columns), math.ceil(whole[1][0] / rows)
    return (across, down) if across * down == frames and 1 < frames <= _MOST_TILES else ()


def _values(attributes: Attributes, tag: str) -> list[Any]:
    """The values of an attribute of the data set, or of its functional groups (PS3.3 Section C.7.6.16)."""
    found = attributes.get(tag, {}).get("Value")
    if found is not None:
        return found if isinstance(found, list) else []
    for groups in (_SHARED_GROUPS, _FRAME_GROUPS):
        for sequence in _first_item(attributes.get(groups)).values():
            item = _first_item(sequence)
            if tag in item:
                return list(item[tag].get("Value", []))
    return []


def _first_item(sequence: object) -> Attributes:
    """The first item of a sequence; empty if there is none."""
    items = sequence.get("Value") if isinstance(sequence, dict) else None
    return items[0] if isinstance(items, list) and items and isinstance(items[0], dict) else {}


def _text(attributes: Attributes, tag: str) -> str:
    values = _values(attributes, tag)
    return str(values[0]).strip() if values and isinstance(values[0], str | int | float) else ""


def _numbers(attributes: Attributes, tag: str, count: int) -> tuple[float, ...]:
    """So many finite numbers; empty if they are not there."""
    values = tuple(map(_number, _values(attributes, tag)))
    known = tuple(value for value in values if value is not None)
    return known if len(values) == len(known) == count else ()


def _number(value: object) -> float | None:
    try:
        number = float(value)  # type: ignore[arg-type]
    except (TypeError, ValueError, OverflowError):
        return None
    return number if math.isfinite(number) else None


def _windows(attributes: Attributes) -> tuple[Window, ...]:
    """The windows that the data set proposes (PS3.3 Section C.11.2)."""
    names = _values(attributes, "00281055")
    function = _FUNCTIONS.get(_text(attributes, "00281056"), "linear")
    pairs = zip(_values(attributes, "00281050"), _values(attributes, "00281051"), strict=False)
    made = []
    for index, (center, width) in enumerate(pairs):
        numbers = _number(center), _number(width)
        if numbers[0] is not None and numbers[1] is not None and numbers[1] >= (1 if function == "linear" else 1e-6):
            name = str(names[index])[:_LONGEST_NAME] if index < len(names) else ""
            made.append(Window(numbers[0], numbers[1], function, name))
    return tuple(made[:_MOST_WINDOWS])


def _assumed(attributes: Attributes, pixels: PixelFormat) -> Window:
    """The window over all values of an image, or over all that its bits can hold."""
    bits = int(_one(attributes, "00280101") or pixels.bits_allocated)
    least = _one(attributes, "00280106")
    most = _one(attributes, "00280107")
    if least is None or most is None or most <= least:
        least, most = (-(2.0 ** (bits - 1)), 2.0 ** (bits - 1)) if pixels.pixel_representation else (0.0, 2.0**bits)
    slope, intercept = _one(attributes, "00281053") or 1.0, _one(attributes, "00281052") or 0.0
    return Window((least + most) / 2 * slope + intercept, max(1.0, abs((most - least) * slope)))


def _one(attributes: Attributes, tag: str) -> float | None:
    return next(iter(_numbers(attributes, tag, 1)), None)


def _step_seconds(attributes: Attributes) -> float | None:
    """The time between two frames, from FrameTime, FrameTimeVector, or a rate (PS3.3 Section C.7.6.5)."""
    times = [number for number in map(_number, _values(attributes, "00181063")) if number]
    vector = [number for number in map(_number, _values(attributes, "00181065")) if number]
    rates = [_number(value) for tag in ("00082144", "00180040") for value in _values(attributes, tag)[:1]]
    steps = [
        *(milliseconds / 1000 for milliseconds in times[:1]),
        *([sum(vector) / len(vector) / 1000] if vector else []),
        *(1 / rate for rate in rates if rate),
    ]
    return next((step for step in steps if _STEP_SECONDS[0] <= step <= _STEP_SECONDS[1]), None)
