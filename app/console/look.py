"""The quick look: a page that shows the pictures of a study, and what its script asks for. Runs in the web processes.

The pictures are rendered resources of the service, so whoever may not retrieve them sees none here.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any
from urllib.parse import quote, urlencode

from flask import Blueprint, Response, g, jsonify, request

from ahi.cache.lru import LRUCache
from app.console.console import Console
from app.console.look_pictures import Kind, Pictures, Shown, Window
from app.console.study_parts import SeriesRow, find_series, find_study
from app.console_parts import LOOK
from dicomweb.errors import BadRequest, NotFound
from dicomweb.uids import resource_path
from wado.locate import LocatedInstance
from wado.target import Target

PAGE = 500
"""The pictures that the script learns of at once."""

CT_WINDOWS = (
    Window(40, 400, name="look_window_soft"),
    Window(-600, 1500, name="look_window_lung"),
    Window(400, 1800, name="look_window_bone"),
    Window(35, 80, name="look_window_brain"),
    Window(60, 160, name="look_window_liver"),
)
"""The usual windows of a CT; their names are keys of texts."""

SPEEDS = (0.25, 0.5, 1, 2, 4)
"""The choices for the speed of a cine, as multiples of its own."""

KEYS = (
    ("look_key_scroll", "look_does_scroll"),
    ("look_key_tens", "look_does_tens"),
    ("look_key_ends", "look_does_ends"),
    ("look_key_play", "look_does_play"),
    ("look_key_speed", "look_does_speed"),
    ("look_key_drag", "look_does_drag"),
    ("look_key_windows", "look_does_windows"),
    ("look_key_invert", "look_does_invert"),
    ("look_key_reset", "look_does_reset"),
    ("look_key_zoom", "look_does_zoom"),
    ("look_key_move", "look_does_move"),
    ("look_key_series", "look_does_series"),
    ("look_key_finger", "look_does_finger"),
    ("look_key_fingers", "look_does_fingers"),
    ("look_key_help", "look_does_help"),
)
"""The list of keys and gestures: the texts of each, and of what it does."""

_MODALITIES_LAST = ("SR", "DOC", "PR", "KO", "SEG", "RTSTRUCT", "RTPLAN", "REG", "FID", "AU", "PLAN")
_CACHE_BYTES = 2**24
_SHOWN_BYTES = 600


def blueprint(console: Console) -> Blueprint:
    """The page of a study, and the list of pictures of one of its series."""
    bp, looks = Blueprint(LOOK, __name__), _Looks(console)
    bp.add_url_rule("/look/<study>", "look", looks.page)
    bp.add_url_rule("/look/<study>/series/<series>", "look pictures", looks.listed)
    return bp


class _Looks:
    """The views, and the lists that were made last."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._lists: LRUCache[tuple[object, ...], Pictures] = LRUCache(_CACHE_BYTES)

    def page(self, study: str) -> Response:
        """The page, which shows one picture without its script."""
        services, scope = self._console.services, self._console.services.search_scope()
        head = find_study(services.archive, scope, study)
        found = find_series(services.archive, scope, study, _number("page", 1, 10**6))
        rows: tuple[SeriesRow, ...] = found.rows  # type: ignore[assignment]
        series = request.args.get("series") or _best(rows)
        pictures = self._pictures(study, series)
        place = _Place(study, series, pictures, _row(rows, series), _picture(pictures), _window(), found.page)
        root = self._console.public_path(g.root.path)
        return self._console.page(
            "look.html",
            head=head,
            found=found,
            place=place,
            root=root,
            look=f"{self._console.path(g.root.path)}/look/{quote(study, safe='')}",
            study_page=self._console.path(g.root.path) + resource_path(study),
            series_path=lambda uid: root + resource_path(study, uid),
            page_size=PAGE,
            kinds=Kind,
            ct_windows=CT_WINDOWS,
            speeds=SPEEDS,
            keys=KEYS,
            texts=self._texts(),
        )

    def listed(self, study: str, series: str) -> Response:
        """The instances that have the pictures from the number `from` on, which counts from 0."""
        pictures = self._pictures(study, series)
        first = _number("from", 0, 10**9, lowest=0)
        return jsonify(
            total=pictures.total,
            begin=pictures.begin,
            instances=[_described(start, one) for start, one in pictures.between(first, first + PAGE)],
        )

    def _pictures(self, study: str, series: str) -> Pictures:
        """The pictures of a series in the scope of the request; NotFound if there is none."""
        located = self._console.services.locator.instances(Target.from_path(study, series))
        key = _key(located)
        pictures = self._lists.get(key)
        if pictures is None:
            pictures = Pictures.of(located)
            self._lists.put(key, pictures, _SHOWN_BYTES * len(located))
        return pictures

    def _texts(self) -> Mapping[str, str]:
        """The texts that the script fills in, by the name of their attribute."""
        texts = self._console.texts
        return {
            "slice": texts.look_slice,
            "loading": texts.look_loading,
            "window": texts.look_window_is,
            "zoom": texts.look_zoom_is,
            "play": texts.look_play,
            "pause": texts.look_pause,
            "nothing": texts.look_nothing,
            "file": texts.look_file,
            "error-401": texts.look_error_401,
            "error-403": texts.look_error_403,
            "error-404": texts.look_error_404,
            "error-406": texts.look_error_406,
            "error-429": texts.look_error_429,
            "error-503": texts.look_error_503,
            "error-other": texts.look_error_other,
            "error-network": texts.look_error_network,
            "error-video": texts.look_error_video,
        }


