"""Grey levels are those of the formulas of PS3.3 Section C.11, computed here one value at a time."""

import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import pytest
from hypothesis import assume, example, given, settings
from hypothesis import strategies as st
from pydicom import Dataset
from pydicom.dataelem import DataElement, RawDataElement
from pydicom.tag import Tag

from tests.wado.rendering.made import made, through
from wado.rendering.grey import Greyscale
from wado.rendering.parameters import Rendering, Window

PLAIN = Rendering()


def image(bits: int = 16, *, signed: bool = False, allocated: int = 16, **attributes: Any) -> Dataset:
    """The description of a grey image."""
    plain = {
        "PhotometricInterpretation": "MONOCHROME2",
        "BitsAllocated": allocated,
        "BitsStored": bits,
        "HighBit": bits - 1,
        "PixelRepresentation": int(signed),
    }
    return through(made(**{**plain, **attributes}))


def shown(values: Sequence[float], data_set: Dataset, rendering: Rendering = PLAIN, dtype: str = "<u2") -> list[int]:
    """The grey levels of values."""
    levels: list[int] = Greyscale.of(data_set).levels(np.array([values], dtype), rendering)[0].tolist()
    return levels


def linear(x: float, c: float, w: float) -> float:
    """PS3.3 Section C.11.2.1.2.1."""
    if x <= c - 0.5 - (w - 1) / 2:
        return 0
    if x > c - 0.5 + (w - 1) / 2:
        return 255
    return ((x - (c - 0.5)) / (w - 1) + 0.5) * 255


def linear_exact(x: float, c: float, w: float) -> float:
    """PS3.3 Section C.11.2.1.3.2."""
    return 0 if x <= c - w / 2 else 255 if x > c + w / 2 else ((x - c) / w + 0.5) * 255


def sigmoid(x: float, c: float, w: float) -> float:
    """PS3.3 Section C.11.2.1.3.1."""
    return 255 / (1 + math.exp(-4 * (x - c) / w))


FORMULAS = {"LINEAR": linear, "LINEAR_EXACT": linear_exact, "SIGMOID": sigmoid}
DEPTHS = [  # bits stored, signed, type of a sample
    (8, False, "<u1"),
    (8, True, "<i1"),
    (10, False, "<u2"),
    (12, False, "<u2"),
    (12, True, "<i2"),
    (16, False, "<u2"),
    (16, True, "<i2"),
    (24, False, "<u4"),
    (32, False, "<u4"),
    (32, True, "<i4"),
]


@pytest.mark.parametrize("function", FORMULAS)
@pytest.mark.parametrize(("bits", "signed", "dtype"), DEPTHS)
def test_a_window_of_the_image_is_applied_after_the_rescale(bits: int, signed: bool, dtype: str, function: str) -> None:
    low, high = (-(2 ** (bits - 1)), 2 ** (bits - 1) - 1) if signed else (0, 2**bits - 1)
    values = sorted({low, low + 1, high, high - 1, *np.linspace(low, high, 40).astype(int).tolist()})
    center, width = (low + (high - low) * 0.4) * 2 - 100, (high - low) * 0.9
    window = {"WindowCenter": f"{center:.9g}", "WindowWidth": f"{width:.9g}", "VOILUTFunction": function}
    rescale = {"RescaleSlope": "2", "RescaleIntercept": "-100"}
    data_set = image(bits, signed=signed, allocated=np.dtype(dtype).itemsize * 8, **window, **rescale)
    formula = FORMULAS[function]
    expected = [formula(2 * one - 100, float(f"{center:.9g}"), float(f"{width:.9g}")) for one in values]
    assert shown(values, data_set, dtype=dtype) == pytest.approx(expected, abs=1)
    assert max(expected) - min(expected) > 100


WINDOWS = st.tuples(st.floats(-5000, 70000), st.floats(1, 70000), st.sampled_from(["LINEAR", "LINEAR_EXACT"]))
RESCALES = st.tuples(st.floats(-4, 4).filter(lambda slope: abs(slope) > 1e-3), st.floats(-3000, 3000))


