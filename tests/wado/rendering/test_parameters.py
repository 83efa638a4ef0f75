"""Parameters of rendered resources are understood, or refused with their name (PS3.18 Section 8.3.5.1)."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dicomweb.errors import BadRequest
from wado.rendering.parameters import (
    MOST_PIXELS,
    Region,
    Rendering,
    Viewport,
    Window,
    parse_rendering,
    parse_thumbnail,
)


@pytest.mark.parametrize(
    ("given_", "expected"),
    [
        pytest.param({}, Rendering(), id="nothing"),
        pytest.param({"window": "40,400,linear"}, Rendering(Window(40, 400)), id="window"),
        pytest.param(
            {"window": "-.5, 1e3 ,Linear-Exact"}, Rendering(Window(-0.5, 1000, "LINEAR_EXACT")), id="linear-exact"
        ),
        pytest.param({"window": "0,0.5,sigmoid"}, Rendering(Window(0, 0.5, "SIGMOID")), id="sigmoid, narrow"),
        pytest.param({"windowcenter": "1", "WindowWidth": "2"}, Rendering(Window(1, 2)), id="older window"),
        pytest.param({"windowindex": "2"}, Rendering(window_index=1), id="second window"),
        pytest.param({"quality": "1"}, Rendering(quality=1), id="quality"),
        pytest.param({"viewport": "100,50"}, Rendering(viewport=Viewport(100, 50)), id="viewport"),
        pytest.param({"columns": "100", "rows": "50"}, Rendering(viewport=Viewport(100, 50)), id="older viewport"),
        pytest.param({"viewport": ","}, Rendering(), id="empty viewport"),
        pytest.param(
            {"viewport": "10,10,1.5,2,30,40"},
            Rendering(viewport=Viewport(10, 10, Region(1.5, 2, 30, 40))),
            id="region",
        ),
        pytest.param(
            {"viewport": "10,10,,,-30,-40"},
            Rendering(viewport=Viewport(10, 10, Region(0, 0, 30, 40, True, True))),
            id="flips",
        ),
        pytest.param(
            {"annotation": "technique,patient"}, Rendering(annotation=("patient", "technique")), id="annotations"
        ),
        pytest.param({"iccprofile": "sRGB"}, Rendering(icc_profile="srgb"), id="icc profile"),
    ],
)
def test_a_query_becomes_a_rendering(given_: dict[str, str], expected: Rendering) -> None:
    assert parse_rendering(given_.items()) == (expected, ())


def test_unknown_annotations_are_told() -> None:
    assert parse_rendering([("annotation", "patient,scale,x")]) == (Rendering(annotation=("patient",)), ("scale", "x"))


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("window", "40"),
        ("window", "40,400"),
        ("window", "40,400,cubic"),
        ("window", "a,400,linear"),
        ("window", "nan,400,linear"),
        ("window", "40,inf,linear"),
        ("window", "40,0.5,linear"),
        ("window", "40,0,linear-exact"),
        ("window", "40,-1,sigmoid"),
        ("window", "1" * 40 + ",400,linear"),
        ("windowcenter", "40"),
        ("windowwidth", "40"),
        ("windowindex", "0"),
        ("windowindex", "-1"),
        ("viewport", "1"),
        ("viewport", "1,2,3"),
        ("viewport", "0,1"),
        ("viewport", "-5,10"),
        ("viewport", "1.5,10"),
        ("viewport", "99999999,1"),
        ("viewport", "65535,65535"),
        ("viewport", "10,10,-1,0,5,5"),
        ("viewport", "10,10,0,0,0,5"),
        ("viewport", "10,10,nan,0,5,5"),
        ("viewport", "10,10,0,0,5,infinity"),
        ("viewport", "٣,٣"),
        ("rows", "x"),
        ("quality", "0"),
        ("quality", "101"),
        ("quality", "7.5"),
        ("iccprofile", "cmyk"),
    ],
)
def test_what_is_ill_formed_is_refused_by_name(name: str, value: str) -> None:
    with pytest.raises(BadRequest, match=name.removesuffix("center").removesuffix("width")):
        parse_rendering([(name, value)])


_NAMES = st.sampled_from(
    ["window", "viewport", "quality", "annotation", "iccprofile", "rows", "columns", "windowindex"]
)
_WORDS = st.sampled_from(
    ["nan", "inf", "-1", "0", "1e999", "1_0", "40", "65535", "linear", "", " ", "٣", "1.5", "srgb"]
)


@given(st.lists(st.tuples(_NAMES, st.lists(_WORDS, max_size=7).map(",".join) | st.text(max_size=20)), max_size=4))
def test_any_query_is_a_rendering_within_bounds_or_refused(parameters: list[tuple[str, str]]) -> None:
    try:
        rendering, _ = parse_rendering(parameters)
        small = parse_thumbnail(parameters)
    except BadRequest:
        return
    for viewport in (rendering.viewport, small.viewport):
        assert (viewport.columns or 1) * (viewport.rows or 1) <= MOST_PIXELS
        assert viewport.region.x >= 0 and viewport.region.y >= 0


@pytest.mark.parametrize(
    ("given_", "viewport"),
    [
        pytest.param({}, Viewport(200, 200), id="its own size"),
        pytest.param({"viewport": "64,32"}, Viewport(64, 32), id="the size that is asked for"),
        pytest.param({"viewport": "64,32,1,1,5,5"}, Viewport(64, 32), id="no region"),
        pytest.param({"viewport": "64,"}, Viewport(64, None), id="one bound"),
        pytest.param({"window": "ill-formed", "quality": "0"}, Viewport(200, 200), id="nothing else counts"),
    ],
)
def test_of_a_thumbnail_the_size_alone_counts(given_: dict[str, str], viewport: Viewport) -> None:
    assert parse_thumbnail(given_.items()) == Rendering(viewport=viewport)
