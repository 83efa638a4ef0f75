"""Names and values of image-set metadata become the same DICOM attributes in any spelling."""

import base64
import struct
from typing import Any

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from pydicom import DataElement, Dataset
from pydicom._dicom_dict import DicomDictionary
from pydicom.datadict import dictionary_VR, keyword_for_tag

from ahi.image_sets.metadata_parser import to_data_set
from dicomweb.data_set import Attribute, json_element


@pytest.mark.parametrize(
    ("elements", "expected"),
    [
        pytest.param({"Rows": 512}, Attribute("00280010", "US", (512,)), id="number"),
        pytest.param({"Rows": "512 "}, Attribute("00280010", "US", (512,)), id="number as padded text"),
        pytest.param({"Rows": None}, Attribute("00280010", "US", ()), id="empty"),
        pytest.param({"Rows": "many"}, Attribute("00280010", "US", ()), id="not a number"),
        pytest.param({"InstanceNumber": "1 "}, Attribute("00200013", "IS", ("1",)), id="padded IS"),
        pytest.param({"InstanceNumber": 1}, Attribute("00200013", "IS", (1,)), id="IS as number"),
        pytest.param({"WindowCenter": ["40 "]}, Attribute("00281050", "DS", ("40",)), id="array"),
        pytest.param({"WindowCenter": "40"}, Attribute("00281050", "DS", ("40",)), id="scalar for array"),
        pytest.param({"WindowCenter": "40\\50"}, Attribute("00281050", "DS", ("40", "50")), id="backslash"),
        pytest.param({"Modality": ["CT"]}, Attribute("00080060", "CS", ("CT",)), id="array for scalar"),
        pytest.param({"ImageType": ["A", "", "B"]}, Attribute("00080008", "CS", ("A", "", "B")), id="empty among"),
        pytest.param({"PatientName": "A^B=C"}, Attribute("00100010", "PN", ("A^B=C",)), id="name"),
        pytest.param({"ImageComments": "a\\b "}, Attribute("00204000", "LT", ("a\\b ",)), id="LT is one value"),
        pytest.param({"FrameIncrementPointer": ["00181063"]}, Attribute("00280009", "AT", ("00181063",)), id="AT"),
        pytest.param({"FrameIncrementPointer": 0x00181063}, Attribute("00280009", "AT", ("00181063",)), id="AT number"),
        pytest.param({"ICCProfile": "AAE="}, Attribute("00282000", "OB", b"\0\1"), id="base64"),
        pytest.param({"ICCProfile": {"kept": "apart"}}, Attribute("00282000", "OB", b""), id="kept apart"),
        pytest.param({"ICCProfile": ""}, Attribute("00282000", "OB", b""), id="empty binary"),
        pytest.param({"SmallestImagePixelValue": -1}, Attribute("00280106", "SS", (-1,)), id="signed shows"),
        pytest.param({"SmallestImagePixelValue": 1}, Attribute("00280106", "US", (1,)), id="unsigned by default"),
        pytest.param({"LUTData": "AAE="}, Attribute("00283006", "OW", b"\0\1"), id="LUT data as bytes"),
        pytest.param({"60003000": "AAE="}, Attribute("60003000", "OW", b"\0\1"), id="overlay by number"),
        pytest.param({"OverlayData": "AAE="}, Attribute("60003000", "OW", b"\0\1"), id="overlay by keyword"),
        pytest.param({"ReferencedImageSequence": []}, Attribute("00081140", "SQ", ()), id="empty sequence"),
        pytest.param({"ReferencedImageSequence": None}, Attribute("00081140", "SQ", ()), id="null sequence"),
        pytest.param({"ReferencedImageSequence": [{"ReferencedSOPInstanceUID": "1.2"}]},
                     Attribute("00081140", "SQ", ((Attribute("00081155", "UI", ("1.2",)),),)), id="item"),
        pytest.param({"LUTDescriptor": [256, -128, 16]}, Attribute("00283002", "SS", (256, -128, 16)), id="signed LUT"),
        pytest.param({"LUTDescriptor": [256, 65408, 16]}, Attribute("00283002", "US", (256, 65408, 16)), id="unsigned"),
        pytest.param({"RedPaletteColorLookupTableDescriptor": [256, -5, 16]},
                     Attribute("00281101", "SS", (256, -5, 16)), id="signed palette"),
        pytest.param({"RedPaletteColorLookupTableData": [0, 65535, 7]},
                     Attribute("00281201", "US", (0, 65535, 7)), id="palette of numbers"),
        pytest.param({"LUTData": [1, 2]}, Attribute("00283006", "US", (1, 2)), id="LUT of numbers"),
        pytest.param({"OverlayData": [1, 40000]}, Attribute("60003000", "US", (1, 40000)), id="overlay of numbers"),
        pytest.param({"PixelSpacing": [0.5, 0.5]}, Attribute("00280030", "DS", (0.5, 0.5)), id="DS as numbers"),
        pytest.param({"VectorGridData": [0.5, 2.0]}, Attribute("00640009", "FL", (0.5, 2.0)), id="OF as FL"),
        pytest.param({"VectorGridData": [1, "-Infinity"]},
                     Attribute("00640009", "FL", (1.0, float("-inf"))), id="OF as FL beyond numbers"),
        pytest.param({"DiffusionBValue": "AAAAAAAA8D8="},
                     Attribute("00189087", "OD", struct.pack("<d", 1)), id="FD as OD"),
        pytest.param({"SimpleFrameList": "AQAAAAIAAAA="},
                     Attribute("00081161", "OL", b"\1\0\0\0\2\0\0\0"), id="UL as OL"),
        pytest.param({"LongPrimitivePointIndexList": [1, 2**31]},
                     Attribute("00660040", "UL", (1, 2**31)), id="OL as UL"),
        pytest.param({"Rows": "AAI="}, Attribute("00280010", "OW", b"\0\2"), id="US as OW"),
        pytest.param({"Rows": 70000}, Attribute("00280010", "UL", (70000,)), id="more than US holds"),
        pytest.param({"Rows": -1}, Attribute("00280010", "SS", (-1,)), id="less than US holds"),
        pytest.param({"Rows": [{"Columns": 1}]},
                     Attribute("00280010", "SQ", ((Attribute("00280011", "US", (1,)),),)), id="US as sequence"),
        pytest.param({"ReferencedImageSequence": "AAE="}, Attribute("00081140", "UN", b"\0\1"), id="sequence as UN"),
        pytest.param({"ReferencedImageSequence": "text!"},
                     Attribute("00081140", "LO", ("text!",)), id="sequence as text"),
        pytest.param({"ICCProfile": ["AAE="]}, Attribute("00282000", "OB", b"\0\1"), id="base64 in an array"),
        pytest.param({"00091001": "x"}, Attribute("00091001", "LO", ("x",)), id="private, VR unknown"),
        pytest.param({"00091001": [7]}, Attribute("00091001", "SL", (7,)), id="private number, VR unknown"),
    ],
)  # fmt: skip
def test_an_element_becomes_an_attribute(elements: dict[str, Any], expected: Attribute) -> None:
    assert to_data_set(elements, {}, 0) == (expected,)