@settings(max_examples=300, deadline=None)
@given(WINDOWS, RESCALES, st.sampled_from(DEPTHS), st.booleans())
@example((40.0, 400.0, "LINEAR"), (1.0, -1024.0), (12, False, "<u2"), False)
@example((0.0, 1.0, "LINEAR"), (1.0, 0.0), (16, True, "<i2"), True)
def test_a_linear_window_gives_the_level_that_is_nearest(
    window: tuple[float, float, str], rescale: tuple[float, float], depth: tuple[int, bool, str], inverted: bool
) -> None:
    (center, width, function), (bits, signed, dtype) = window, depth
    low, high = (-(2 ** (bits - 1)), 2 ** (bits - 1) - 1) if signed else (0, 2**bits - 1)
    edges = [round((edge - rescale[1]) / rescale[0]) for edge in (center - width / 2, center, center + width / 2)]
    near = {edge + beside for edge in edges for beside in range(-2, 3)}
    values = [low, high, *(value for value in near if low <= value <= high), *np.linspace(low, high, 60).astype(int)]
    slope, intercept = (f"{number:.10g}" for number in rescale)
    shape = {"PresentationLUTShape": "INVERSE"} if inverted else {}
    data_set = image(bits, signed=signed, allocated=np.dtype(dtype).itemsize * 8, RescaleSlope=slope,
                     RescaleIntercept=intercept, **shape)  # fmt: skip
    exact = [FORMULAS[function](value * float(slope) + float(intercept), center, width) for value in values]
    expected = [255 - level if inverted else level for level in exact]
    steep = 255 / width > 100  # where the formulas jump, so does the last digit
    found = shown([float(value) for value in values], data_set, Rendering(Window(center, width, function)), dtype)
    assert steep or found == pytest.approx(expected, abs=0.52)


@pytest.mark.parametrize("function", FORMULAS)
def test_the_window_of_the_client_comes_first(function: str) -> None:
    data_set = image(12, WindowCenter="10", WindowWidth="10")
    values = list(range(0, 4096, 99))
    expected = [FORMULAS[function](one, 2000, 1500) for one in values]
    assert shown(values, data_set, Rendering(Window(2000, 1500, function))) == pytest.approx(expected, abs=1)


@pytest.mark.parametrize(
    ("signed", "high_bit", "sample", "value"),
    [
        pytest.param(False, 23, 0xAB000400, 1024, id="others in the upper byte"),
        pytest.param(True, 23, 0x00FFFC00, -1024, id="not extended by its sign"),
        pytest.param(False, 31, 0x00040000, 1024, id="in the upper bits"),
    ],
)
def test_of_wide_samples_only_the_bits_that_are_stored_count(
    signed: bool, high_bit: int, sample: int, value: int
) -> None:
    window = {"WindowCenter": str(value + 100), "WindowWidth": "1000"}
    data_set = image(24, signed=signed, allocated=32, HighBit=high_bit, **window)
    assert shown([sample], data_set, dtype="<u4") == pytest.approx([linear(value, value + 100, 1000)], abs=1)


@pytest.mark.parametrize(("index", "center"), [(0, 100), (1, 2000), (2, 3000), (7, 3000)])
def test_one_of_several_windows_is_chosen_by_its_index(index: int, center: int) -> None:
    data_set = image(12, WindowCenter=["100", "2000", "3000"], WindowWidth=["50", "500", "50"])
    width = 500 if center == 2000 else 50
    values = [center - 20, center - 5, center, center + 20]
    expected = [linear(one, center, width) for one in values]
    assert shown(values, data_set, Rendering(window_index=index)) == pytest.approx(expected, abs=1)


def lut(first: int, entries: list[int], bits: int, **attributes: Any) -> list[Dataset]:
    """A sequence of one table."""
    item = made(LUTDescriptor=[len(entries), first, bits], LUTData=np.array(entries, "<u2").tobytes(), **attributes)
    item["LUTData"].VR, item["LUTDescriptor"].VR = "OW", "SS" if first < 0 else "US"
    return [item]


def test_a_voi_table_comes_before_a_window_and_ends_at_its_ends() -> None:
    data_set = image(12, VOILUTSequence=lut(100, [0, 1000, 4095], 12), WindowCenter="1", WindowWidth="9")
    assert shown([0, 100, 101, 102, 4000], data_set) == pytest.approx([0, 0, 62.3, 255, 255], abs=1)


@pytest.mark.parametrize(("index", "expected"), [(0, 255), (1, 0), (2, 255), (9, 255)])
def test_windows_are_counted_after_the_voi_tables(index: int, expected: int) -> None:
    tables = lut(0, [4095, 4095], 12)
    data_set = image(12, VOILUTSequence=tables, WindowCenter=["3000", "10"], WindowWidth=["10", "10"])
    assert shown([100], data_set, Rendering(window_index=index)) == [expected]


def test_a_voi_table_may_begin_below_nought() -> None:
    data_set = image(16, signed=True, VOILUTSequence=lut(-5, [0, 128, 255], 8))
    assert shown([-9, -5, -4, -3, 5], data_set, dtype="<i2") == [0, 0, 128, 255, 255]