@dataclass(frozen=True)
class _Place:
    """What the page shows: a picture, which counts from 0, of a series, in a window or that of the data set."""

    study: str
    series: str
    pictures: Pictures
    row: SeriesRow | None
    picture: int
    window: Window | None
    series_page: int

    @property
    def shown(self) -> Shown:
        """The instance of the picture."""
        return self.pictures.find(self.picture)[0]

    @property
    def path(self) -> str:
        """The path of the rendered picture below the service root."""
        shown, frame = self.pictures.find(self.picture)
        path = resource_path(self.study, self.series, shown.sop_instance_uid)
        if shown.kind is Kind.VIDEO:
            return f"{path}/frames/1?{urlencode({'accept': shown.media_type}, safe='/')}"
        if shown.kind is Kind.NOTHING:
            return f"{path}/metadata"
        frames = f"/frames/{frame}" if shown.has_frames and not shown.tiles else ""
        window = {"window": self.window.parameter} if self.window and shown.takes_window else {}
        return f"{path}{frames}/rendered?{urlencode({'accept': shown.media_type, **window}, safe=',/')}"

    def query(self, *, picture: int | None = None, window: Window | None = None, series: str = "") -> str:
        """The query of the page for another picture, window or series."""
        kept = window or self.window
        values = {"series": series or self.series}
        if not series:
            values["picture"] = str((self.picture if picture is None else picture) + 1)
            if kept:
                values["window"] = kept.parameter
        if self.series_page > 1:
            values["page"] = str(self.series_page)
        return urlencode(values, safe=",")

    @property
    def own_window_query(self) -> str:
        """The query of the page for this picture in the window of the data set."""
        return replace(self, window=None).query()

    @property
    def description(self) -> str:
        """The series in words, for the overlay."""
        if self.row is None:
            return ""
        return " ".join(filter(None, (self.row.number, self.row.modality, self.row.description)))

    @property
    def is_ct(self) -> bool:
        """Whether the usual windows of a CT fit."""
        return self.row is not None and self.row.modality == "CT"


def _key(located: list[LocatedInstance]) -> tuple[object, ...]:
    """The versions of the image sets, and which of their instances are seen."""
    versions = sorted({(str(one.key), one.version) for one in located})
    return (*versions, len(located), located[0].prepared.sop_instance_uid, located[-1].prepared.sop_instance_uid)


def _best(rows: tuple[SeriesRow, ...]) -> str:
    """The series to begin with: the first with images; NotFound if there are none at all."""
    if not rows:
        raise NotFound("the study has no series that you may see")
    return min(rows, key=lambda row: row.modality in _MODALITIES_LAST).series_instance_uid


def _row(rows: tuple[SeriesRow, ...], series: str) -> SeriesRow | None:
    return next((row for row in rows if row.series_instance_uid == series), None)


def _picture(pictures: Pictures) -> int:
    """The picture that the query names, counted from 1; the one to begin with if it names none."""
    if "picture" not in request.args:
        return pictures.begin
    return min(_number("picture", 1, pictures.total), pictures.total) - 1


def _number(name: str, default: int, highest: int, *, lowest: int = 1) -> int:
    text = request.args.get(name, "")
    if not text:
        return default
    if not (text.isascii() and text.isdigit() and len(text) < 10):
        raise BadRequest(f"{name} is not a whole number")
    return min(max(int(text), lowest), highest)


def _window() -> Window | None:
    """The window that the query asks for; BadRequest if it cannot be one."""
    text = request.args.get("window", "")
    if not text:
        return None
    words = text.split(",")
    try:
        center, width = float(words[0]), float(words[1])
    except (ValueError, IndexError):
        raise BadRequest("window is not center,width,function") from None
    if len(words) != 3 or words[2] not in ("linear", "linear-exact", "sigmoid") or not 0 < width < 1e9 > abs(center):
        raise BadRequest("window is not center,width,function")
    return Window(center, width, words[2])


def _described(start: int, one: Shown) -> Mapping[str, Any]:
    """An instance for the script; what it does not need is left out."""
    described = {
        "uid": one.sop_instance_uid,
        "start": start,
        "pictures": one.pictures,
        "number": one.number,
        "kind": one.kind.value,
        "type": one.media_type,
        "frames": one.has_frames,
        "rows": one.rows,
        "columns": one.columns,
        "tiles": one.tiles,
        "window": one.takes_window,
        "inverted": one.is_inverted,
        "windows": [_written(each) for each in one.windows],
        "assumed": None if one.windows or one.assumed is None else _written(one.assumed),
        "step": one.step_seconds,
    }
    return dict(_needed(described))


def _written(window: Window) -> list[float | str]:
    return [window.center, window.width, window.function]


def _needed(described: Mapping[str, Any]) -> Iterator[tuple[str, Any]]:
    """All but what is absent or false; the number 0 counts."""
    return ((name, value) for name, value in described.items() if value or value == 0 and value is not False)
