"""The Native DICOM Model (PS3.19 Annex A.1)."""

from typing import Any
from xml.etree import ElementTree

import pytest
from pydicom.datadict import keyword_for_tag

from dicomweb.dicom_json import binary_element, element
from dicomweb.dicom_xml import encode_xml

NAMESPACE = "{http://dicom.nema.org/PS3.19/models/NativeDICOM}"


def read(data_set: dict[str, Any]) -> ElementTree.Element:
    return ElementTree.fromstring(encode_xml(data_set))  # noqa: S314 - our own bytes


def shape(node: ElementTree.Element) -> list[Any]:
    """Name, attributes, and text or children of what is below `node`."""
    return [(child.tag.removeprefix(NAMESPACE), dict(child.attrib), shape(child) or child.text or "") for child in node]


@pytest.mark.parametrize(
    ("tag", "given", "expected"),
    [
        ("00100020", element("LO", ["P<1> & Söhne"]), [("Value", {"number": "1"}, "P<1> & Söhne")]),
        ("00100020", element("LO"), ""),
        (
            "00080008",
            element("CS", ["ORIGINAL", "", "AXIAL"]),
            [("Value", {"number": "1"}, "ORIGINAL"), ("Value", {"number": "3"}, "AXIAL")],
        ),
        ("00200013", element("IS", ["0"]), [("Value", {"number": "1"}, "0")]),
        ("00204000", element("LT", ["one\r\ntwo \x00\x1b"]), [("Value", {"number": "1"}, "one\r\ntwo \ufffd\ufffd")]),
        ("00091002", binary_element("OB", b"\x01\x02"), [("InlineBinary", {}, "AQI=")]),
        (
            "7FE00010",
            {"vr": "OW", "BulkDataURI": 'http://a/?b=1&c="'},
            [("BulkData", {"uri": 'http://a/?b=1&c="'}, "")],
        ),
        (
            "00100010",
            element("PN", ["Yamada^Tarou^^^=山田^太郎", None, "X"]),
            [
                (
                    "PersonName",
                    {"number": "1"},
                    [
                        ("Alphabetic", {}, [("FamilyName", {}, "Yamada"), ("GivenName", {}, "Tarou")]),
                        ("Ideographic", {}, [("FamilyName", {}, "山田"), ("GivenName", {}, "太郎")]),
                    ],
                ),
                ("PersonName", {"number": "3"}, [("Alphabetic", {}, [("FamilyName", {}, "X")])]),
            ],
        ),
        (
            "00400275",
            {"vr": "SQ", "Value": [{"00400009": element("SH", ["A"])}, {}]},
            [
                (
                    "Item",
                    {"number": "1"},
                    [
                        (
                            "DicomAttribute",
                            {"tag": "00400009", "vr": "SH", "keyword": "ScheduledProcedureStepID"},
                            [("Value", {"number": "1"}, "A")],
                        )
                    ],
                ),
                ("Item", {"number": "2"}, ""),
            ],
        ),
    ],
)
def test_a_value_is_written_as_the_table_says(tag: str, given: dict[str, Any], expected: Any) -> None:
    """PS3.19 Table A.1.5-2."""
    keyword = keyword_for_tag(tag)
    names = {"tag": tag, "vr": given["vr"]} | ({"keyword": keyword} if keyword else {})
    assert shape(read({tag: given})) == [("DicomAttribute", names, expected)]


def test_a_private_attribute_names_its_creator() -> None:
    """PS3.5 Section 7.8: (gggg,xx00-xxFF) is of whom (gggg,00xx) says."""
    found = read({"00190011": element("LO", ['ACME "1"']), "00191101": element("LO", ["A"])})
    assert [child.get("privateCreator") for child in found] == [None, 'ACME "1"']