@given(
    st.sampled_from([(12, False), (12, True), (16, True), (8, False)]),
    st.integers(-2000, 2000),
    st.integers(0, 2**16),
    st.booleans(),
)
def test_a_voi_table_begins_where_modality_values_do_whatever_its_vr(
    stored: tuple[int, bool], intercept: int, place: int, as_words: bool
) -> None:
    """In a VR that knows no sign, a first value beyond all that there can be is a negative one (Section C.11.2.1.1)."""
    bits, signed = stored
    lowest = intercept - (1 << bits - 1 if signed else 0)
    first = lowest + place % (1 << bits)
    assume(-(2**15) <= first < 2**16)  # what 16 bits can say
    unsigned = as_words or first >= 2**15
    item = Dataset()
    item.add(DataElement(0x00283002, "US" if unsigned else "SS", [3, first % 2**16 if unsigned else first, 8]))
    item.add(DataElement(0x00283006, "OW", np.array([10, 20, 30], "<u2").tobytes()))
    data_set = image(bits, signed=signed, RescaleIntercept=str(intercept), RescaleSlope="1")
    data_set.VOILUTSequence = [item]
    near = [value for value in (first, first + 1) if lowest <= value < lowest + (1 << bits)]
    expected = {first: 10, first + 1: 20}
    levels = shown([value - intercept for value in near], data_set, dtype="<i2" if signed else "<u2")
    assert levels == [expected[value] for value in near]


def test_a_slope_of_nought_is_none() -> None:
    assert shown([0, 158, 316], image(12, RescaleSlope="0", RescaleIntercept="-1024")) == pytest.approx(
        [0, 127.5, 255], abs=1
    )
    data_set = image(12, RescaleSlope="0", RescaleIntercept="-1024", WindowCenter="-866", WindowWidth="317")
    assert shown([0, 158, 316], data_set) == pytest.approx([0, 127.5, 255], abs=1)


@pytest.mark.parametrize(
    ("centers", "widths"),
    [
        ("x\\158", "9\\101"),
        ("9\\158", "0\\101"),
        ("9\\158", "-1\\101"),
        ("9\\158", "\\101"),
        ("nan\\158", "9\\101"),
        ("9\\158", "inf\\101"),
    ],
)
def test_an_impossible_window_does_not_spoil_the_next(centers: str, widths: str) -> None:
    data_set = image(12)
    for tag, words in ((0x00281050, centers), (0x00281051, widths)):
        content = (words + " " * (len(words) % 2)).encode()
        data_set[tag] = RawDataElement(Tag(tag), "DS", len(content), content, 0, False, True)
    assert shown([0, 158, 200, 316], data_set) == pytest.approx(
        [linear(x, 158, 101) for x in (0, 158, 200, 316)], abs=1
    )


@pytest.mark.parametrize(
    ("signed", "padding", "limit", "vr"),
    [(True, 63536, 63537, "US"), (False, -1536, -1535, "SS"), (True, -2000, -1999, "SS"), (False, 64000, 64001, "US")],
)
def test_padding_has_the_sign_of_the_pixels(signed: bool, padding: int, limit: int, vr: str) -> None:
    data_set = image(16, signed=signed)
    data_set.add(DataElement(0x00280120, vr, padding))
    data_set.add(DataElement(0x00280121, vr, limit))
    turned = [one % 2**16 - (2**16 if signed else 0) for one in (padding, limit)]
    assert shown([*turned, 10, 20], data_set, dtype="<i2" if signed else "<u2")[2:] == [0, 255]


def test_a_modality_table_comes_before_the_window() -> None:
    table = lut(10, [1000, 500, 0], 12, ModalityLUTType="OD")
    data_set = image(12, ModalityLUTSequence=table, WindowCenter="500.5", WindowWidth="1001")
    assert shown([0, 10, 11, 12, 99], data_set) == pytest.approx([255, 255, 127.5, 0, 0], abs=1)


@pytest.mark.parametrize(
    ("attributes", "inverted"),
    [
        pytest.param({}, False, id="monochrome2"),
        pytest.param({"PhotometricInterpretation": "MONOCHROME1"}, True, id="monochrome1"),
        pytest.param({"PresentationLUTShape": "INVERSE"}, True, id="inverse"),
        pytest.param({"PresentationLUTShape": "IDENTITY"}, False, id="identity"),
        pytest.param(
            {"PhotometricInterpretation": "MONOCHROME1", "PresentationLUTShape": "INVERSE"}, True, id="both, once"
        ),
    ],
)
def test_low_values_are_white_where_the_image_says_so(attributes: dict[str, Any], inverted: bool) -> None:
    levels = shown([0, 255], image(8, **attributes), dtype="<u1")
    assert levels == ([255, 0] if inverted else [0, 255])


