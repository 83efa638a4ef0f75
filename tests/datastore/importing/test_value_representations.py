"""Values whose VR in the file is not the dictionary's, at any depth: they come out as they went in."""

import io
import struct
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pydicom import Dataset, Sequence, dcmread
from pydicom.uid import UID, ExplicitVRBigEndian, ExplicitVRLittleEndian, ImplicitVRLittleEndian

from datastore.findings import FindingKind
from dicomweb.explicit_le import encode_data_set
from tests.datastore.made import made, with_pixels
from tests.datastore.through import Served, served


def delivered(found: Served) -> Dataset:
    """What a client reads that asked for Explicit VR Little Endian."""
    return dcmread(io.BytesIO(encode_data_set(found.described)), force=True)


def reread(data_set: Dataset) -> Dataset:
    """As pydicom has it from a file."""
    file = io.BytesIO()
    data_set.save_as(file, enforce_file_format=True)
    file.seek(0)
    return dcmread(file)


PALETTE = 0x00281201
CASES = [
    pytest.param(PALETTE, "US", [0, 513, 65535], id="a palette of numbers"),
    pytest.param(PALETTE, "OB", b"\1\2\3\4", id="a palette of bytes"),
    pytest.param(0x60003000, "OB", b"\1\2\3\4", id="an overlay of bytes"),
    pytest.param(0x60003000, "US", [1, 2, 3], id="an overlay of numbers"),
    pytest.param(0x00281101, "SS", [256, -100, 16], id="a palette descriptor"),
    pytest.param(0x00283006, "US", list(range(300)), id="LUT data of numbers"),
    pytest.param(0x00283006, "OW", b"\1\2\3\4", id="LUT data of words"),
    pytest.param(0x00660016, "FL", [0.5, -1.25], id="floats for OF"),
    pytest.param(0x00089459, "FD", [0.1], id="doubles for FL"),
    pytest.param(0x00660040, "UL", [1, 2**32 - 1], id="longs for OL"),
    pytest.param(0x00186020 - 2, "SL", [-5], id="signed for unsigned"),
    pytest.param(0x00280010, "UL", [512], id="longs for US"),
    pytest.param(0x00180050, "FD", [2.5], id="a double for DS"),
    pytest.param(0x00200013, "US", [7], id="a number for IS"),
    pytest.param(0x00081010, "UT", "A\\B", id="a long text for a short one"),
    pytest.param(0x00280106, "SS", [5], id="signed of unsigned pixels"),
    pytest.param(0x00080018 + 0x1000, "UN", b"\1\2", id="bytes"),
]


@pytest.mark.parametrize("depth", [0, 1, 2])
@pytest.mark.parametrize("syntax", [ExplicitVRLittleEndian, ExplicitVRBigEndian])
@pytest.mark.parametrize(("tag", "vr", "content"), CASES)
def test_a_value_keeps_its_vr_and_itself(
    tmp_path: Path, tag: int, vr: str, content: Any, syntax: str, depth: int
) -> None:
    if syntax == ExplicitVRBigEndian and vr == "UN":
        pytest.skip("nobody knows the words of it")
    holder = Dataset()
    holder.add_new(tag, vr, content)
    outer = holder
    for _ in range(depth):
        inner, outer = outer, Dataset()
        outer.ReferencedImageSequence = Sequence([inner, Dataset()])
    data_set = made(syntax)
    data_set.update(outer)
    found = served(data_set, tmp_path)
    assert found.findings == []
    got: Dataset = delivered(found)
    for _ in range(depth):
        got = got.ReferencedImageSequence[0]
    expected = content
    if isinstance(content, bytes) and vr == "OW" and syntax == ExplicitVRBigEndian:
        expected = np.frombuffer(content, ">u2").astype("<u2").tobytes()
    element = got[tag]
    same_in_json = {vr, element.VR} == {"OB", "OW"}  # base64 either way, and the dictionary allows both
    assert vr == element.VR or same_in_json
    value = element.value if isinstance(element.value, bytes | str) else np.atleast_1d(element.value).tolist()
    assert value == expected


def test_an_item_has_the_usual_vr_below_an_element_that_has_another(tmp_path: Path) -> None:
    """The VR that is told of an element holds for items, too, where these do not say their own."""
    data_set, item = made(), Dataset()
    data_set.add_new(PALETTE, "US", [1, 2])
    item.add_new(PALETTE, "OW", b"\1\2\3\4")
    data_set.IconImageSequence = Sequence([item])
    got = delivered(served(data_set, tmp_path))
    assert (got[PALETTE].VR, list(got[PALETTE].value)) == ("US", [1, 2])
    assert (got.IconImageSequence[0][PALETTE].VR, got.IconImageSequence[0][PALETTE].value) == ("OW", b"\1\2\3\4")