def test_private_elements_take_their_vr_from_the_metadata_also_in_items() -> None:
    elements = {"00091001": "AAE=", "00091010": [{"00091002": 7}]}
    vrs = {"00091001": "UN", "00091002": "US", "00091010": "SQ"}
    assert to_data_set(elements, vrs, 0) == (
        Attribute("00091001", "UN", b"\0\1"),
        Attribute("00091010", "SQ", ((Attribute("00091002", "US", (7,)),),)),
    )


@pytest.mark.parametrize(
    "name", ["TransferSyntaxUID", "00020010", "00080000", "PixelData", "7FE00010", "NoSuchKeyword"]
)
def test_what_is_not_of_the_data_set_is_left_out(name: str) -> None:
    assert to_data_set({name: "1"}, {}, 0) == ()


@pytest.mark.parametrize(("value", "vr"), [(5, "SS"), ("AAE=", "LO"), (None, "SS"), ([{"Rows": 1}], "SQ")])
def test_the_private_dictionary_is_believed_where_the_value_fits(value: Any, vr: str) -> None:
    found = to_data_set({"00190010": "GEMS_ACQU_01", "00191017": value}, {}, 0)
    assert found[-1].vr == vr


@pytest.mark.parametrize("name", ["FFFEE000", "FFFEE00D", "FFFEE0DD", "FFFE0001"])
def test_items_and_delimiters_between_elements_are_left_out_at_any_depth(name: str) -> None:
    elements = {name: None, "Rows": 1, "ReferencedImageSequence": [{name: "x", "Columns": 2}]}
    item = (Attribute("00280011", "US", (2,)),)
    assert to_data_set(elements, {}, 0) == (Attribute("00081140", "SQ", (item,)), Attribute("00280010", "US", (1,)))