@pytest.mark.parametrize(
    ("padding", "values", "expected"),
    [
        pytest.param({}, [100, 200, 300], [0, 128, 255], id="from the least to the greatest"),
        pytest.param({"PixelPaddingValue": 0}, [0, 100, 200, 300], [0, 0, 128, 255], id="without padding"),
        pytest.param(
            {"PixelPaddingValue": 4000, "PixelPaddingRangeLimit": 4095},
            [4000, 4095, 100, 300],
            [255, 255, 0, 255],
            id="without a range of padding",
        ),
        pytest.param({"PixelPaddingValue": 7}, [7, 7], [0, 0], id="all padding"),
    ],
)
def test_a_range_of_our_own_is_what_occurs(padding: dict[str, Any], values: list[float], expected: list[int]) -> None:
    assert shown(values, image(12, **padding)) == pytest.approx(expected, abs=1)


def test_signed_padding_is_left_out() -> None:
    data_set = image(16, signed=True, PixelPaddingValue=-2000, RescaleSlope="1", RescaleIntercept="0")
    assert shown([-2000, -1000, 1000], data_set, dtype="<i2") == [0, 0, 255]


def test_positron_emission_without_a_window_shows_all_that_occurs() -> None:
    data_set = image(16, RescaleSlope="0.25", RescaleIntercept="0", Modality="PT")
    assert shown([0, 8000, 16000], data_set) == pytest.approx([0, 127.5, 255], abs=1)


def test_eight_bits_without_a_window_are_shown_as_they_are() -> None:
    assert shown([10, 100, 200], image(8, allocated=8), dtype="<u1") == [10, 100, 200]


def test_one_bit_is_black_or_white() -> None:
    assert shown([0, 1], image(1, allocated=1), dtype="<u1") == [0, 255]


def test_bits_beyond_those_stored_do_not_count() -> None:
    data_set = image(12, WindowCenter="2048", WindowWidth="4096")
    assert shown([0xF000, 0x8FFF, 0x1800], data_set) == pytest.approx([0, 255, 127.5], abs=1)


def test_bits_may_be_stored_high() -> None:
    data_set = image(12, HighBit=15, WindowCenter="2048", WindowWidth="4096")
    assert shown([0x0008, 0xFFF0, 0x8000], data_set) == pytest.approx([0, 255, 127.5], abs=1)


@pytest.mark.parametrize("dtype", ["<f4", "<f8"])
def test_floating_point_values_are_windowed_or_stretched(dtype: str) -> None:
    data_set = through(made(PhotometricInterpretation="MONOCHROME2"))
    assert shown([-0.5, 0.0, 0.5, math.nan], data_set, dtype=dtype) == pytest.approx([0, 127.5, 255, 0], abs=1)
    window = Rendering(Window(0.5, 1, "LINEAR_EXACT"))
    assert shown([0.25, 0.5, 2, math.inf], data_set, window, dtype) == pytest.approx([63.75, 127.5, 255, 255], abs=1)


@pytest.mark.parametrize(
    ("dtype", "padding", "values", "levels"),
    [
        ("<f4", {"FloatPixelPaddingValue": -99.5}, [-99.5, 1.0, 3.0], [0, 0, 255]),
        ("<f4", {"FloatPixelPaddingValue": 7e9, "FloatPixelPaddingRangeLimit": 9e9},
         [8e9, 0.0, 1.0, 2.0], [255, 0, 127.5, 255]),
        ("<f4", {"DoubleFloatPixelPaddingValue": 2.0}, [0.0, 1.0, 2.0], [0, 127.5, 255]),
        ("<f8", {"DoubleFloatPixelPaddingValue": 1e300}, [1e300, -1e-300, 1e-300], [255, 0, 255]),
        ("<f8", {}, [-1.7e308, 0.0, 1.7e308, -math.inf, math.inf], [0, 127.5, 255, 0, 255]),
        ("<f8", {}, [math.nan, math.inf], [0, 255]),
        ("<f8", {"RescaleSlope": "2", "WindowCenter": "1", "WindowWidth": "2", "VOILUTFunction": "LINEAR_EXACT"},
         [0.0, 0.25, 0.5, 1.0], [0, 63.75, 127.5, 255]),
    ],
)  # fmt: skip
def test_floating_point_values_are_shown_without_padding(
    dtype: str, padding: dict[str, Any], values: list[float], levels: list[float]
) -> None:
    data_set = through(made(PhotometricInterpretation="MONOCHROME2", **padding))
    assert shown(values, data_set, dtype=dtype) == pytest.approx(levels, abs=1)


