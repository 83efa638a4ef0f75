"""Names and values of image-set metadata, in any of their spellings, become the same DICOM attributes."""

from typing import Any

import pytest

from ahi.elements import to_data_set
from dicomweb.data_set import Attribute


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


def test_attributes_are_ascending() -> None:
    tags = [a.tag for a in to_data_set({"Rows": 1, "00091001": "x", "PatientName": "y", "Modality": "CT"}, {}, 0)]
    assert tags == sorted(tags)