@pytest.mark.parametrize(
    ("stated", "value", "vr"),
    [
        ("US", [1, 2], "US"),
        ("SS", [1, 2], "SS"),
        ("US", "AAE=", "OW"),
        ("NONE", "AAE=", "OW"),
        ("US or SS", [1, 2], "US"),
        ("OB", "AAE=", "OB"),
        ("OB", {"kept": "apart"}, "OB"),
    ],
)
def test_a_vr_that_the_metadata_states_is_believed_where_the_value_fits(stated: str, value: Any, vr: str) -> None:
    name = "RedPaletteColorLookupTableData"
    top = to_data_set({name: value}, {name: stated}, 0)
    (sequence,) = to_data_set({"IconImageSequence": [{name: value, "DICOMVRs": {name: stated}}]}, {}, 0)
    assert [attribute.vr for attribute in top] == [vr]
    assert sequence.items == (top,)


_NUMBERS = {"US": "H", "SS": "h", "UL": "I", "SL": "i", "UV": "Q", "SV": "q", "FL": "f", "FD": "d"}
_BYTES = ("OB", "OW", "OL", "OF", "OV", "OD")
_TAGS = {
    vr: tag
    for tag, (vr, vm, *_, keyword) in sorted(DicomDictionary.items())
    if keyword and vm == "1-n" and tag > 0x80000
} | {vr: tag for tag, (vr, *_, keyword) in DicomDictionary.items() if keyword and vr in _BYTES and tag < 0x7FE00000}


@st.composite
def _elements(draw: st.DrawFn) -> tuple[int, str, Any, Any]:
    """The tag of an attribute of any VR; a VR of numbers or bytes that a file has it in, its value, its JSON value."""
    tag, vr = draw(st.sampled_from(sorted(_TAGS.values()))), draw(st.sampled_from([*_NUMBERS, *_BYTES]))
    if vr in _NUMBERS:
        size = 8 * struct.calcsize("<" + _NUMBERS[vr])
        low, high = (-(1 << size - 1), (1 << size - 1) - 1) if vr[0] == "S" else (0, (1 << size) - 1)
        one: st.SearchStrategy[Any] = (
            st.floats(
                width=size,  # type: ignore[arg-type]
                allow_nan=False,
                allow_infinity=False,
            )
            if vr[0] == "F"
            else st.integers(low, high)
        )
        numbers = draw(st.lists(one, min_size=2, max_size=5))
        return tag, vr, numbers, numbers
    content = b"".join(draw(st.lists(st.binary(min_size=8, max_size=8), min_size=1, max_size=4)))
    return tag, vr, content, base64.b64encode(content).decode()


@settings(max_examples=300, deadline=None)
@given(_elements(), st.integers(0, 3), st.booleans())
def test_a_value_in_another_vr_is_kept_at_any_depth(one: tuple[int, str, Any, Any], depth: int, stated: bool) -> None:
    """Stated or not: the numbers or bytes are those that pydicom's JSON model has; stated, so is the VR."""
    tag, vr, value, in_metadata = one
    assume(stated or dictionary_VR(tag) in {*_NUMBERS, *_BYTES, "SQ"})  # in others they are taken for text
    name = keyword_for_tag(tag)
    metadata: dict[str, Any] = {name: in_metadata}
    vrs = {name: vr} if stated else {}
    expected: Dataset = Dataset()
    expected.add(DataElement(tag, vr, value))
    model = expected.to_json_dict(bulk_data_threshold=10**6)
    for _ in range(depth):
        metadata, vrs = {"ReferencedImageSequence": [{**metadata, **({"DICOMVRs": vrs} if vrs else {})}]}, {}
        model = {"00081140": {"vr": "SQ", "Value": [model]}}
    found: Any = {attribute.tag: json_element(attribute) for attribute in to_data_set(metadata, vrs, 0)}
    for _ in range(depth):
        found, model = (each["00081140"]["Value"][0] for each in (found, model))
    ours, theirs = found[f"{tag:08X}"], model[f"{tag:08X}"]
    assert not stated or ours["vr"] == theirs["vr"]
    assert _plain(ours) == _plain(theirs)


def _plain(element: dict[str, Any]) -> Any:
    """Numbers as numbers, also those that are text because they are large; bytes as their base64 text."""
    if "InlineBinary" in element:
        return element["InlineBinary"]
    return [float(value) for value in element["Value"]]


def test_attributes_are_ascending() -> None:
    tags = [a.tag for a in to_data_set({"Rows": 1, "00091001": "x", "PatientName": "y", "Modality": "CT"}, {}, 0)]
    assert tags == sorted(tags)