def damage(**attributes: Any) -> Callable[[], Dataset]:
    """A grey image with some wrong attribute."""
    return lambda: image(12, **attributes)


@pytest.mark.parametrize(
    "data_set",
    [
        pytest.param(Dataset, id="nothing at all"),
        pytest.param(damage(BitsStored=0), id="no bits"),
        pytest.param(damage(BitsStored=60000, HighBit=60000), id="too many bits"),
        pytest.param(damage(BitsStored=[12, 12], HighBit=[1, 2]), id="several bits"),
        pytest.param(damage(WindowCenter=["1", "2"], WindowWidth="0"), id="no width"),
        pytest.param(damage(RescaleSlope=["1", "2"], RescaleIntercept=""), id="two slopes"),
        pytest.param(damage(RescaleSlope="0"), id="no slope"),
        pytest.param(damage(RescaleSlope="1e300", RescaleIntercept="-1e300"), id="a huge slope"),
        pytest.param(damage(VOILUTSequence=[Dataset()]), id="an empty table"),
        pytest.param(damage(VOILUTSequence=lut(0, [], 12)), id="a table without entries"),
        pytest.param(damage(VOILUTSequence=lut(0, [1], 0)), id="entries without bits"),
        pytest.param(damage(ModalityLUTSequence=[made(LUTDescriptor=[9, 0])]), id="a short descriptor"),
        pytest.param(damage(ModalityLUTSequence=[made(LUTDescriptor=[900, 0, 16], LUTData=b"\1\0")]), id="short data"),
        pytest.param(damage(PixelPaddingValue=[1, 2], PixelPaddingRangeLimit=5), id="two paddings"),
        pytest.param(damage(VOILUTFunction="CUBIC", WindowCenter="1", WindowWidth="5"), id="an unknown function"),
    ],
)
@pytest.mark.parametrize("dtype", ["<u1", "<i2", "<u4", "<f4"])
def test_a_damaged_description_gives_a_picture_all_the_same(data_set: Callable[[], Dataset], dtype: str) -> None:
    samples = np.arange(6).astype(dtype).reshape(2, 3)
    assert Greyscale.of(data_set()).levels(samples, Rendering()).shape == (2, 3)
    assert Greyscale.of(data_set()).levels(samples, Rendering(window_index=999)).dtype == np.uint8


def _window(center: str, width: str) -> dict[str, str]:
    return {"WindowCenter": center, "WindowWidth": width}


def _table(*entries: int) -> Dataset:
    return made(LUTDescriptor=[len(entries), 0, 8], LUTData=np.array(entries, "<u2").tobytes())


@pytest.mark.parametrize(
    ("other", "rendering"),
    [
        ({"RescaleIntercept": "-50"}, PLAIN),
        ({"RescaleSlope": "3"}, PLAIN),
        (_window("120", "200"), PLAIN),
        (_window("100", "250"), PLAIN),
        ({"VOILUTFunction": "SIGMOID"}, PLAIN),
        ({"PhotometricInterpretation": "MONOCHROME1"}, PLAIN),
        ({"PresentationLUTShape": "INVERSE"}, PLAIN),
        ({"ModalityLUTSequence": [_table(*range(0, 200, 2))]}, PLAIN),
        ({"VOILUTSequence": [_table(*range(0, 200, 2))]}, PLAIN),
        ({"PresentationLUTSequence": [_table(*range(200, 0, -2))]}, PLAIN),
        ({"PixelRepresentation": 1, "BitsStored": 7}, PLAIN),
        ({}, Rendering(window=Window(120, 200))),
        ({}, Rendering(window=Window(100, 200, "SIGMOID"))),
    ],
)
def test_what_is_drawn_after_another_image_is_not_drawn_as_that_one(
    other: dict[str, Any], rendering: Rendering
) -> None:
    own: dict[str, Any] = _window("100", "200")
    first, second = image(8, **own), image(8, **{**own, **other})
    before, values = shown([20, 70, 90, 110], first), [20, 70, 90, 110]
    found = shown(values, second, rendering)
    assert found != before and found == shown(values, second, rendering) and shown(values, first) == before


def test_an_image_without_a_window_is_stretched_by_its_own_values_whatever_came_before() -> None:
    assert [shown([0, 10, 20], image(12)), shown([0, 100, 200], image(12))] == [[0, 128, 255], [0, 128, 255]]
    assert shown([0, 10, 200], image(12)) == [0, 13, 255]