@pytest.mark.parametrize("syntax", [ExplicitVRLittleEndian, ImplicitVRLittleEndian])
@pytest.mark.parametrize(
    ("signed", "intercept", "first", "vr"),
    [
        (0, "-1024", -128, "SS"),
        (0, None, 65408, "US"),
        (1, None, -128, "SS"),
        (0, "0", 65408, "US"),
        (0, "-1024", 128, "US"),
    ],
)
def test_the_descriptor_of_a_voi_lut_is_signed_where_its_input_is(
    tmp_path: Path, syntax: str, signed: int, intercept: str | None, first: int, vr: str
) -> None:
    """PS3.3 Section C.11.2.1.1: inputs are rescaled values. Implicit VR does not tell."""
    lut = Dataset()
    lut.add_new(0x00283002, vr, [256, first, 16])
    lut.add_new(0x00283006, "OW", struct.pack("<256H", *range(256)))
    data_set = with_pixels(np.zeros((1, 4, 4), np.int16 if signed else np.uint16), RescaleIntercept=intercept)
    data_set.VOILUTSequence = Sequence([lut])
    data_set.file_meta.TransferSyntaxUID = UID(syntax)
    (got,) = delivered(served(data_set, tmp_path)).VOILUTSequence
    assert list(got[0x00283002].value) == [256, first, 16]


def test_a_vr_that_does_not_exist_is_bytes_and_named(tmp_path: Path) -> None:
    file = io.BytesIO()
    made(ImageComments="abcd").save_as(file, enforce_file_format=True)
    content = file.getvalue()
    assert content.count(b"\x20\0\x00\x40LT\4\0abcd") == 1
    found = served(content.replace(b"\x20\0\x00\x40LT\4\0", b"\x20\0\x00\x40ZZ\4\0"), tmp_path)
    assert [(finding.kind, finding.where) for finding in found.findings] == [
        (FindingKind.VALUE_REPLACED, "ImageComments")
    ]


NUMBERS = {"US": "H", "SS": "h", "UL": "I", "SL": "i", "FL": "f", "FD": "d", "UV": "Q", "SV": "q"}


@st.composite
def elements(draw: st.DrawFn) -> tuple[int, str, Any]:
    """A standard element with a VR that need not be its own, and a value of that VR."""
    tag = draw(
        st.sampled_from(
            [
                PALETTE,
                0x60003000,
                0x00283006,
                0x00660016,
                0x00660040,
                0x00280106,
                0x00280010,
                0x00180050,
                0x00200013,
                0x00189073,
                0x00081010,
                0x00204000,
                0x00280120,
                0x00280108,
                0x00100030,
                0x00080060 + 0x1000,
                0x00186020,
            ]
        )
    )
    vr = draw(st.sampled_from([*NUMBERS, "OB", "OW", "OF", "OL", "OD", "LO", "SH", "LT", "ST", "DS", "IS", "CS"]))
    if vr in NUMBERS:
        kind = NUMBERS[vr]
        if kind in "fd":
            numbers = st.floats(allow_nan=False, allow_infinity=False, width=32 if kind == "f" else 64)
        else:
            info = np.iinfo(kind)
            numbers = st.integers(int(info.min), int(info.max))
        return tag, vr, draw(st.lists(numbers, min_size=1, max_size=6))
    if vr.startswith("O"):
        return tag, vr, draw(st.binary(min_size=8, max_size=8))
    if vr in ("DS", "IS"):
        return tag, vr, draw(st.lists(st.integers(-999, 999).map(str), min_size=1, max_size=3))
    return tag, vr, draw(st.text("ABC", min_size=1, max_size=8))


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    found=st.lists(elements(), min_size=1, max_size=4), depth=st.integers(0, 2), big=st.booleans(), signed=st.booleans()
)
@pytest.mark.slow
def test_any_vr_comes_out_as_it_went_in(
    tmp_path: Path, found: list[tuple[int, str, Any]], depth: int, big: bool, signed: bool
) -> None:
    holder = Dataset()
    for tag, vr, content in found:
        holder.add_new(tag, vr, content)
    for _ in range(depth):
        inner, holder = holder, Dataset()
        holder.ReferencedImageSequence = Sequence([inner])
    data_set = made(ExplicitVRBigEndian if big else ExplicitVRLittleEndian, PixelRepresentation=int(signed))
    data_set.update(holder)
    expected, got = reread(data_set), delivered(served(data_set, tmp_path))
    for _ in range(depth):
        expected, got = expected.ReferencedImageSequence[0], got.ReferencedImageSequence[0]
    for tag, vr, _ in found:
        one, other = expected[tag], got[tag]
        assert one.VR == other.VR or {one.VR, other.VR} <= {"OB", "OW"} or one.is_empty, (vr, other.VR)
        if isinstance(one.value, bytes) and big:
            continue  # the words of the file, which pydicom does not turn
        assert _comparable(one.value) == _comparable(other.value)


def _comparable(value: Any) -> Any:
    if isinstance(value, bytes):
        return value
    if isinstance(value, str):
        return value.strip()
    return [str(each) if isinstance(each, str) else float(each) for each in np.atleast_1d(value).tolist()]
