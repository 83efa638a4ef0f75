"""The quick look has the pictures of a series in the order of a scan, and knows how to show each."""

import json
import math
from collections.abc import Sequence
from random import Random
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ahi.codecs.pixel_format import PixelFormat
from ahi.image_sets.image_set import Frame, ImageSetKey
from ahi.image_sets.prepared_reader import PreparedImageSet, PreparedInstance
from app.console.look_pictures import Kind, Pictures, Shown, Window, in_scan_order
from dicomweb.transfer_syntax import EXPLICIT_VR_LITTLE_ENDIAN, JPEG_BASELINE
from wado.locate import LocatedInstance

CT, SR, PDF, ECG, STATE, PLAN = (
    f"1.2.840.10008.5.1.4.1.1.{node}" for node in ("2", "88.11", "104.1", "9.1.1", "11.1", "481.5")
)
STL, VIDEO = "1.2.840.10008.5.1.4.1.1.104.3", "1.2.840.10008.1.2.4.102"
GREY_PIXELS = PixelFormat(4, 6, 1, 16, 0, "MONOCHROME2")
AXIAL = (1.0, 0.0, 0.0, 0.0, 1.0, 0.0)


def image(uid: str, place: tuple[float, ...] = (), direction: tuple[float, ...] = AXIAL, **values: Any) -> Shown:
    given = {"kind": Kind.IMAGE, "media_type": "image/jpeg", "pictures": 1, **values}
    return Shown(uid, CT, "1", has_frames=True, place=place, direction=direction if place else (), **given)


def uids(pictures: Sequence[Shown]) -> list[str]:
    return [one.sop_instance_uid for one in pictures]


def test_slices_are_sorted_by_their_place_from_the_end_of_the_first_number() -> None:
    heights = [30.0, 10.0, 20.0, 0.0]
    slices = [image(f"{height:g}", (5.0, 5.0, height)) for height in heights]
    assert uids(in_scan_order(slices)) == ["30", "20", "10", "0"]
    assert uids(in_scan_order(slices[::-1])) == ["0", "10", "20", "30"]


@given(
    heights=st.lists(st.integers(-500, 500), min_size=2, max_size=30, unique=True),
    tilt=st.floats(-0.7, 0.7),
    seed=st.integers(0, 99),
)
def test_any_tilt_and_any_numbering_gives_a_monotonous_scroll(heights: list[int], tilt: float, seed: int) -> None:
    direction = (1.0, 0.0, 0.0, 0.0, math.cos(tilt), math.sin(tilt))
    normal = (0.0, -math.sin(tilt), math.cos(tilt))
    shift = Random(seed)  # noqa: S311 - chance, not a secret
    slices = [
        image(
            str(height),
            tuple(height * part + shift.uniform(-9, 9) * way for part, way in zip(normal, (1, 0, 0), strict=True)),
            direction,
        )
        for height in heights
    ]
    found = [int(uid) for uid in uids(in_scan_order(slices))]
    assert found in (sorted(heights), sorted(heights, reverse=True))
    assert found.index(heights[0]) <= found.index(heights[-1])


@pytest.mark.parametrize(
    "others",
    [
        pytest.param([image("2", (0.0, 0.0, 5.0)), image("3", (0.0, 0.0, 5.0))], id="two at one place"),
        pytest.param([image("2"), image("3", (0.0, 0.0, 1.0))], id="one without a place"),
        pytest.param([image("2", (0.0, 0.0, 2.0), (0.0, 1.0, 0.0, 0.0, 0.0, -1.0))], id="another direction"),
        pytest.param([image("2", (0.0, 0.0, 2.0), (1.0, 0.0, 0.0, 2.0, 0.0, 0.0))], id="no plane"),
        pytest.param([image("2", (0.0, 0.0, 2.0), pictures=3)], id="a cine"),
    ],
)
def test_other_series_keep_the_order_of_their_numbers(others: list[Shown]) -> None:
    series = [image("1", (0.0, 0.0, 9.0)), *others]
    assert in_scan_order(series) == tuple(series)


def test_objects_follow_the_images_and_a_slide_begins_with_its_smallest_level() -> None:
    report = Shown("r", SR, "1", Kind.PAGE, "text/html", has_frames=False, pictures=1)
    assert uids(in_scan_order([report, image("2", (0.0, 0.0, 2.0)), image("1", (0.0, 0.0, 1.0))])) == ["2", "1", "r"]
    large, small = image("large", rows=9, columns=9, tiles=(4, 4)), image("small", rows=9, columns=9, tiles=(2, 2))
    overview = image("overview", rows=12, columns=12)
    levels = Pictures(in_scan_order([large, small, overview]))
    assert (uids(levels.instances), levels.begin) == (["overview", "small", "large"], 0)


def test_a_picture_is_found_by_its_number() -> None:
    pictures = Pictures((image("a"), image("b", pictures=3), image("c")))
    found = [(one.sop_instance_uid, frame) for one, frame in map(pictures.find, range(pictures.total))]
    assert found == [("a", 1), ("b", 1), ("b", 2), ("b", 3), ("c", 1)]
    assert [(start, one.sop_instance_uid) for start, one in pictures.between(2, 4)] == [(1, "b")]
    assert [start for start, _ in pictures.between(0, 99)] == [0, 1, 4]


def test_a_stack_begins_in_its_middle_and_a_cine_with_its_first_frame() -> None:
    assert Pictures(tuple(image(str(number)) for number in range(9))).begin == 4
    assert Pictures((image("cine", pictures=30),)).begin == 0


def located(
    attributes: dict[str, Any],
    *,
    sop_class: str = CT,
    frames: int = 1,
    pixels: PixelFormat | None = GREY_PIXELS,
    syntax: str = EXPLICIT_VR_LITTLE_ENDIAN,
) -> LocatedInstance:
    """An instance with these attributes of the DICOM JSON Model."""
    content = json.dumps(attributes).encode()
    stored = tuple(Frame(str(number), None) for number in range(frames))
    none = (0, 0)
    prepared = PreparedInstance("1.2.3", sop_class, syntax, (), pixels, stored, (0, len(content)), none, none, none, ())
    image_set = PreparedImageSet("1.2", "1.2.1", (prepared,), content)
    return LocatedInstance("1.2", "1.2.1", ImageSetKey("d", "i"), "1", image_set, prepared)


def element(vr: str, *values: Any) -> dict[str, Any]:
    return {"vr": vr, "Value": list(values)}


GREY = {"00280004": element("CS", "MONOCHROME2")}


@pytest.mark.parametrize(
    ("options", "kind", "media_type"),
    [
        pytest.param({}, Kind.IMAGE, "image/jpeg", id="an image"),
        pytest.param({"pixels": PixelFormat(4, 6, 1, 1, 0, "MONOCHROME2")}, Kind.IMAGE, "image/png", id="1 bit"),
        pytest.param({"syntax": JPEG_BASELINE}, Kind.IMAGE, "image/jpeg", id="JPEG"),
        pytest.param({"syntax": VIDEO}, Kind.VIDEO, "video/mp4", id="a video"),
        pytest.param({"frames": 0, "pixels": None}, Kind.NOTHING, "", id="an image whose pixels are missing"),
        pytest.param({"sop_class": SR, "frames": 0, "pixels": None}, Kind.PAGE, "text/html", id="a report"),
        pytest.param({"sop_class": PDF, "frames": 0, "pixels": None}, Kind.PAGE, "application/pdf", id="PDF"),
        pytest.param({"sop_class": ECG, "frames": 0, "pixels": None}, Kind.IMAGE, "image/png", id="an ECG"),
        pytest.param({"sop_class": STATE, "frames": 0, "pixels": None}, Kind.IMAGE, "image/jpeg", id="a state"),
        pytest.param({"sop_class": STL, "frames": 0, "pixels": None}, Kind.FILE, "model/stl", id="a model"),
        pytest.param({"sop_class": PLAN, "frames": 0, "pixels": None}, Kind.NOTHING, "", id="a plan"),
    ],
)
def test_each_object_is_shown_in_its_way(options: dict[str, Any], kind: Kind, media_type: str) -> None:
    shown = Shown.of(located(GREY, **options))
    assert (shown.kind, shown.media_type, shown.pictures) == (kind, media_type, 1)


def test_an_image_knows_its_windows() -> None:
    windows = {
        **GREY,
        "00281050": element("DS", 40, "x", -600),
        "00281051": element("DS", 400, 1, 1500),
        "00281055": element("LO", "<b>SOFT</b>"),
    }
    shown = Shown.of(located(windows))
    assert shown.windows == (Window(40, 400, "linear", "<b>SOFT</b>"), Window(-600, 1500, "linear", ""))
    assert [window.parameter for window in shown.windows] == ["40,400,linear", "-600,1500,linear"]
    sigmoid = Shown.of(located({**windows, "00281056": element("CS", "SIGMOID")}))
    assert sigmoid.windows[0].parameter == "40,400,sigmoid"


def test_a_window_of_functional_groups_counts() -> None:
    voi = {"00289132": {"vr": "SQ", "Value": [{"00281050": element("DS", 50), "00281051": element("DS", 90)}]}}
    shared = {"52009229": {"vr": "SQ", "Value": [voi]}}
    assert Shown.of(located({**GREY, **shared})).windows == (Window(50, 90),)


@pytest.mark.parametrize(
    ("attributes", "assumed"),
    [
        ({}, Window(32768, 65536)),
        ({"00280101": element("US", 12)}, Window(2048, 4096)),
        ({"00280101": element("US", 12), "00281052": element("DS", -1024)}, Window(1024, 4096)),
        ({"00280106": element("US", 100), "00280107": element("US", 300)}, Window(200, 200)),
        ({"00280101": element("US", "x"), "00281053": element("DS", "nan")}, Window(32768, 65536)),
    ],
)
def test_without_a_window_one_is_assumed(attributes: dict[str, Any], assumed: Window) -> None:
    assert Shown.of(located({**GREY, **attributes})).assumed == assumed


@pytest.mark.parametrize("photometric", ["RGB", "PALETTE COLOR", "YBR_FULL_422", ""])
def test_colour_takes_no_window(photometric: str) -> None:
    attributes = {"00280004": element("CS", photometric), "00281050": element("DS", 1), "00281051": element("DS", 9)}
    shown = Shown.of(located(attributes))
    assert not shown.takes_window and shown.windows == ()


@pytest.mark.parametrize(
    ("attributes", "seconds"),
    [
        ({"00181063": element("DS", 33.3)}, 0.0333),
        ({"00181063": element("DS", 0), "00082144": element("IS", 25)}, 0.04),
        ({"00181065": element("DS", 0, 20, 40)}, 0.03),
        ({"00180040": element("IS", 10)}, 0.1),
        ({"00181063": element("DS", 1e9)}, None),
        ({"00181063": element("DS", "fast")}, None),
        ({}, None),
    ],
)
def test_a_cine_has_the_time_of_its_frames(attributes: dict[str, Any], seconds: float | None) -> None:
    assert Shown.of(located({**GREY, **attributes}, frames=3)).step_seconds == pytest.approx(seconds)
    assert Shown.of(located({**GREY, **attributes}, frames=1)).step_seconds is None


@pytest.mark.parametrize(
    ("wide", "high", "frames", "tiles"),
    [(12, 8, 4, (2, 2)), (13, 8, 6, (3, 2)), (12, 8, 3, ()), (6, 4, 1, ()), (6 * 30, 4 * 30, 900, ())],
)
def test_a_level_of_a_slide_is_put_together_if_it_is_whole_and_not_too_large(
    wide: int, high: int, frames: int, tiles: tuple[int, ...]
) -> None:
    attributes = {
        "00280004": element("CS", "RGB"),
        "00480006": element("UL", wide),
        "00480007": element("UL", high),
        "00209311": element("CS", "TILED_FULL"),
    }
    shown = Shown.of(located(attributes, frames=frames, pixels=PixelFormat(4, 6, 3, 8, 0, "RGB")))
    assert (shown.tiles, shown.pictures) == (tiles, 1 if tiles else frames)


HOSTILE: list[Any] = [[], ["x"], [None], [{}], [{"00200013": {"vr": "IS"}}], [1e400], [{"00289132": {"vr": "SQ"}}]]


@pytest.mark.parametrize("value", HOSTILE, ids=repr)
def test_odd_values_are_no_values(value: Any) -> None:
    tags = ("00200013", "00200032", "00200037", "00280004", "00281050", "00281051", "00281055", "00181063", "52009229")
    shown = Shown.of(located({tag: {"vr": "UN", "Value": value} for tag in tags}, frames=2))
    assert (shown.place, shown.direction, shown.windows, shown.step_seconds) == ((), (), (), None)
